"""
The grader from the outside: the untouched folder, submissions that misbehave, submissions that are
packed in strange ways, and many at once. For those that cheat, see test_cheats.py.
"""

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import grade
import grade_all
import pytest
from grader import sandbox, submissions, table


def run(folder, *argv):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "grade.py", *map(str, argv)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


def test_the_untouched_folder_gets_zero_and_no_traceback(folders):
    """The other checks: test_mistakes.py, in one process."""
    before = sorted((folders / "assignment").rglob("*"))
    done = run(folders / "assignment", "--jobs", 2, "--only", "e1_loop", "e4", "e6")
    assert sorted((folders / "assignment").rglob("*")) == before  # it is handed out as it was
    assert done.returncode == 0 and not done.stderr and "Traceback" not in done.stdout, done.stderr
    names = ("e1_loop", "e4", "e6")
    most = sum(check.points for check in table.CHECKS if check.name.startswith(names))
    assert done.stdout.endswith(f"\n0 of {most:g} points\n"), done.stdout
    assert done.stdout.count("not written yet (E") == 4, done.stdout


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
    assert "\n0 of " in done.stdout and "no attribute 'think'" in done.stdout, done.stdout
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["score"] == 0 and len(results["tests"]) == 3
    assert "found: looped.py, recipe.py\nmissing: my_task.py, " in results["output"]
    for test in results["tests"]:
        assert test["score"] == 0 and test["max_score"] > 0 and test["output"]


BAD = {
    "loops for ever": ("while True: pass", "did not end within 4 seconds: does a loop never stop?"),
    "leaves": ("import os; os._exit(0)", "ended the program with code 0 before it had answered"),
    "prints a gigabyte": ("while True: print('x' * 10**6)", "printed more than a megabyte"),
    "imports what is not there": (
        "import no_such_thing",
        "No module named 'no_such_thing' (looped.py, line 1)",
    ),
    "edits the grader": (
        "from pathlib import Path\n"
        "for path in Path('grader').glob('*.py'):\n"
        "    path.write_text('def judge(*_): return None')",
        "module 'looped' has no attribute",
    ),
    "takes all memory": ("x = bytearray(2**45)", "MemoryError"),
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
        ([".", "--hidden", __file__], "is not a file that build.py makes"),
        (["--nonsense"], "unrecognized arguments"),
    ],
)
def test_bad_input_is_refused_in_one_line(argv, said, capsys):
    with pytest.raises(SystemExit) as stop:
        grade.main(argv)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and said in error and error.count("\n") == 1


# ---- packed in strange ways


def zip_of(files, compression=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def test_files_are_found_at_any_depth_and_nothing_else_is_taken(tmp_path, full):
    others = {"grade.py": b"", "grader/judges.py": b"", "tasks.py": b"", "e6/more.py": b""}
    sandbox.write(full | others, tmp_path / "a" / "b" / "c")
    sandbox.write({"essay.pdf": b"", ".git/looped.py": b"old", "__MACOSX/recipe.py": b""}, tmp_path)
    os.symlink(__file__, tmp_path / "report.md")
    taken, found = submissions.read(tmp_path)
    assert taken == full
    missing = [name for name in submissions.NAMES if name not in full]
    assert f"\nmissing: {', '.join(missing)}\n" in found and "report.md" in missing
    assert "\nnot taken: essay.pdf, a/b/c/grade.py, " in found
    (tmp_path / "a" / "b" / "c" / "recipe.py").write_bytes(b"#" * (submissions.LARGEST + 1))
    taken, found = submissions.read(tmp_path)
    assert "recipe.py" not in taken and "a/b/c/recipe.py is larger than 5 MB" in found


@pytest.mark.parametrize("name", ["HW.ZIP", "hw.tar.gz", "moodle"])
def test_archives_of_every_kind_are_opened(name, tmp_path, full):
    history = {f".git/objects/{i}": "" for i in range(300)}
    content = zip_of(history | {f"hand-in\\{name}": text for name, text in full.items()})
    if name == "HW.ZIP":
        (tmp_path / name).write_bytes(content)
    elif name == "moodle":  # a folder with a zip
        sandbox.write({"Ada_123_file/hw.zip": content}, tmp_path / name)
    else:
        sandbox.write(full, tmp_path / "x")
        with tarfile.open(tmp_path / name, "w:gz") as archive:
            archive.add(tmp_path / "x", ".")
    assert submissions.read(tmp_path / name)[0] == full


def test_of_two_files_of_a_name_the_one_beside_the_others_is_taken(tmp_path, full):
    more = {"looped.py": b"first", "old/looped.py": b"old", "z/looped.py": b"last"}
    (tmp_path / "a.zip").write_bytes(zip_of(more | {f"hw/{n}": text for n, text in full.items()}))
    taken, found = submissions.read(tmp_path / "a.zip")
    assert taken == full
    for other in more:
        assert f"looped.py: a.zip/hw/looped.py is taken, a.zip/{other} is not" in found


def test_what_cannot_be_read_is_said_and_the_rest_is_taken(tmp_path):
    damaged = zip_of({"recipe.py": b"FLAGS = dict()" * 9}).replace(b"FLAGS", b"GALFS", 1)
    endless = io.BytesIO()
    with tarfile.open(fileobj=endless, mode="w:gz") as archive:
        member = tarfile.TarInfo("looped.py")
        member.size = submissions.LARGEST_ARCHIVE
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    doll = b""
    for _ in range(9):
        doll = zip_of({"looped.py": b"deep", "in.zip": doll})
    files = {"a.zip": damaged, "b.tgz": endless.getvalue(), "c.zip": b"no zip", "my_task.py": b"x"}
    sandbox.write(files, tmp_path)
    taken, found = submissions.read(tmp_path)
    assert taken == {"my_task.py": b"x"}
    assert "a.zip/recipe.py cannot be read (BadZipFile)" in found
    assert "b.tgz cannot be read (" in found and "c.zip cannot be read (" in found
    (tmp_path / "doll.zip").write_bytes(doll)
    assert submissions.read(tmp_path)[0] == {"looped.py": b"deep", "my_task.py": b"x"}


def test_small_archives_cannot_unpack_to_much(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "LARGEST_ARCHIVE", 50_000)
    nested = {f"{i}/hw.zip": zip_of({"looped.py": bytes(15_000)}) for i in range(20)}
    (tmp_path / "many.zip").write_bytes(zip_of(nested, zipfile.ZIP_DEFLATED))
    assert (tmp_path / "many.zip").stat().st_size < 10_000
    taken, found = submissions.read(tmp_path / "many.zip")
    assert taken == {"looped.py": bytes(15_000)}  # of the first; the second one is too much
    assert "not taken: many.zip/2/hw.zip, many.zip/3/hw.zip" in found
    name = io.BytesIO()
    with tarfile.open(fileobj=name, mode="w:gz", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("x" * 60_000))
    (tmp_path / "name.tgz").write_bytes(name.getvalue())
    assert "name.tgz cannot be read (ValueError)" in submissions.read(tmp_path / "name.tgz")[1]


def test_many_submissions_at_once(folders, full, tmp_path, monkeypatch, capsys):
    """Checks that take a process are left out here, and so is the training of the recipe."""
    monkeypatch.setattr(grade, "train_once", lambda *_: (None, ""))
    few = [check for check in table.CHECKS if check.name in ("e4_recipe", "e6_form")]
    points = {check.name: check.points for check in few}
    monkeypatch.setattr(table, "CHECKS", few)
    folder = tmp_path / "submissions"
    sandbox.write(full, folder / "john.smith")
    sandbox.write({"notes.pdf": b""}, folder / "john.doe")
    without_page = {f"homework/{n}": text for n, text in full.items() if n != "e6/page.md"}
    sandbox.write({"bob.zip": zip_of(without_page), "eve.zip": b"no", "notes.txt": b""}, folder)
    joerg = "J\\xf6rg"  # in the letters of another system, as unzip may leave it; printed so
    os.mkdir(os.path.join(os.fsencode(folder), b"J\xf6rg"))
    monkeypatch.chdir(tmp_path)
    hidden_file = folders / "autograder" / "hidden.pt"
    hidden_file.chmod(0o644)  # as unzip leaves it
    argv = [str(folder), "--hidden", str(hidden_file), "--trust"]
    grade_all.main(argv)
    assert hidden_file.stat().st_mode & 0o777 == 0o600
    rows = {row["submission"]: float(row["points"]) for row in csv.DictReader(open("grades.csv"))}
    most = sum(points.values())
    assert rows == {
        "john.smith": most,
        "john.doe": 0,
        "bob.zip": points["e4_recipe"],
        "eve.zip": 0,
        joerg.replace("xf6", "udcf6"): 0,
    }
    assert "notes.txt: skipped" in capsys.readouterr().out
    texts = tmp_path / "submissions-results"
    assert "e6/page.md is missing" in (texts / "bob.zip.txt").read_text()
    assert "found: nothing" in (texts / "john.doe.txt").read_text()
    assert "eve.zip cannot be read (BadZipFile)" in (texts / "eve.zip.txt").read_text()
    monkeypatch.setattr(grade, "grade", None)  # a second call grades nothing again
    grade_all.main(argv)
    (texts / "eve.zip.json").unlink()
    with pytest.raises(SystemExit) as stop:  # and whatever goes wrong does not stop the others
        grade_all.main(argv)
    assert stop.value.code == 2 and "not graded: eve.zip" in capsys.readouterr().err
    assert len(list(csv.DictReader(open("grades.csv")))) == 4
