"""
The grader from the outside: the untouched folder, submissions that misbehave, secrets that they
must not reach, and many submissions at once.
"""

import csv
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grade
import grade_all
import pytest
from grader import sandbox, table

SALT = "a-secret-of-the-tests"  # as in conftest.py


def run(folder, *argv):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "grade.py", *map(str, argv)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


def test_the_untouched_folder_gets_zero_and_no_traceback(folders):
    """The other checks: test_mistakes.py, in one process."""
    done = run(folders / "assignment", "--jobs", 2, "--only", "e1_loop", "e4", "e6")
    assert done.returncode == 0 and not done.stderr and "Traceback" not in done.stdout, done.stderr
    assert (
        done.stdout.endswith("\n0 of 25 points\n") and done.stdout.count("not written yet (E") == 4
    ), done.stdout
    results = json.loads((folders / "assignment" / "results.json").read_text())
    assert results["score"] == 0 and len(results["tests"]) == 5
    assert all(
        test["score"] == 0 and test["max_score"] > 0 and test["output"] for test in results["tests"]
    )


def test_the_solution_in_the_students_folder(folders):
    done = run(folders / "solution", "--jobs", 2, "--only", "e1_loop", "e5_rule")
    assert done.stdout.endswith("\n10 of 10 points\n"), done.stdout + done.stderr


def test_a_recipe_is_trained_with_the_students_own_code(folders, full, tmp_path):
    submission = tmp_path / "mine"
    recipe = b"FLAGS = dict(steps=2)\ndef loops_for(hops):\n    return 3\n"
    broken = full["looped.py"].replace(b"def think(self", b"def think_not(self")
    sandbox.write({"recipe.py": recipe, "looped.py": broken}, submission)
    done = run(
        folders / "assignment", submission, "--only", "e4", "--out", tmp_path / "results.json"
    )
    assert "0 of 15 points" in done.stdout and "no attribute 'think'" in done.stdout, done.stdout


BAD = {
    "loops for ever": ("while True: pass", "did not end within 4 seconds: does a loop never stop?"),
    "leaves": ("import os; os._exit(0)", "ended the program with code 0 before it had answered"),
    "prints a gigabyte": ("while True: print('x' * 10**6)", "printed more than a megabyte"),
    "imports what is not there": (
        "import no_such_thing",
        "No module named 'no_such_thing' (looped.py, line 1)",
    ),
    "edits the grader": (
        "open('grader/judges.py', 'w').write('def judge(*_): return 0')",
        "the submission changed grader/judges.py while it ran",
    ),
    "takes all memory": ("x = bytearray(2**45)", "MemoryError"),
    "answers in our place": (
        "import os, sys, torch\n"
        "torch.save({'answer': {}, 'complaint': ''}, sys.argv[2] + '/answer.pt')\n"
        "os._exit(0)",
        "the answer has not the form that it should have",
    ),
}


def test_a_submission_that_misbehaves_gets_zero_and_a_line(hidden, full):
    def graded(name):
        seconds = 60  # a program that ends by itself may take long on a busy machine
        if name == "loops for ever":
            seconds = 4
        return grade.grade(
            full | {"looped.py": BAD[name][0].encode()}, hidden, ["e1_loop"], seconds=seconds
        )

    with ThreadPoolExecutor(3) as pool:
        for name, [(_, points, message)] in zip(BAD, pool.map(graded, BAD)):
            assert points == 0 and BAD[name][1] in message and "\n" not in message, (
                f"{name}: {message}"
            )
    assert grade.grade(full, hidden, ["e1_loop"])[0][1] == 5  # and the course is unharmed


SPY = """
import os
from pathlib import Path

SALT = {salt!r}[::-1].encode()  # the spy knows it only to say whether it has seen it
seen = []
for name in ("environ", "cmdline"):
    for process in ("self", str(os.getppid())):
        try:
            seen.append(Path("/proc", process, name).read_bytes())
        except OSError:
            pass
for top in ({folder!r}, "..", "."):
    for path in Path(top).rglob("*"):
        if path.is_file():
            seen.append(path.read_bytes())
raise ValueError(f"read {{len(seen)}} things, salt seen: {{any(SALT in each for each in seen)}}")
"""


def test_a_spy_does_not_find_the_salt(folders, full, tmp_path):
    hidden_file = folders / "autograder" / "hidden.pt"
    before = hidden_file.read_bytes()
    assert SALT.encode() in before
    spy = SPY.format(salt=SALT[::-1], folder=str(folders / "autograder"))
    sandbox.write(full | {"looped.py": spy.encode()}, tmp_path / "spy")
    done = run(
        folders / "autograder", tmp_path / "spy", "--hidden", "hidden.pt", "--only", "e1_loop"
    )
    assert "salt seen: False" in done.stdout and "read 0" not in done.stdout, (
        done.stdout + done.stderr
    )
    assert hidden_file.read_bytes() == before  # it is back


def test_what_is_not_to_be_submitted_is_not_taken(tmp_path, full):
    sandbox.write(
        full | {"grade.py": b"", "grader/judges.py": b"", "tasks.py": b"", "e6/more.py": b""},
        tmp_path / "in",
    )
    assert set(grade.read_submission(tmp_path / "in")) == set(full)
    assert grade.read_submission(tmp_path) == grade.read_submission(
        tmp_path / "in"
    )  # one folder in the folder
    (tmp_path / "in" / "recipe.py").write_bytes(b"#" * (grade.LARGEST + 1))
    assert "recipe.py" not in grade.read_submission(tmp_path / "in")


def test_an_edited_grader_is_refused_and_other_edits_are_noted(
    folders, public, monkeypatch, capsys
):
    folder = folders / "assignment"
    monkeypatch.setattr(grade, "HERE", folder)
    for name, code in (("tasks.py", None), ("grader/judges.py", 2)):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content + b"\n")
        try:
            if code:
                with pytest.raises(SystemExit) as stop:
                    grade.read_public()
                assert (
                    stop.value.code == code
                    and "is not as it was handed out: put it back" in capsys.readouterr().err
                )
            else:
                grade.read_public()
                assert "note: tasks.py is not as it was handed out" in capsys.readouterr().out
        finally:
            (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    "argv, said",
    [
        (["nowhere"], "nowhere is not a folder"),
        ([".", "--only", "e9"], "e9 is no exercise and no check"),
        ([".", "--jobs", "0"], "must be more than 0"),
        ([".", "--hidden", "/no/hidden.pt"], "is not a file that build.py makes"),
        (["--nonsense"], "unrecognized arguments"),
    ],
)
def test_bad_input_is_refused_in_one_line(argv, said, capsys):
    with pytest.raises(SystemExit) as stop:
        grade.main(argv)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and said in error and error.count("\n") == 1


def test_many_submissions_at_once(folders, full, tmp_path, monkeypatch, capsys):
    """A folder, a zip and a broken zip; checks that take a process are left out here."""
    import shutil

    few = [check for check in table.CHECKS if check.name in ("e4_recipe", "e6_form")]
    monkeypatch.setattr(table, "CHECKS", few)
    submissions = tmp_path / "submissions"
    sandbox.write(full, submissions / "ada")
    sandbox.write(full | {"e6/page.md": b"short"}, tmp_path / "bob" / "homework")
    shutil.make_archive(str(submissions / "bob"), "zip", tmp_path / "bob")
    (submissions / "eve.zip").write_bytes(b"no zip")
    (submissions / "notes.txt").write_text("not a submission")
    monkeypatch.chdir(tmp_path)
    argv = [str(submissions), "--hidden", str(folders / "autograder" / "hidden.pt")]
    grade_all.main(argv)
    rows = list(csv.DictReader(open("grades.csv")))
    assert [(row["submission"], float(row["points"])) for row in rows] == [
        ("ada", 8),
        ("bob.zip", 3),
        ("eve.zip", 0),
    ]
    assert "page.md has 1 words" in Path("submissions-results", "bob.txt").read_text()
    assert "eve.zip cannot be read" in Path("submissions-results", "eve.txt").read_text()
    monkeypatch.setattr(grade, "grade", None)  # a second call grades nothing again
    grade_all.main(argv)
    assert len(list(csv.DictReader(open("grades.csv")))) == 3
