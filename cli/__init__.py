"""What people type and see."""
from __future__ import annotations
