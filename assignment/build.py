"""
Make the assignment from the repository: `python assignment/build.py` writes

    build/assignment    what students get: exercises cut out of the code, handout, grader, notebook;
                        and assignment.zip, the same to hand out
    build/solution      the same folder with the solutions
    build/lessons.zip   the notebooks of this repository without their outputs, in which the answer
                        stands below each guess
    build/autograder    only with --salt: what Gradescope gets (and autograder.zip). Keep this
                        folder and the salt to yourself

The solutions are the repository's own code, and CUTS says what is cut out of it. With --salt the
text of two exercises changes, too (variants.py), so the students' folder belongs to the autograder
that was made with it.

Without --salt nothing is trained: the model of E5 is assignment/given.pt. With --salt a model is
trained, in 15 seconds on an idle core. If its world leaves the solution too little room, that of
SALT#2 is tried, then SALT#3 ..

`python assignment/build.py --train-given` made given.pt. After a change of looped.py that old
weights do not fit, it makes it again.
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
from grader import dialogues, judges, probes, sandbox, table  # noqa: E402
from mistakes import MISTAKES, apply  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from variants import chosen, vary  # noqa: E402

from support.flags import find_task, flag_names  # noqa: E402
from tasks import IGNORE  # noqa: E402

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
    "claims/parts.py",
    "claims/rows.py",
    "claims/latent_thoughts.py",
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


# ---- E5
GIVEN = HERE / "given.pt"  # the settings and weights of a trained model, in the world without salt

# A world is taken if the solution keeps this distance from every bar. Then another machine, which
# rounds differently, and a solution that is written differently pass, too.
WORLDS = 8  # that are tried for a salt
ROOM_E4 = 0.04, 0.15  # above the bars of the trained hops and of twice as many
ROOM_E5 = 0.015, 0.02  # below what a rule may lose, and above what it has to gain
ANOTHER_RULE = """
def rule(model, before, h, answer_mask, last):
    moved = (h - before).norm(dim=-1) / h.norm(dim=-1)
    return (moved * answer_mask).amax(1)
"""


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
        Cut("LoopedGPT.solve", "E5: each row stops on its own, by what the rule measures", keep=6),
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


def files_of_the_repository(variants=()):
    """{name: source} of what CODE names, with the variants in it."""
    names = [path.relative_to(ROOT) for pattern in CODE for path in sorted(ROOT.glob(pattern))]
    for pattern in CODE:
        if not any(name.match(pattern) for name in names):
            raise ValueError(f"there is no {pattern} to hand out")
    sources = {name.as_posix(): (ROOT / name).read_text(encoding="utf-8") for name in names}
    return {name: vary(name, source, variants) for name, source in sources.items()}


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


def solution_files(variants=()):
    sources = files_of_the_repository(variants)
    sources["looped.py"] = vary("looped.py", looped_with_the_fast_think(), variants)
    files = {name: source.encode() for name, source in sources.items()}
    for name in SOLVED:
        files[name] = (HERE / "solution" / name).read_bytes()
    return files | shared_files(variants)


def student_files(variants=()):
    sources = files_of_the_repository(variants)
    files = {name: student_version(name, source).encode() for name, source in sources.items()}
    for path in (HERE / "starter").iterdir():
        files[path.name] = path.read_bytes()
    return files | shared_files(variants)


def shared_files(variants):
    files = {name: (HERE / name).read_bytes() for name in GRADER}
    handout = (HERE / "handout.md").read_text(encoding="utf-8")
    files["handout.md"] = vary("handout.md", handout, variants).encode()
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


def lessons():
    """{name: source} of the notebooks, without what their cells have shown."""
    found = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        lesson = json.loads(path.read_text(encoding="utf-8"))
        for cell in lesson["cells"]:
            if cell["cell_type"] == "code":
                cell.update(outputs=[], execution_count=None)
        found[f"notebooks/{path.name}"] = json.dumps(lesson, indent=1)
    return found


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


def make_known(salt, variants=()):
    """
    {probe: {"right": the solution's answer, "wrong": {check: [(message, answer)]}}}, where each
    wrong answer is that of the solution with a usual mistake in it, or without its variants.
    """
    known, plain = {}, looped_with_the_fast_think()

    def answer_by(source):
        return answer_of(check.probe, loader({"looped.py": source}), salt)

    for check in table.CHECKS:
        if not check.snapshot:
            continue
        wrong = [(each.copied, answer_by(plain)) for each in variants if each.check == check.name]
        for mistake in MISTAKES:
            if mistake.file == "looped.py" and check.name in mistake.lost:
                answer = answer_by(vary("looped.py", apply(mistake, plain), variants))
                wrong.append((mistake.lost[check.name], answer))
        right = answer_by(vary("looped.py", plain, variants))
        known[check.probe] = dict(right=right, wrong={check.name: wrong})
    return known


def train_recipe(salt, solution):
    """
    The solution's recipe, trained in the world of a salt: the flags, and what probes.train_recipe
    answers.
    """
    ask = loader({"recipe.py": solution["recipe.py"].decode()})
    said = json.loads(probes.recipe(ask, 2 * table.HOPS))
    flags = judges.full_flags(said["flags"])
    payload = dict(flags=flags, salt=salt, most_loops=table.MOST_LOOPS, keep=True)
    answer, complaint = sandbox.run(solution, "train_recipe", payload, grade.TRAINING_SECONDS)
    if complaint:
        raise ValueError(f"the training of the solution's recipe {complaint}")
    return flags, answer | dict(loops=said["loops"], problem="")


@torch.no_grad()
def make_given(salt, trained, solution=None):
    """
    What E5 looks at: the states of a trained model, loop by loop, when it is asked questions of
    each number of hops, and what `readout` needs of the model. And what stays with the grader:
    {"right": is question n right after each loop (loops, N), "val": is it of the val split (N,)}.
    Without a solution, the code of the model is the repository's.
    """
    sources = {"looped.py": solution["looped.py"].decode()} if solution else {}
    looped = loader(sources)("looped")
    cls = find_task(table.WORLD["task"])
    sizes = {name: table.WORLD[name] for name in flag_names(cls) if name in table.WORLD}
    task = cls(seed=table.WORLD["seed"], salt=salt, **sizes)
    model = looped.LoopedGPT(looped.Config(**trained["settings"]))
    model.load_state_dict(trained["weights"])
    tokens, targets, val = [], [], []
    longest = 2 * table.HOPS
    for split in ("val", "test"):
        for hops in range(1, longest + 1):
            batch = task.batch(split, 1, table.RULE_QUESTIONS, hops)
            behind = (0, longest - hops)
            tokens.append(F.pad(batch.tokens, behind, value=task.pad))
            targets.append(F.pad(batch.targets, behind, value=IGNORE))
            val += [split == "val"] * table.RULE_QUESTIONS
    draw = torch.Generator().manual_seed(grade.seed_of(salt, "places"))
    # The questions are shuffled, and so are, below, the places of each: the number of a row and the
    # place of its answer would tell how many hops.
    order = torch.randperm(len(val), generator=draw)
    tokens, targets = torch.cat(tokens)[order], torch.cat(targets)[order]
    states = torch.stack(list(model.states(tokens, table.RULE_LOOPS)))
    predicted = torch.stack([model.readout(h).argmax(-1) for h in states[1:]])
    right = ((predicted == targets) | (targets == IGNORE)).all(2)
    places = torch.rand(tokens.shape, generator=draw).argsort(1)
    states = states.gather(2, places[None, :, :, None].expand_as(states))
    readout = {name: trained["weights"][name] for name in ("embed.weight", "norm.weight")}
    given = dict(
        settings=trained["settings"],
        weights=readout,
        states=states.half(),  # which halves the file
        answer_mask=(targets != IGNORE).gather(1, places),
    )
    content = io.BytesIO()
    torch.save(given, content)
    return content.getvalue(), dict(right=right, val=torch.tensor(val)[order])


def make_course(salt, files, variants, given, right, reference=None, trained=None):
    """`reference` and `trained` (recipes whose accuracy is known) are for a hidden course."""
    known = make_known(salt, variants) | {"rule": right}
    return grade.Course(salt, files, known, given, reference, trained or {})


def make_public_course(files, variants=()):
    """The course of the students' folder. Its model is trained already."""
    trained = torch.load(GIVEN, weights_only=True)
    return make_course("", files, variants, *make_given("", trained))


def make_hidden_course(salt, files, solution, variants=()):
    """The course of the first of the worlds SALT, SALT#2, .. in which the solution has room."""
    for number in range(1, WORLDS + 1):
        world = f"{salt}#{number}" if number > 1 else salt
        flags, trained = train_recipe(world, solution)
        given, right = make_given(world, trained, solution)
        problem = no_room_in_e4(trained) or no_room_in_e5(given, right, solution)
        if not problem:
            known = dict(accuracy=trained["accuracy"])
            recipes = {json.dumps(flags, sort_keys=True): (known, "")}
            return make_course(world, files, variants, given, right, solution, recipes)
        print(f"the world of the salt {world!r} is too hard for the solution ({problem})")
    raise ValueError(f"none of {WORLDS} worlds leaves the solution room: choose another --salt")


def no_room_in_e4(trained):
    """Why the solution's recipe comes too near to a bar, or ""."""
    hops = range(1, table.HOPS + 1)
    reached = sum(judges.at_loops(trained, each) for each in hops) / table.HOPS
    beyond = judges.at_loops(trained, 2 * table.HOPS)
    if reached < table.BAR_TRAINED + ROOM_E4[0] or beyond < table.BAR_BEYOND + ROOM_E4[1]:
        return f"E4: right in {reached:.2f}, and {beyond:.2f} of twice the hops"
    return ""


def no_room_in_e5(given, right, solution):
    """Why the solution's rule or another one comes too near to a bar, or ""."""
    for rule in (solution["exit_rule.py"].decode(), ANOTHER_RULE):
        loss, gain = margins_of_rule(rule, given, right)
        if loss > table.RULE_LOSS - ROOM_E5[0] or gain < table.RULE_GAIN + ROOM_E5[1]:
            return f"E5: a rule loses {loss:.3f} and gains {gain:.3f}"
    return ""


def margins_of_rule(rule, given, right):
    """What the rule (its source) loses to the best fixed count, and gains over an equal one."""
    asked = dialogues.state_by_state(torch.load(io.BytesIO(given), weights_only=True))
    measured = converse(probes.rule, loader({"exit_rule.py": rule}), asked)["measured"]
    reached, best, _, fixed = judges.score(*judges.judged_loops(torch.stack(measured), right))
    return best - reached, reached - fixed


def converse(probe, load, asked):
    """What sandbox.run does, in this process: for code that is trusted."""
    try:
        asked.send(probe(load, asked.send, **next(asked)))
    except StopIteration as end:
        return end.value


def answer_of(probe, load, salt):
    """What a probe with a snapshot is answered, in this process."""
    if probe == "cost":
        return converse(probes.cost, load, dialogues.passes(salt))
    return getattr(probes, probe)(load, grade.seed_of(salt, probe))


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


def pack(folder, top=""):
    """A zip beside a folder, with all its files, in a folder `top` or at the top of the zip."""
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, Path(top, path.relative_to(folder)))


def write_lessons(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, source in lessons().items():
            archive.writestr(name, source)


def write_autograder(folder, course):
    """The files of Gradescope, and their zip: setup.sh and run_autograder at its top."""
    fresh(folder)
    needed = {name: (ROOT / name).read_bytes() for name in IMPORTED}
    needed |= {name: (HERE / name).read_bytes() for name in (*GRADER, "grade_all.py")}
    for name in ("setup.sh", "run_autograder"):
        text = (HERE / "gradescope" / name).read_text(encoding="utf-8")
        needed[name] = text.encode()  # \n ends a line, also where git made it \r\n
    sandbox.write(needed, folder)
    torch.save(vars(course), folder / "hidden.pt")
    (folder / "hidden.pt").chmod(0o600)
    for name in ("setup.sh", "run_autograder"):
        (folder / name).chmod(0o755)
    pack(folder)


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
    parser.add_argument("--train-given", action="store_true", help=f"make {GIVEN.name} again")
    args = parser.parse_args(argv)
    out = Path(args.out)
    made = ["assignment", "assignment.zip", "solution", "lessons.zip"]
    try:
        variants = chosen(args.salt)
        files, solution = student_files(variants), solution_files(variants)
        if args.train_given:
            _, trained = train_recipe("", solution_files())
            torch.save({name: trained[name] for name in ("settings", "weights")}, GIVEN)
        course = make_public_course(files, variants)
        write_public(out / "assignment", files, course)
        pack(out / "assignment", "assignment")  # before anybody tries it and leaves results behind
        write_public(out / "solution", solution, course)
        write_lessons(out / "lessons.zip")
        if args.salt:
            course = make_hidden_course(args.salt, files, solution, variants)
            write_autograder(out / "autograder", course)
            made += ["autograder", "autograder.zip"]
    except (ValueError, OSError) as error:
        grade.fail(" ".join(str(error).split()))
    for name in made:
        print(out / name)


if __name__ == "__main__":
    main()
