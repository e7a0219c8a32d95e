"""What all others rest on. Knows no queue, no process, no file; imports no other room."""
from __future__ import annotations
