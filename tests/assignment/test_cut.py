"""What students get: everything but the solutions."""

import ast
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import build
import pytest
from grader import table
from helpers import ROOT


def code_lines(source):
    """The lines of the bodies of functions that say something of their own."""
    lines = {line.split("  # ")[0].strip() for line in source}
    return {line for line in lines if len(line) > 24 and not line.startswith(("def ", '"""', "raise "))}


def solution_lines():
    _, gone = build.cut((ROOT / "looped.py").read_text(), build.CUTS)
    places = build.places_of_readme()
    for node in ast.walk(ast.parse(places)):
        if isinstance(node, ast.FunctionDef):
            gone += places.splitlines()[node.lineno : node.end_lineno]
    for name in ("recipe.py", "exit_rule.py"):
        gone += (ROOT / "assignment" / "solution" / name).read_text().splitlines()
    gone += [line for line in (ROOT / "recipes.py").read_text().splitlines() if '"multihop": dict(reembed' in line]
    starter = "".join(path.read_text() for path in (ROOT / "assignment" / "starter").iterdir())
    return {line for line in code_lines(gone) if line not in starter}


def test_nothing_of_the_solution_is_left(folders):
    lines = solution_lines()
    assert len(lines) > 60  # else this test looks for nothing
    told = (
        "self.inject(h, e)",
        "order.argsort",
        "counts > t",
        "loops_used[",
        'position="window", reach=2',
        "leads[move",
    )
    for path in (folders / "assignment").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            left = [line for line in (*lines, *told) if line.encode() in content]
            assert not left, f"{path.name} tells {left}"


def test_the_same_look_finds_the_solution(folders):
    content = b"".join(path.read_bytes() for path in (folders / "solution").rglob("*.py"))
    assert all(line.encode() in content for line in solution_lines())


def test_docstrings_signatures_and_kept_statements_are_as_in_the_repository(folders):
    ours, theirs = (ast.parse(path.read_text()) for path in (ROOT / "looped.py", folders / "assignment" / "looped.py"))

    def outline(tree):
        nodes = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        return [
            (node.name, ast.get_docstring(node), isinstance(node, ast.ClassDef) or ast.dump(node.args))
            for node in nodes
        ]

    assert outline(ours) == outline(theirs)
    cut = [
        name for node in ast.walk(theirs) if isinstance(node, ast.Raise) for name in [ast.unparse(node)] if "E" in name
    ]
    assert sum("NotImplementedError('E" in name for name in cut) == sum(
        each.hint.startswith("E") for each in build.CUTS
    )
    think = next(node for node in ast.walk(theirs) if getattr(node, "name", "") == "think")
    assert "loop_counts(loops" in ast.unparse(think.body[2])


def test_no_file_links_to_what_is_not_there(folders):
    """Each of our modules that a student's file imports is in the folder."""
    folder = folders / "assignment"
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in names:
                if (ROOT / f"{name.replace('.', '/')}.py").exists():
                    assert (folder / f"{name.replace('.', '/')}.py").exists(), f"{path.name} imports {name}"


def test_an_unknown_name_in_the_table_is_an_error():
    with pytest.raises(KeyError):
        build.cut("def f():\n    return 1\n", [build.Cut("g", "E1: no")])
    source = 'def f():\n    """Doc."""\n    a = 1\n    return a\n'
    assert build.cut(source, [build.Cut("f", "E1: hint", keep=1)]) == (
        'def f():\n    """Doc."""\n    a = 1\n    raise NotImplementedError("E1: hint")\n',
        ["    return a"],
    )


def test_the_notebook_is_one_and_its_cells_run(folders):
    cells = json.loads((folders / "assignment" / "assignment.ipynb").read_text())["cells"]
    assert {cell["cell_type"] for cell in cells} == {"code", "markdown"} and len(cells) > 6
    code = "\n".join("".join(cell["source"]) for cell in cells[:-1] if cell["cell_type"] == "code")
    for folder, said in (("assignment", "E1: yield"), ("solution", "after 4 loops:")):
        done = subprocess.run([sys.executable, "-c", code], cwd=folders / folder, capture_output=True, text=True)
        assert said in done.stdout and not done.stderr, done.stderr


def test_the_zip_has_what_gradescope_runs_at_its_top(folders):
    with zipfile.ZipFile(folders / "autograder.zip") as archive:
        names = set(archive.namelist())
    assert {"setup.sh", "run_autograder", "grade.py", "hidden.pt", "requirements.txt", "grader/judges.py"} <= names
    assert not [name for name in names if "looped" in name]  # the solution is in hidden.pt alone
    for name in ("setup.sh", "run_autograder"):
        assert subprocess.run(["bash", "-n", folders / "autograder" / name]).returncode == 0


def test_a_folder_of_others_is_not_emptied(tmp_path, capsys):
    Path(tmp_path, "thesis.txt").write_text("years of work")
    with pytest.raises(SystemExit) as stop:
        build.fresh(tmp_path)
    assert stop.value.code == 2 and "is not empty" in capsys.readouterr().err and Path(tmp_path, "thesis.txt").exists()


def test_points_add_up():
    assert sum(check.points for check in table.CHECKS) + sum(table.WRITTEN.values()) == 100
    handout = (ROOT / "assignment" / "handout.md").read_text()
    for exercise in table.EXERCISES:
        points = sum(check.points for check in table.CHECKS if check.exercise == exercise)
        points += table.WRITTEN.get(exercise, 0)
        assert (
            f"## {exercise} " in handout and f"{points:g} points" in handout.split(f"## {exercise} ")[1].split("##")[0]
        )
