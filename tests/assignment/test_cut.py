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
    """The lines that are long enough to tell something."""
    lines = {line.split("  # ")[0].strip() for line in source}
    return {
        line for line in lines if len(line) > 24 and not line.startswith(("def ", '"""', "raise "))
    }


def solution_lines():
    """The lines of code that students do not get."""
    gone = []
    for name, cuts in build.CUTS.items():
        gone += build.cut((ROOT / name).read_text(), cuts)[1]
    solution, starter = ROOT / "assignment" / "solution", ROOT / "assignment" / "starter"
    places = (solution / "my_task.py").read_text()
    for node in build.functions_of(places).values():
        gone += places.splitlines()[node.lineno : node.end_lineno]
    for name in ("recipe.py", "exit_rule.py"):
        gone += (solution / name).read_text().splitlines()
    recipes = (ROOT / "support" / "recipes.py").read_text().splitlines()
    gone += [line for line in recipes if '"multihop": dict(position=' in line]
    given = "".join(path.read_text() for path in starter.iterdir())
    return {line for line in code_lines(gone) if line not in given}


def test_nothing_of_the_solution_is_left(folders):
    lines = solution_lines()
    assert len(lines) > 60  # else this test looks for nothing
    told = (
        "self.inject(h, e)",
        "order.argsort",
        "loops > t",
        "loops_left",
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
    _, think = build.cut((ROOT / "looped.py").read_text(), [build.Cut("LoopedGPT.think", "")])
    missing = [line for line in solution_lines() if line.encode() not in content]
    assert set(missing) <= {line.strip() for line in think}  # the solution has the fast one


def test_docstrings_signatures_and_kept_statements_are_as_in_the_repository(folders):
    def outline(source):
        """What each function is called, takes and says of itself, and what each class says."""
        found = []
        for name, node in build.functions_of(source).items():
            found.append((name, ast.dump(node.args), ast.get_docstring(node)))
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef):
                found.append((node.name, ast.get_docstring(node)))
        return found

    for name, cuts in build.CUTS.items():
        ours = (ROOT / name).read_text()
        theirs = (folders / "assignment" / name).read_text()
        assert outline(ours) == outline(theirs)
        nodes = ast.walk(ast.parse(theirs))
        raised = [ast.unparse(node) for node in nodes if isinstance(node, ast.Raise)]
        hints = [each.hint for each in cuts]
        assert sum(any(hint in line for hint in hints) for line in raised) == len(hints)
    source = (folders / "assignment" / "looped.py").read_text()
    states = build.functions_of(source)["LoopedGPT.states"]
    assert "self.begin(tokens)" in ast.unparse(states.body[1])


def test_no_file_links_to_what_is_not_there(folders):
    """Each of our modules that a file imports is in the folder; also in the autograder's."""
    for folder in (folders / "assignment", folders / "autograder"):
        for path in folder.rglob("*.py"):
            for module in imported(path):
                name = f"{module.replace('.', '/')}.py"
                if (ROOT / name).exists():
                    assert (folder / name).exists(), f"{path.name} imports {module}"


def imported(path):
    """The names of the modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


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
    for folder, said in (("assignment", "E1: the coda"), ("solution", "after 4 loops:")):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=folders / folder, capture_output=True, text=True)
        assert said in done.stdout and not done.stderr, done.stderr


def test_no_notebook_that_is_handed_out_shows_an_answer(folders, tmp_path):
    def outputs(source):
        return [cell.get("outputs") for cell in json.loads(source)["cells"] if "outputs" in cell]

    for path in (folders / "assignment").rglob("*.ipynb"):
        assert outputs(path.read_text()) and not any(outputs(path.read_text()))
    build.write_lessons(tmp_path / "lessons.zip")
    with zipfile.ZipFile(tmp_path / "lessons.zip") as archive:
        assert sorted(archive.namelist()) == [
            f"notebooks/{path.name}" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
        ]
        for name in archive.namelist():
            ours, theirs = (ROOT / name).read_text(), archive.read(name)
            assert any(outputs(ours)) and not any(outputs(theirs))
            cells = [json.loads(text)["cells"] for text in (ours, theirs)]
            assert len({json.dumps([cell["source"] for cell in each]) for each in cells}) == 1


def test_the_zip_has_what_gradescope_runs_at_its_top(folders):
    with zipfile.ZipFile(folders / "autograder.zip") as archive:
        names = set(archive.namelist())
    at_top = {"setup.sh", "run_autograder", "grade.py", "hidden.pt", "requirements.txt"}
    assert at_top | {"grader/judges.py", "support/files.py"} <= names
    assert not [name for name in names if "looped" in name]  # the solution is in hidden.pt alone
    for name in ("setup.sh", "run_autograder"):
        assert subprocess.run(["bash", "-n", folders / "autograder" / name]).returncode == 0


def test_a_folder_of_others_is_not_emptied(tmp_path, capsys):
    Path(tmp_path, "thesis.txt").write_text("years of work")
    with pytest.raises(SystemExit) as stop:
        build.fresh(tmp_path)
    assert stop.value.code == 2 and "is not empty" in capsys.readouterr().err
    assert Path(tmp_path, "thesis.txt").exists()


def test_points_add_up():
    assert sum(check.points for check in table.CHECKS) + sum(table.WRITTEN.values()) == 100
    handout = (ROOT / "assignment" / "handout.md").read_text()
    for exercise in table.EXERCISES:
        points = sum(check.points for check in table.CHECKS if check.exercise == exercise)
        points += table.WRITTEN.get(exercise, 0)
        section = handout.split(f"## {exercise} ")[1].split("##")[0]
        assert f"{points:g} points" in section
