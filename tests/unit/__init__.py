"""One module each, from inside."""
from __future__ import annotations
