"""The tests of QueueCTL. `python3 -m unittest` at the top of the repository runs them all; nothing has to be installed."""
from __future__ import annotations

import os


def load_tests(loader, tests, pattern):
    """All tests, for several processes: what unittest calls when it looks for tests."""
    from tests.support.spread import ROOT, Spread
    return Spread([loader.discover(os.path.dirname(__file__), pattern or "test*.py", ROOT)])
