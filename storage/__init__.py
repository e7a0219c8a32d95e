"""How jobs are stored. Knows no process."""
from __future__ import annotations
