"""How fast QueueCTL is, each figure as a ratio to a reference measured in the same run: `python3 -m benchmarks`."""
