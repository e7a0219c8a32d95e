"""`python3 -m benchmarks` in the folder of the program: a table of figures, or JSON. Whether a target is met never fails the run."""
from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time

from benchmarks import figures, large, peers
from benchmarks.measure import FULL, QUICK, spread

FIGURES = dict(figures.FIGURES, **large.FIGURES, **peers.FIGURES)


def _arguments(argv):
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks", description="Measure QueueCTL against references, in turn.")
    parser.add_argument("--only", action="append", choices=list(FIGURES), metavar="NAME",
                        help="only this figure (may be given several times): %s" % ", ".join(FIGURES))
    parser.add_argument("--quick", action="store_true", help="little work and few rounds: tries that it runs, the figures mean little")
    parser.add_argument("--json", action="store_true", help="print JSON, with the values of each round")
    return parser.parse_args(argv)


def _machine():
    load = "%.1f" % os.getloadavg()[0] if hasattr(os, "getloadavg") else "unknown"
    return {"python": platform.python_version(), "system": "%s %s" % (platform.system(), platform.machine()),
            "cores": os.cpu_count(), "load": load, "folder": tempfile.gettempdir()}


def _measure(names, scale):
    rows = []
    for name in names:
        started = time.monotonic()
        rows += FIGURES[name](scale)
        sys.stderr.write("%s: %.1f s\n" % (name, time.monotonic() - started))
    return rows


def _number(value):
    return f"{value:,.0f}" if value >= 1000 else "%.1f" % value


def _cells(row):
    """A row of the table as texts."""
    met = {True: "yes", False: "NO", None: "-"}[row.met()]
    if row.skipped:
        return (row.name, row.what, "-", "-", "skipped: %s" % row.skipped, row.target_text(), met)
    values = [spread(values) for values in (row.ours, row.reference)]
    ours, reference = ["%s (%s-%s)" % tuple(map(_number, value)) for value in values]
    ratio = "%.2f (%.2f-%.2f)" % spread(row.ratios())
    return (row.name, row.what, "%s %s" % (ours, row.unit), reference, ratio, row.target_text(), met)


def _print_table(rows):
    cells = [("figure", "what", "ours", "reference", "ratio", "target", "met")] + [_cells(row) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    print("\nReferences:")
    for row in rows:
        print("  %s, %s: %s" % (row.name, row.what, row.against))
    print("\nMedian (min-max) over the rounds. A ratio is ours to the reference in time or memory: below 1 is cheaper than the reference.")


def main(argv=None):
    """Measure, print, and succeed."""
    args = _arguments(argv)
    machine = _machine()
    if not args.json:
        print("Python %(python)s, %(system)s, %(cores)s cores, load %(load)s, data in %(folder)s" % machine
              + ("; quick, the figures mean little\n" if args.quick else "\n"))
    rows = _measure(args.only or list(FIGURES), QUICK if args.quick else FULL)
    if args.json:
        print(json.dumps({"machine": machine, "quick": args.quick, "figures": [row.to_dict() for row in rows]}, indent=2))
    else:
        _print_table(rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
