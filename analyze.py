"""
Look at a trained run: `python analyze.py WHAT RUN..` writes WHAT.png and WHAT.json, the numbers under the picture,
into the first run folder. Several runs are the seeds of one experiment. `python analyze.py WHAT --help` tells more.
"""

import ast
import sys
from pathlib import Path

from analyses.common import main_of
from runs import fail

ANALYSES = "depth compare exits think page solve phases fixedpoint stages stability cost cache bench".split()
OTHER_NAMES = {"compute": "exits"}


def first_line(name):
    """What the analysis says of itself in the first line of its file."""
    source = Path(__file__).with_name("analyses").joinpath(f"{name}.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(source)).splitlines()[0]


def table():
    return "\n".join(f"    {name:<12}{first_line(name)}" for name in ANALYSES)


def main(argv=None):
    what, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if what in ("-h", "--help"):
        print(f"{__doc__}\n{table()}")
        return
    name = OTHER_NAMES.get(what, what)
    if name not in ANALYSES:
        fail(f"{what} is no analysis; choose from {', '.join(ANALYSES)}")
    main_of(name, rest)


if __name__ == "__main__":
    main()
