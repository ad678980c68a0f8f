"""
Make the assignment from the repository: `python assignment/build.py` writes

    build/assignment    what students get: exercises cut out of the code, handout, grader, notebook
    build/solution      the same folder with the solutions
    build/autograder    only with --salt: what Gradescope gets (and autograder.zip). Keep this
                        folder and the salt to yourself

The solutions are the repository's own code, and CUTS says what is cut out of it. The program takes
a minute on one core, because a model is trained for E5 (with --salt two models).
"""

import argparse
import ast
import hashlib
import importlib
import io
import json
import re
import shutil
import sys
import textwrap
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

# What students get of the repository, as patterns of file names
CODE = [
    "looped.py",
    "tasks.py",
    "train.py",
    "analyze.py",
    "support/*.py",
    "more_tasks/*.py",
    "analyses/__init__.py",
    "analyses/common.py",
    "analyses/depth_more.py",
    "analyses/think_more.py",
    "claims/__init__.py",
    "claims/experiment.py",
    "claims/rows.py",
    "claims/latent_thoughts.py",
    "claims/sums.py",
    "papers/__init__.py",
    "papers/latent_thoughts.py",
    "LICENSE",
    "requirements.txt",
]
GRADER = ["grade.py", *(f"grader/{path.name}" for path in sorted((HERE / "grader").glob("*.py")))]
SOLVED = ("my_task.py", "recipe.py", "exit_rule.py")  # the files of solution/
# What grade.py imports of the repository, which the autograder needs beside the grader
IMPORTED = [
    "support/__init__.py",
    "support/files.py",
    "support/hashing.py",
    "support/processes.py",
    "requirements.txt",
]


@dataclass
class Cut:
    """A function whose body is taken away; its docstring and its first `keep` statements stay."""

    name: str
    hint: str  # begins with the exercise, "E1: .."
    keep: int = 0


ELSEWHERE = "this assignment does without it, for it would give E2 away"
CUTS = {
    "looped.py": [
        Cut("LoopedGPT.forward", "E1: the loops, then the readout", keep=2),
        Cut("LoopedGPT.loop", "E1: inject the question, run the core, then reembed if asked"),
        Cut("LoopedGPT.readout", "E1: the coda, if there is one; then the head"),
        Cut("LoopedGPT.reembed", "E1: the formula of the docstring"),
        Cut("LoopedGPT.states", "E2: yield the state before the first loop and after each", keep=1),
        Cut("LoopedGPT.think", "E2: the last of these states, without needless work"),
        Cut("LoopedGPT.solve", "E5: each row stops when its measure is below the limit", keep=6),
        Cut("settle", "E5: your rule belongs into exit_rule.py"),
    ],
    "support/fast.py": [
        Cut("fast_think", ELSEWHERE),
        Cut("advance", ELSEWHERE),
        Cut("checkpoint_loops", ELSEWHERE),
    ],
}
# Other texts of the code that would give a solution away or name what students do not get:
# {file: [(pattern, what takes its place)]}
REPLACED = {
    "support/fast.py": [  # students' models run their own think
        (r"^    if has_usual_loop\(type\(model\)\):\n +model.think.*?(?=^    return model\n)", ""),
    ],
    "support/recipes.py": [
        (r'^    "multihop": dict\(position=.*?\n', '    "multihop": dict(),  # see E4\n'),
    ],
    "analyze.py": [
        (r"^OTHERS = \{.*?^\}\n", "OTHERS = {}\n"),
    ],
}


# --------------------------------------------------------------------------------------------------
# The files


def functions_of(source):
    """{name: node} of the functions of a source; a method is called "Class.method"."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef):
                    found[f"{node.name}.{member.name}"] = member
    return found


def body_of(node, keep=0):
    """The statements of a function behind its docstring and the first `keep` others."""
    has_docstring = ast.get_docstring(node) is not None
    return node.body[has_docstring + keep :]


def cut(source, cuts):
    """The source without what the cuts name, and the lines that are gone."""
    lines, gone, found = source.splitlines(), [], functions_of(source)
    from_the_end = sorted(cuts, key=lambda each: -found[each.name].lineno)
    for each in from_the_end:  # so that the line numbers of the others stay right
        body = body_of(found[each.name], each.keep)
        if not body:
            raise ValueError(f"{each.name} has nothing left to cut behind {each.keep} statements")
        start, end = body[0].lineno - 1, body[-1].end_lineno
        gone += lines[start:end]
        lines[start:end] = [f'{" " * body[0].col_offset}raise NotImplementedError("{each.hint}")']
    return "\n".join(lines) + "\n", gone


def files_of_the_repository():
    """{name: source} of what CODE names."""
    names = [path.relative_to(ROOT) for pattern in CODE for path in sorted(ROOT.glob(pattern))]
    for pattern in CODE:
        if not any(name.match(pattern) for name in names):
            raise ValueError(f"there is no {pattern} to hand out")
    return {name.as_posix(): (ROOT / name).read_text(encoding="utf-8") for name in names}


def student_version(name, source):
    """A file of the repository without the solutions."""
    if name in CUTS:
        source, _ = cut(source, CUTS[name])
    for pattern, new in REPLACED.get(name, []):
        source, number = re.subn(pattern, lambda _, new=new: new, source, flags=re.M | re.S)
        if number != 1:
            raise ValueError(f"{name} has {pattern!r} {number} times; build.py replaces it once")
    return source


def looped_with_the_fast_think():
    """
    The solution of E1, E2 and E5: looped.py with the `think` of support/fast.py. Both versions of
    `think` compute the same, but only the fast one leaves out the work that E2 asks to leave out.
    """
    source = (ROOT / "looped.py").read_text(encoding="utf-8")
    fast = (ROOT / "support" / "fast.py").read_text(encoding="utf-8")
    lines, fast_lines, twins = source.splitlines(), fast.splitlines(), functions_of(fast)
    body, twin, helper = (
        body_of(functions_of(source)["LoopedGPT.think"]),
        body_of(twins["fast_think"]),
        twins["advance"],
    )
    new = fast_lines[twin[0].lineno - 1 : twin[-1].end_lineno]
    new += ["", *fast_lines[helper.lineno - 1 : helper.end_lineno]]
    lines[body[0].lineno - 1 : body[-1].end_lineno] = textwrap.indent("\n".join(new), "    ").split(
        "\n"
    )
    return "\n".join(lines) + "\n"


def solution_files():
    files = {name: source.encode() for name, source in files_of_the_repository().items()}
    files["looped.py"] = looped_with_the_fast_think().encode()
    for name in SOLVED:
        files[name] = (HERE / "solution" / name).read_bytes()
    return files | shared_files()


def student_files():
    sources = files_of_the_repository()
    files = {name: student_version(name, source).encode() for name, source in sources.items()}
    for path in (HERE / "starter").iterdir():
        files[path.name] = path.read_bytes()
    return files | shared_files()


def shared_files():
    files = {name: (HERE / name).read_bytes() for name in (*GRADER, "handout.md")}
    cells = (HERE / "notebook.py").read_text(encoding="utf-8")
    files["assignment.ipynb"] = notebook(cells).encode()
    return files


def notebook(source):
    """A notebook from a script whose cells begin with "# %%" or "# %% [markdown]"."""
    cells = []
    for part in re.split(r"^# %%", source, flags=re.M)[1:]:
        first, _, text = part.partition("\n")
        cell = dict(cell_type="code", outputs=[], execution_count=None)
        if "[markdown]" in first:
            cell = dict(cell_type="markdown")
            text = re.sub(r"^# ?", "", text, flags=re.M)
        lines = text.strip().splitlines(keepends=True)
        cells.append(dict(id=f"cell{len(cells)}", metadata={}, source=lines, **cell))
    kernel = dict(name="python3", display_name="Python 3", language="python")
    metadata = dict(kernelspec=kernel)
    return json.dumps(dict(cells=cells, metadata=metadata, nbformat=4, nbformat_minor=5), indent=1)


# --------------------------------------------------------------------------------------------------
# What the grader knows


def loader(sources):
    """What probes call to import a module: from {file: source}, else the repository's own."""

    def load(name):
        if f"{name}.py" not in sources:
            return importlib.import_module(name)
        module = types.ModuleType(name)
        # dataclasses look their module up in sys.modules
        before, sys.modules[name] = sys.modules.get(name), module
        try:
            exec(compile(sources[f"{name}.py"], f"{name}.py", "exec"), vars(module))
        finally:
            sys.modules.pop(name)
            if before:
                sys.modules[name] = before
        return module

    return load


def make_known(salt, solution):
    """
    {probe: {"right": the solution's answer, "wrong": {check: [(message, answer)]}}}, where each
    wrong answer is that of the solution with a usual mistake in it.
    """
    known = {}
    source = solution["looped.py"].decode()
    for check in table.CHECKS:
        if not check.snapshot:
            continue
        ask, seed = getattr(probes, check.probe), grade.seed_of(salt, check.probe)
        wrong = []
        for mistake in MISTAKES:
            if mistake.file == "looped.py" and check.name in mistake.lost:
                answer = ask(loader({"looped.py": apply(mistake, source)}), seed)
                wrong.append((mistake.lost[check.name], answer))
        right = ask(loader({"looped.py": source}), seed)
        known[check.probe] = dict(right=right, wrong={check.name: wrong})
    return known


def train_given(salt, solution):
    """The solution's recipe, trained: E5 looks at it, and a hidden E4 need not train it again."""
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
    """With a few salts the world is one in which the solution itself misses a bar."""
    graded = grade.grade(solution, course, ["e4", "e5_rule"])
    if missed := [f"{check.name}: {message}" for check, _, message in graded if message]:
        raise ValueError(
            f"the solution does not reach the bars in this world ({missed[0]}): take another --salt"
        )


# --------------------------------------------------------------------------------------------------
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
    needed = {name: (ROOT / name).read_bytes() for name in IMPORTED}
    needed |= {name: (HERE / name).read_bytes() for name in (*GRADER, "grade_all.py")}
    for name in ("setup.sh", "run_autograder"):
        needed[name] = (HERE / "gradescope" / name).read_bytes()
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
    """An empty folder; a folder that is not empty is emptied only if build.py made it."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "grade.py").exists():
        grade.fail(f"{folder} is not empty, and build.py did not make it")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.error = grade.fail
    parser.add_argument("--out", default=str(ROOT / "build"), help="(default build/)")
    secret = "your secret: also makes build/autograder, with a hidden world of its own"
    parser.add_argument("--salt", default="", help=secret)
    args = parser.parse_args(argv)
    out = Path(args.out)
    made = ["assignment", "solution"]
    try:
        files, solution = student_files(), solution_files()
        course = make_course("", files, solution)
        write_public(out / "assignment", files, course)
        write_public(out / "solution", solution, course)
        if args.salt:
            write_autograder(out / "autograder", make_course(args.salt, files, solution))
            made += ["autograder", "autograder.zip"]
    except (ValueError, OSError) as error:
        grade.fail(" ".join(str(error).split()))
    for name in made:
        print(out / name)


if __name__ == "__main__":
    main()
