"""
One course for all tests of a process. It is the course of a hidden world, but E5 looks at the model
of the students' folder, so nothing is trained for it. test_mistakes.py trains the recipe of E4.
"""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "assignment"))
SALT = "a-secret-of-the-tests"


@pytest.fixture(scope="session")
def solution():
    import build

    return build.solution_files()


@pytest.fixture(scope="session")
def public():
    """The course as students have it."""
    import build

    return build.make_public_course(build.student_files())


@pytest.fixture(scope="session")
def hidden(public, solution):
    """The course as the autograder has it."""
    import build

    given, right = public.given, public.known["rule"]
    return build.make_course(SALT, build.student_files(), (), given, right, solution)


@pytest.fixture(scope="session")
def hidden_with_less(hidden):
    """The same course, in which a rule of E5 is judged on a quarter of the questions."""
    given = torch.load(io.BytesIO(hidden.given), weights_only=True)
    given["states"], given["answer_mask"] = given["states"][:, ::4], given["answer_mask"][::4]
    rule = {"right": hidden.known["rule"]["right"][:, ::4], "val": hidden.known["rule"]["val"][::4]}
    content = io.BytesIO()
    torch.save(given, content)
    return replace(hidden, given=content.getvalue(), known=hidden.known | dict(rule=rule))


@pytest.fixture
def here(monkeypatch, tmp_path):
    """Run the probes in this process, which is faster; trainings keep a process of their own."""
    import build
    from grader import probes, sandbox

    from support.flags import find_task

    elsewhere = sandbox.run
    monkeypatch.chdir(tmp_path)

    def run(files, probe, asked, seconds, *more):
        if probe == "train_recipe":
            return elsewhere(files, probe, asked, seconds, *more)
        (tmp_path / "my_task.py").write_bytes(files["my_task.py"])
        find_task.cache_clear()  # it knows my_task.py as an earlier test wrote it
        names = ("looped.py", "my_task.py", "recipe.py", "exit_rule.py")
        load = build.loader({name: files[name].decode() for name in names})
        ask = getattr(probes, probe)
        try:
            if isinstance(asked, dict):
                return ask(load, **asked), ""
            return build.converse(ask, load, asked), ""
        except Exception as error:
            return None, f"{type(error).__name__}: {error}"

    monkeypatch.setattr(sandbox, "run", run)


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
