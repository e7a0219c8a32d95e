"""The tests of QueueCTL. `python3 -m unittest` at the top of the repository runs them all; nothing has to be installed."""
