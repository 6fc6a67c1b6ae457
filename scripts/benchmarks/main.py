"""The benchmarks' command line: chooses areas, prints the table, writes the JSON."""

import argparse
import importlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from measure import Result  # noqa: E402

# Areas whose own issues have not filled them yet are named, so that nobody takes silence for a result.
AREAS = {"runtime": "runtime", "engine": "engine", "image": None, "network": None}


def table(results: list[Result]) -> str:
    rows = [("area", "case", "candidate", "median", "min", "max", "unit", "n")]
    for r in results:
        rows.append((r.area, r.case, r.candidate, f"{r.median:.2f}", f"{r.min:.2f}", f"{r.max:.2f}", r.unit, str(r.n)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    numbers = {3, 4, 5, 7}
    lines = []
    for row in rows:
        cells = [c.rjust(w) if i in numbers else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("areas", nargs="+", choices=sorted(AREAS), metavar="AREA", help=", ".join(sorted(AREAS)))
    parser.add_argument("--n", type=int, help="rounds that count (default: the area's own)")
    parser.add_argument("--only", help="candidates, comma-separated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results as JSON")
    options = parser.parse_args()
    only = set(options.only.split(",")) if options.only else None
    results: list[Result] = []
    for area in options.areas:
        if AREAS[area] is None:
            print(f"bench: area {area} has no cases yet", file=sys.stderr)
            return 1
        results += importlib.import_module(AREAS[area]).run(options.n, only)
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps([vars(r) for r in results], indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
