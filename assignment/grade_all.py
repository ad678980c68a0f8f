"""
Grade many submissions: `python grade_all.py FOLDER --hidden hidden.pt` writes grades.csv with a row
for each folder or archive in FOLDER, and FOLDER-results/NAME.txt, the text for each student. A
second call goes on where the first one stopped. A recipe that several students share is trained
once.
"""

import argparse
import csv
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import grade  # first, because it adds its folder to the places where Python looks for modules
import torch
from grader import submissions, table


def row_of(name, graded):
    """{column: value} of the table."""
    row = dict(submission=name, points=sum(points for _, points, _ in graded))
    for exercise in table.EXERCISES:
        row[exercise] = sum(points for check, points, _ in graded if check.exercise == exercise)
    return row | {check.name: points for check, points, _ in graded}


def grade_folder(folder, course, results, jobs):
    """
    A row for each submission, and the names of those that could not be graded. Submissions that an
    earlier call has graded keep their row.
    """
    rows, ungraded = [], []
    results.mkdir(mode=0o700, exist_ok=True)
    for path in sorted(folder.iterdir()):
        if not submissions.is_one(path) or path.name.startswith("."):
            print(f"{path.name}: skipped, it is no folder and no archive", flush=True)
            continue
        kept, began = results / f"{path.name}.json", time.monotonic()
        if not kept.exists():
            try:
                grade_one(path, course, kept, jobs)
            except Exception as error:  # of the grader: it goes on with the others
                ungraded.append(path.name)
                what = " ".join(str(error).split())
                print(f"{path.name}: not graded ({type(error).__name__}: {what})", flush=True)
                continue
        rows.append(json.loads(kept.read_text()))
        points, seconds = rows[-1]["points"], time.monotonic() - began
        print(f"{path.name}: {points:g} points, {seconds:.0f} s", flush=True)
    return rows, ungraded


def grade_one(path, course, kept, jobs):
    submission, found = submissions.read(path)
    graded = grade.grade(submission, course, jobs=jobs)
    text = f"{found}\n\n{grade.summary(graded)}\n"
    kept.with_suffix(".txt").write_text(text, encoding="utf-8")
    unfinished = kept.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(row_of(path.name, graded)))
    os.replace(unfinished, kept)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.error = grade.fail
    parser.add_argument("folder", type=Path, help="of submissions, each a folder or an archive")
    parser.add_argument("--hidden", required=True, help="the course's hidden.pt")
    parser.add_argument("--out", default="grades.csv", help="(default grades.csv)")
    parser.add_argument("--jobs", type=int, default=2, help="checks at the same time (default 2)")
    parser.add_argument("--trust", action="store_true", help="run submissions as yourself")
    args = parser.parse_args(argv)
    sys.stdout.reconfigure(errors="backslashreplace")  # a name may fit into no encoding
    if not args.folder.is_dir():
        grade.fail(f"{args.folder} is not a folder")
    torch.set_num_threads(1)
    results = args.folder.with_name(f"{args.folder.name}-results")
    course = grade.read_hidden(args.hidden, args.trust)
    with suppress(OSError):
        args.folder.chmod(0o700)  # no submission is to read another one
    rows, ungraded = grade_folder(args.folder, course, results, max(1, args.jobs))
    if not rows and not ungraded:
        grade.fail(f"{args.folder} has no submissions: no folder and no zip")
    with open(args.out, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        table_of = csv.DictWriter(file, list(row_of("", [])) + [each.name for each in table.CHECKS])
        table_of.writeheader()
        table_of.writerows(rows)
    print(f"{args.out}: {len(rows)} submissions")
    if ungraded:
        grade.fail(f"not graded: {', '.join(ungraded)}. Call it again when the reason is gone")


if __name__ == "__main__":
    main()
