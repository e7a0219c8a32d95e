"""The queue as a worker process sees it: what a claimed job became."""
from __future__ import annotations

from collections import namedtuple

# How a claimed job ended at `now` (seconds since the epoch) after so many seconds (0: not known): its Outcome, or None if it goes back and
# that attempt is not counted, and its last lines, which go into dlq.json if it dies.
Ended = namedtuple("Ended", "job outcome now output seconds")
