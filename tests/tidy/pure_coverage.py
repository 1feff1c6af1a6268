"""Every line of a pure module is run by a fast test: read from pytest's coverage data.

The pure modules are those of the first import contract in pyproject.toml: there is one list. Run
by `make unit` after the tests; exit status 1 names the lines that nobody ran.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from coverage import Coverage

ROOT = Path(__file__).resolve().parents[2]


def pure_modules() -> list[Path]:
    """The files of the modules that may know no I/O."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contract = project["tool"]["importlinter"]["contracts"][0]
    return [ROOT / (name.replace(".", "/") + ".py") for name in contract["source_modules"]]


def main() -> int:
    """Print what was not run."""
    coverage = Coverage(data_file=ROOT / ".coverage")
    coverage.load()
    missed = 0
    for path in pure_modules():
        *_, lines, shown = coverage.analysis2(str(path))
        if lines:
            missed += len(lines)
            print(f"{path.relative_to(ROOT)}: not run: {shown}")
    print(f"{len(pure_modules())} pure modules, {missed} lines not run")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
