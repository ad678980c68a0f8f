"""
Grade a submission: `python grade.py` in its folder prints the points of each exercise and names the
usual mistake where something is not right yet. `--only e1 e2_cost` grades a part of it. The file
results.json is for Gradescope.

Each check runs in a process of its own (grader/sandbox.py). The course grades with `--hidden`, a
file that build.py makes: then worlds, seeds and questions are other ones, recipes are trained by
the course's own code, and only the files to be handed in are taken from the submission.
"""

import argparse
import hashlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch  # noqa: E402
from grader import judges, sandbox, table  # noqa: E402

from support.files import load_tensors  # noqa: E402
from support.hashing import stream  # noqa: E402

HERE = Path(__file__).resolve().parent
LARGEST = 5_000_000  # bytes of a submitted file
TRAINING_SECONDS = 400  # of E4; it takes 15 on an idle core


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
        if sandbox.is_ours(name):
            fail(f"{name} is not as it was handed out: put it back; the course grades with its own")
        print(f"note: {name} is not as it was handed out; the course grades with its own")
    return Course("", files, known, given)


@contextmanager
def hidden_course(path):
    """The course from a --hidden file. While submissions run, the file is not on the disk."""
    try:
        content = Path(path).read_bytes()
        course = Course(**load_tensors(path))
    except (OSError, ValueError, TypeError) as error:
        fail(f"{path} is not a file that build.py makes ({' '.join(str(error).split())})")
    sandbox.keep_memory_to_ourselves()
    Path(path).unlink()
    try:
        yield course
    finally:
        Path(path).write_bytes(content)


def read_submission(folder):
    """{name: bytes} of the files that are taken from a submission."""
    folder = Path(folder)
    inside = [path for path in folder.iterdir() if not path.name.startswith((".", "__"))]
    if len(inside) == 1 and inside[0].is_dir() and inside[0].name != table.EXPERIMENT:
        folder = inside[0]  # a zip often holds one folder that holds all
    of_e6 = ("experiment.py", "result.json", "page.md")
    names = [*table.SUBMITTED, *(f"{table.EXPERIMENT}/{name}" for name in of_e6)]
    found = {}
    for name in names:
        path = folder / name
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= LARGEST:
            found[name] = path.read_bytes()
    return found


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
    if probe == "rule":
        files = {**files, "given.pt": course.given}
        return sandbox.run(files, probe, dict(given_file="given.pt"), seconds)
    return sandbox.run(files, probe, dict(seed=seed_of(course.salt, probe)), seconds)


def seed_of(salt, probe):
    return stream(salt, probe) % 2**31


def ask_recipe(files, course, seconds):
    """
    Read the recipe in one process and train it in another. In the course's hands no line of the
    submission runs in the second one.
    """
    text, complaint = sandbox.run(files, "recipe", dict(hops=2 * table.HOPS), seconds)
    if complaint:
        return None, complaint
    try:
        said = json.loads(text)
        flags = judges.full_flags(said["flags"])
        problem = judges.wrong_loops(said["loops"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return dict(problem=" ".join(str(error).split())), ""
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
    key = json.dumps(flags, sort_keys=True)
    if key not in course.trained:
        payload = dict(flags=flags, salt=course.salt, most_loops=table.MOST_LOOPS)
        ours = {**course.files, **(course.reference or files)}
        result = sandbox.run(ours, "train_recipe", payload, TRAINING_SECONDS)
        if course.reference is None:
            return result
        course.trained[key] = result
    return course.trained[key]


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
            visibility="visible",
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
    add("submission", nargs="?", default=str(HERE), help="its folder (default: this one)")
    add("--only", nargs="+", default=[], help="exercises or checks, such as e1 e2_cost")
    add("--out", default="results.json", help="(default results.json)")
    add("--hidden", help="the course's hidden.pt")
    add("--jobs", type=int, default=1, help="checks at the same time (default 1)")
    add("--seconds", type=float, help="for each check (default 20; E4's training has 400)")
    args = parser.parse_args(argv)
    args.only = [name.lower() for name in args.only]
    for name in args.only:
        if not any(check.name.startswith(name) for check in table.CHECKS):
            known = ", ".join(check.name for check in table.CHECKS)
            fail(f"{name} is no exercise and no check; choose from {known}")
    if not Path(args.submission).is_dir():
        fail(f"{args.submission} is not a folder")
    if args.jobs < 1 or (args.seconds is not None and not args.seconds > 0):
        fail("--jobs and --seconds must be more than 0")
    return args


def main(argv=None):
    args = parse(argv)
    torch.set_num_threads(1)
    submission = read_submission(args.submission)
    if args.hidden:
        with hidden_course(args.hidden) as course:
            graded = grade(submission, course, args.only, args.jobs, args.seconds)
    else:
        graded = grade(submission, read_public(), args.only, args.jobs, args.seconds)
    print(summary(graded))
    try:
        Path(args.out).write_text(json.dumps(as_gradescope(graded), indent=1))
    except OSError as error:
        fail(f"could not write {args.out}: {error.strerror}")


if __name__ == "__main__":
    main()
