"""
Grade a submission: `python grade.py` in its folder prints the points of each exercise and names the
usual mistake where something is not right yet. `--only e1 e2_cost` grades a part of it.

Each check runs in a process of its own (grader/sandbox.py). The course grades with `--hidden`, a
file that build.py makes: then worlds, seeds and questions are other ones, recipes are trained by
the course's own code, only the files to be handed in are taken from the submission, and these run
where they cannot reach the course.
"""

import argparse
import hashlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True  # nothing new in the folder that students get

import torch  # noqa: E402
from grader import dialogues, judges, sandbox, submissions, table  # noqa: E402

from support.files import load_tensors  # noqa: E402
from support.hashing import stream  # noqa: E402

HERE = Path(__file__).resolve().parent
TRAINING_SECONDS = 400  # of E4; it takes 15 on an idle core
UNGUARDED = (
    "submissions would run as {user} and could read hidden.pt: install bubblewrap, or run as root "
    f"with a Python that all users can read (not {sys.executable}), or say --trust, if you trust "
    "each line that was handed in"
)


def fail(message):
    print(f"grade.py: error: {message}", file=sys.stderr)
    raise SystemExit(2)


@dataclass
class Course:
    """
    What a submission is graded with. All of it is in memory, where no submission can read or change
    it.
    """

    salt: str
    files: dict  # {name: bytes} what students were given
    known: dict  # {probe: what is right, what is usually wrong}
    given: bytes  # the trained model of E5, as it goes to the submission
    reference: dict | None = None  # files that E4 trains with; None: the submission's own
    trained: dict = field(default_factory=dict)  # {flags: accuracy} of the reference so far
    guard: str = ""  # what keeps submissions away from the course, see sandbox.py


def read_public():
    """The course as students have it, in this folder. An edited grader is refused."""
    try:
        manifest = json.loads((HERE / "grader" / "manifest.json").read_text())
        files = {name: (HERE / name).read_bytes() for name in manifest}
        files["grader/manifest.json"] = (HERE / "grader" / "manifest.json").read_bytes()
        known = load_tensors(HERE / "grader" / "known.pt")
        given = (HERE / "grader" / "given.pt").read_bytes()
    except (OSError, ValueError) as error:
        what = " ".join(str(error).split())
        fail(f"this folder is not complete ({what}): unpack the assignment again")
    for name, digest in manifest.items():
        if hashlib.sha256(files[name]).hexdigest() == digest:
            continue
        if name == "grade.py" or name.startswith("grader/"):
            fail(f"{name} is not as it was handed out: put it back; the course grades with its own")
        print(f"note: {name} is not as it was handed out; the course grades with its own")
    return Course("", files, known, given)


def read_hidden(path, trust=False):
    """The course from a --hidden file, and how it is guarded. Without a guard nothing is graded."""
    try:
        course = Course(**load_tensors(path))
        Path(path).chmod(0o600)
    except Exception as error:  # it may be any file
        fail(f"{path} is not a file that build.py makes ({' '.join(str(error).split())})")
    sandbox.keep_memory_to_ourselves()
    if not trust:
        course.guard = sandbox.find_guard(course.files)
        if not course.guard:
            fail(UNGUARDED.format(user="root" if sandbox.is_root() else "you"))
    return course


# --------------------------------------------------------------------------------------------------


def grade(submission, course, only=(), jobs=1, seconds=None):
    """[(check, points, message)] of all checks, or of those that `only` names (e1, e2_cost)."""
    checks = [each for each in table.CHECKS if not only or each.name.startswith(tuple(only))]
    probes = dict.fromkeys(check.probe for check in checks)
    files = dict(course.files)
    for name in table.SUBMITTED:
        if name in submission:
            files[name] = submission[name]
    with ThreadPoolExecutor(jobs) as pool:
        asked = {}
        for probe in probes:
            asked[probe] = pool.submit(ask, probe, files, submission, course, seconds)
        answers = {probe: future.result() for probe, future in asked.items()}
    graded = []
    for check in checks:
        answer, complaint = answers[check.probe]
        message = complaint or judges.judge(check, answer, course.known.get(check.probe, {}))
        message = sandbox.one_line(message)
        graded.append((check, 0 if message else check.points, message))
    return graded


def ask(probe, files, submission, course, seconds):
    """(answer, complaint) of a probe."""
    allowed = [check.seconds for check in table.CHECKS if check.probe == probe]
    seconds = seconds or max(allowed, default=0)
    if not probe:  # E6: nothing is run
        folder, texts = f"{table.EXPERIMENT}/", {}
        for name, content in submission.items():
            if name.startswith(folder):
                texts[name.removeprefix(folder)] = content.decode(errors="replace")
        return texts, ""
    if probe == "recipe":
        return ask_recipe(files, course, seconds)
    if several_steps := getattr(dialogues, f"ask_{probe}", None):
        try:
            return several_steps(files, submission, course, seconds)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            what = f"{type(error).__name__}: {sandbox.one_line(error)}"
            return None, f"{sandbox.NO_FORM} ({what})"
    payload = dict(seed=seed_of(course.salt, probe))
    return sandbox.run(files, probe, payload, seconds, course.guard)


def seed_of(salt, probe):
    return stream(salt, probe) % 2**31


def ask_recipe(files, course, seconds):
    """
    Read the recipe in one process and train it in another. In the course's hands no line of the
    submission runs in the second one.
    """
    text, complaint = sandbox.run(files, "recipe", dict(hops=2 * table.HOPS), seconds, course.guard)
    if complaint:
        return None, complaint
    try:
        said = json.loads(text)
        flags = judges.full_flags(said["flags"])
        problem = judges.wrong_loops(said["loops"])
    except Exception as error:  # it was written by the submission
        return dict(problem=sandbox.one_line(error)), ""
    if problem:
        return dict(problem=problem), ""
    trained, problem = train_once(flags, files, course)
    if trained and nearly(trained["accuracy"]):  # some worlds are hard: try one more
        again, _ = train_once({**flags, "seed": flags["seed"] + 1}, files, course)
        if again and again["accuracy"][-1].max() > trained["accuracy"][-1].max():
            trained = again
    return dict(problem=problem, loops=said["loops"], accuracy=trained and trained["accuracy"]), ""


def nearly(accuracy):
    """Does it miss the bar of the hardest hops, though it has learned something?"""
    best = accuracy.amax(1)
    return float(best[-1]) < table.BAR_BEYOND and float(best[: table.HOPS].mean()) > 0.5


def train_once(flags, files, course):
    """(what probes.train_recipe answers, a complaint). What went well is not done a second time."""
    key = json.dumps(flags, sort_keys=True)
    if key in course.trained:
        return course.trained[key]
    payload = dict(flags=flags, salt=course.salt, most_loops=table.MOST_LOOPS)
    ours = {**course.files, **(course.reference or files)}
    result = sandbox.run(ours, "train_recipe", payload, TRAINING_SECONDS, course.guard)
    if course.reference and result[0]:
        course.trained[key] = result
    return result


# --------------------------------------------------------------------------------------------------
# Say


def summary(graded):
    lines = []
    for exercise, title in table.EXERCISES.items():
        rows = [row for row in graded if row[0].exercise == exercise]
        if rows:
            points, most = sum(row[1] for row in rows), sum(row[0].points for row in rows)
            lines.append(f"{exercise} {title}: {points:g} of {most:g}")
        for check, points, message in rows:
            lines.append(f"  {points:g}/{check.points:g}  {check.title}")
            if message:
                lines.append(f"       {check.name}: {message}")
    points, most = sum(row[1] for row in graded), sum(row[0].points for row in graded)
    lines.append(f"{points:g} of {most:g} points")
    return "\n".join(lines)


def as_gradescope(graded, note=""):
    """The dictionary that Gradescope reads from results.json."""
    tests = [
        dict(
            name=f"{check.exercise} {check.title}",
            score=points,
            max_score=check.points,
            output=message or "right",
            status="failed" if message else "passed",
            visibility=table.VISIBILITY,
        )
        for check, points, message in graded
    ]
    score = sum(points for _, points, _ in graded)
    return dict(score=score, output=note, stdout_visibility="hidden", tests=tests)


def parse(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.error = fail
    add = parser.add_argument
    add("submission", nargs="?", default=str(HERE), help="a folder or zip (default: this folder)")
    add("--only", nargs="+", default=[], help="exercises or checks, such as e1 e2_cost")
    add("--out", help="also write a results.json for Gradescope, under this name")
    add("--hidden", help="the course's hidden.pt")
    add("--trust", action="store_true", help="with --hidden: run submissions as yourself")
    add("--jobs", type=int, default=1, help="checks at the same time (default 1)")
    add("--seconds", type=float, help="for each check (default 20; E4's training has 400)")
    args = parser.parse_args(argv)
    args.only = [name.lower() for name in args.only]
    for name in args.only:
        if not any(check.name.startswith(name) for check in table.CHECKS):
            known = ", ".join(check.name for check in table.CHECKS)
            fail(f"{name} is no exercise and no check; choose from {known}")
    if not submissions.is_one(Path(args.submission)):
        fail(f"{args.submission} is not a folder and not an archive")
    if args.jobs < 1 or (args.seconds is not None and not args.seconds > 0):
        fail("--jobs and --seconds must be more than 0")
    return args


def main(argv=None):
    args = parse(argv)
    torch.set_num_threads(1)
    submission, found = submissions.read(Path(args.submission))
    course = read_hidden(args.hidden, args.trust) if args.hidden else read_public()
    graded = grade(submission, course, args.only, args.jobs, args.seconds)
    print(summary(graded))
    if args.out:
        try:
            Path(args.out).write_text(json.dumps(as_gradescope(graded, found), indent=1))
        except OSError as error:
            fail(f"could not write {args.out}: {error.strerror}")


if __name__ == "__main__":
    main()
