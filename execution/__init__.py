"""How commands run. Knows no file format."""
from __future__ import annotations
