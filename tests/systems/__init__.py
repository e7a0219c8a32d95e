"""What differs from one system to another."""
from __future__ import annotations
