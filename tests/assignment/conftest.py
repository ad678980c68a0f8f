"""
One course for all tests, so that they need a single training. It is that of a hidden world, and E5
of the public folder looks at its model, too.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "assignment"))
SALT = "a-secret-of-the-tests"


@pytest.fixture(scope="session")
def solution():
    import build

    return build.solution_files()


@pytest.fixture(scope="session")
def hidden(solution):
    """The course as the autograder has it."""
    import build

    return build.make_course(SALT, build.student_files(), solution)


@pytest.fixture(scope="session")
def public(hidden, solution):
    """The course as students have it."""
    import build

    known = build.make_known("", solution) | {"rule": hidden.known["rule"]}
    return replace(hidden, salt="", known=known, reference=None)


@pytest.fixture(scope="session")
def folders(hidden, public, solution, tmp_path_factory):
    """What build.py writes."""
    import build

    out = tmp_path_factory.mktemp("build")
    build.write_public(out / "assignment", build.student_files(), public)
    build.write_public(out / "solution", solution, public)
    build.write_autograder(out / "autograder", hidden)
    return out


@pytest.fixture(scope="session")
def full(solution):
    """A submission that is right. E6, which has no solution, has the form that is asked for."""
    page = "word " * 200
    rows = [dict(model="looped", right=0.9), dict(model="control", right=0.1)]
    found = dict(minutes=1.0, rows=rows)
    result = dict(seeds=[30, 31, 32], by_seed=[found] * 3, verdict="depends: on the test")
    e6 = {
        "e6/experiment.py": b"",
        "e6/result.json": json.dumps(result).encode(),
        "e6/page.md": page.encode(),
    }
    names = ("looped.py", "my_task.py", "recipe.py", "exit_rule.py")
    return {name: solution[name] for name in names} | e6
