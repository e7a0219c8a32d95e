"""What goes wrong: kills, full disks, broken files, others' saves, clocks, other users."""
from __future__ import annotations
