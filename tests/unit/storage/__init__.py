"""Tests of `storage`."""
from __future__ import annotations
