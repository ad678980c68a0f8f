"""
Make the assignment from the repository: `python assignment/build.py` writes

    build/assignment    what students get: exercises cut out of the code, handout, grader, notebook
    build/solution      the same with the solutions
    build/autograder    only with --salt: what Gradescope gets (and autograder.zip); keep it, and the salt, to yourself

The solutions are the repository's own code: CUTS says what is cut out of it. A minute on one core, for a model is
trained for E5 (two of them with --salt).
"""

import argparse
import ast
import hashlib
import io
import json
import re
import shutil
import sys
import types
import zipfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]

import grade  # noqa: E402
import torch  # noqa: E402
from grader import judges, probes, sandbox, table  # noqa: E402
from mistakes import MISTAKES, apply  # noqa: E402

CODE = [
    *(f"{name}.py" for name in "attention checks looped fast tasks sudoku boards chains figures runs recipes".split()),
    *("train.py", "analyze.py", "LICENSE", "requirements.txt"),
    *("papers/experiment.py", "papers/latent_thoughts.py", "papers/sums.py"),
    *(f"analyses/{name}.py" for name in "__init__ common depth depth_curves think".split()),
]
GRADER = ["grade.py", *(f"grader/{path.name}" for path in sorted((HERE / "grader").glob("*.py")))]


@dataclass
class Cut:
    """What becomes of a function's body, its docstring and first `keep` statements apart."""

    name: str
    hint: str  # begins with the exercise, "E1: .."
    keep: int = 0


ELSEWHERE = "this assignment does without it, for it would give E1 and E5 away"
CUTS = [
    Cut("LoopedGPT.loop", "E1: inject the question, run the core, re-embed if config.reembed"),
    Cut("LoopedGPT.states", "E1: yield the state before the first loop and after each", keep=1),
    Cut("LoopedGPT.readout", "E1: the coda, if there is one; then the head"),
    Cut("LoopedGPT.think", "E2: a count for each row; the gradient through its last backprop_loops", keep=2),
    Cut("LoopedGPT.advance", "E2: the loops of sorted rows; or let think do without it"),
    Cut("LoopedGPT.solve", "E5: each row stops when its measure falls under the threshold", keep=4),
    Cut("LoopedGPT.decode", ELSEWHERE),
    Cut("LoopedGPT.generate", ELSEWHERE),
    Cut("settle", "E5: your rule belongs into exit_rule.py"),
    Cut("kl", "E5: your rule belongs into exit_rule.py"),
    Cut("entropy", "E5: your rule belongs into exit_rule.py"),
]
REPLACED = {  # other texts of the code that would tell, or that name what students do not get
    "recipes.py": [
        (r'        "multihop": dict\(reembed=True,.*\n', '        "multihop": dict(),  # E4 looks for it\n')
    ],
    "analyze.py": [(r'ANALYSES = ".*"\.split\(\)', 'ANALYSES = ["depth", "think"]')],
}


def cut(source, cuts):
    """The source without what the cuts name, and the lines that are gone."""
    lines, gone, tree = source.splitlines(), [], ast.parse(source)
    found = {}
    for node in tree.body:
        members = node.body if isinstance(node, ast.ClassDef) else []
        for each in (node, *members):
            if isinstance(each, ast.FunctionDef):
                found[each.name if each is node else f"{node.name}.{each.name}"] = each
    for each in sorted(cuts, key=lambda each: -found[each.name].lineno):
        body = found[each.name].body
        first = body[(ast.get_docstring(found[each.name]) is not None) + each.keep]
        start, end = first.lineno - 1, body[-1].end_lineno
        gone += lines[start:end]
        lines[start:end] = [f'{" " * first.col_offset}raise NotImplementedError("{each.hint}")']
    return "\n".join(lines) + "\n", gone


def student_version(name, source):
    if name == "looped.py":
        source, _ = cut(source, CUTS)
    for pattern, new in REPLACED.get(name, []):
        source, number = re.subn(pattern, lambda _, new=new: new, source)
        if number != 1:
            raise ValueError(f"{name} has {pattern!r} {number} times; build.py replaces it once")
    return source


def places_of_readme():
    """The task of the README, which is the solution of E3."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    return next(block for block in blocks if "(Task)" in block)


def solution_files():
    files = {name: (ROOT / name).read_bytes() for name in CODE}
    files["my_task.py"] = places_of_readme().encode()
    for name in ("recipe.py", "exit_rule.py"):
        files[name] = (HERE / "solution" / name).read_bytes()
    return files | shared_files()


def student_files():
    files = {name: student_version(name, (ROOT / name).read_text(encoding="utf-8")).encode() for name in CODE}
    for path in (HERE / "starter").iterdir():
        files[path.name] = path.read_bytes()
    return files | shared_files()


def shared_files():
    files = {name: (HERE / name).read_bytes() for name in (*GRADER, "handout.md")}
    files["assignment.ipynb"] = notebook((HERE / "notebook.py").read_text(encoding="utf-8")).encode()
    return files


def notebook(source):
    """A notebook from a script whose cells begin with "# %%" or "# %% [markdown]"."""
    cells = []
    for part in re.split(r"^# %%", source, flags=re.M)[1:]:
        first, _, text = part.partition("\n")
        kind = "markdown" if "[markdown]" in first else "code"
        if kind == "markdown":
            text = re.sub(r"^# ?", "", text, flags=re.M)
        cell = dict(cell_type=kind, metadata={}, source=text.strip().splitlines(keepends=True), id=f"cell{len(cells)}")
        cells.append(cell | (dict(outputs=[], execution_count=None) if kind == "code" else {}))
    metadata = dict(kernelspec=dict(name="python3", display_name="Python 3", language="python"))
    return json.dumps(dict(cells=cells, metadata=metadata, nbformat=4, nbformat_minor=5), indent=1)


# -----------------------------------------------------------------------------
# What the grader knows


def loader(sources):
    """What probes call to import a module: from {file: source}, else the repository's own."""

    def load(name):
        if f"{name}.py" not in sources:
            return __import__(name)
        module = types.ModuleType(name)
        before, sys.modules[name] = sys.modules.get(name), module  # dataclasses look their module up
        try:
            exec(compile(sources[f"{name}.py"], f"{name}.py", "exec"), vars(module))
        finally:
            sys.modules.pop(name)
            if before:
                sys.modules[name] = before
        return module

    return load


def make_known(salt, solution):
    """{probe: {"right": the solution's answer, "wrong": {check: [(message, answer with a usual mistake)]}}}."""
    known = {}
    for check in (each for each in table.CHECKS if each.snapshot):
        ask, seed = getattr(probes, check.probe), grade.seed_of(salt, check.probe)
        source, wrong = solution["looped.py"].decode(), []
        for mistake in MISTAKES:
            if mistake.file == "looped.py" and check.name in mistake.lost:
                answer = ask(loader({"looped.py": apply(mistake, source)}), seed)
                wrong.append((mistake.lost[check.name], answer))
        known[check.probe] = dict(right=ask(loader({"looped.py": source}), seed), wrong={check.name: wrong})
    return known


def train_given(salt, solution):
    """The solution's recipe, trained: what E5 looks at, and what a hidden E4 need not train again."""
    ask = loader({"recipe.py": solution["recipe.py"].decode()})
    flags = judges.full_flags(json.loads(probes.recipe(ask, 1))["flags"])
    payload = dict(flags=flags, salt=salt, most_loops=table.MOST_LOOPS, keep=True)
    answer, complaint = sandbox.run(solution, "train_recipe", payload, grade.TRAINING_SECONDS)
    if complaint:
        raise ValueError(f"the training of the solution's recipe {complaint}")
    given = answer.pop("given")
    right = given.pop("right")
    content = io.BytesIO()
    torch.save(given, content)
    return content.getvalue(), right, {json.dumps(flags, sort_keys=True): (answer, "")}


def make_course(salt, files, solution):
    given, right, trained = train_given(salt, solution)
    known = make_known(salt, solution) | {"rule": dict(right_after=right)}
    course = grade.Course(salt, files, known, given, solution, trained)
    refuse_hard_worlds(course, solution)
    return course


def refuse_hard_worlds(course, solution):
    """Of a few salts the world is one in which the solution itself misses a bar."""
    graded = grade.grade(solution, course, ["e4", "e5_rule"])
    if missed := [f"{check.name}: {message}" for check, _, message in graded if message]:
        raise ValueError(f"the solution does not reach the bars in this world ({missed[0]}): take another --salt")


# -----------------------------------------------------------------------------
# Write


def write_public(folder, files, course):
    """A folder in which `python grade.py` works."""
    code = [name for name in files if name.endswith(".py") and name not in table.SUBMITTED]
    manifest = {name: hashlib.sha256(files[name]).hexdigest() for name in code}
    fresh(folder)
    sandbox.write(files, folder)
    (folder / "grader" / "manifest.json").write_text(json.dumps(manifest, indent=1))
    (folder / "grader" / "given.pt").write_bytes(course.given)
    torch.save(course.known, folder / "grader" / "known.pt")


def write_autograder(folder, course):
    """The files of Gradescope, and their zip: setup.sh and run_autograder at its top."""
    fresh(folder)
    needed = {name: (ROOT / name).read_bytes() for name in ("checks.py", "tasks.py", "requirements.txt")}
    needed |= {name: (HERE / name).read_bytes() for name in (*GRADER, "grade_all.py")}
    needed |= {name: (HERE / "gradescope" / name).read_bytes() for name in ("setup.sh", "run_autograder")}
    sandbox.write(needed, folder)
    torch.save(vars(course), folder / "hidden.pt")
    (folder / "hidden.pt").chmod(0o600)
    for name in ("setup.sh", "run_autograder"):
        (folder / name).chmod(0o755)
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))


def fresh(folder):
    """An empty folder; only one that was made here is emptied."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "grade.py").exists():
        grade.fail(f"{folder} is not empty, and nothing that build.py has made")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = grade.fail
    parser.add_argument("--out", default=str(ROOT / "build"), help="(default build/)")
    parser.add_argument("--salt", default="", help="your secret: makes build/autograder with a hidden world of its own")
    args = parser.parse_args(argv)
    out = Path(args.out)
    try:
        files, solution = student_files(), solution_files()
        course = make_course("", files, solution)
        write_public(out / "assignment", files, course)
        write_public(out / "solution", solution, course)
        if args.salt:
            write_autograder(out / "autograder", make_course(args.salt, files, solution))
    except (ValueError, OSError) as error:
        grade.fail(" ".join(str(error).split()))
    made = ["assignment", "solution", *(["autograder", "autograder.zip"] if args.salt else [])]
    print("\n".join(f"{out / name}" for name in made))


if __name__ == "__main__":
    main()
