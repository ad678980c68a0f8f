"""
Grade many submissions: `python grade_all.py FOLDER --hidden hidden.pt` writes grades.csv with a row
for each folder or zip in FOLDER, and FOLDER-results/NAME.txt, the text for each student. A second
call goes on where the first one stopped. A recipe that several students share is trained once.
"""

import argparse
import csv
import json
import tempfile
import time
import zipfile
from pathlib import Path, PurePosixPath

import grade  # first, because it adds its folder to the places where Python looks for modules
import torch
from grader import table

LARGEST_ZIP = 100  # files


def unpack(path, folder):
    """
    Write the files to be handed in, out of a zip, into a folder. Other files are not written, and
    no folders but e6/.
    """
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist()[:LARGEST_ZIP]:
            parts = PurePosixPath(member.filename).parts
            name = "/".join(parts[-2:] if table.EXPERIMENT in parts[-2:-1] else parts[-1:])
            wanted = name in table.SUBMITTED or name.startswith(f"{table.EXPERIMENT}/")
            small = member.file_size <= grade.LARGEST
            if wanted and small and not member.is_dir() and "__MACOSX" not in parts:
                target = folder / name
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(archive.read(member))


def submission_of(path):
    if path.is_dir():
        return grade.read_submission(path)
    with tempfile.TemporaryDirectory() as folder:
        unpack(path, Path(folder))
        return grade.read_submission(folder)


def row_of(name, graded):
    """{column: value} of the table."""
    row = dict(submission=name, points=sum(points for _, points, _ in graded))
    for exercise in table.EXERCISES:
        row[exercise] = sum(points for check, points, _ in graded if check.exercise == exercise)
    return row | {check.name: points for check, points, _ in graded}


def grade_folder(folder, course, results, jobs):
    """A row for each submission. Submissions that an earlier call has graded keep their row."""
    rows = []
    results.mkdir(exist_ok=True)
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not (path.is_dir() or path.suffix == ".zip"):
            continue
        kept, began = results / f"{path.stem}.json", time.time()
        if not kept.exists():
            try:
                graded = grade.grade(submission_of(path), course, jobs=jobs)
            except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
                complaint = f"{path.name} cannot be read ({type(error).__name__})"
                graded = [(check, 0, complaint) for check in table.CHECKS]
            (results / f"{path.stem}.txt").write_text(grade.summary(graded) + "\n")
            kept.write_text(json.dumps(row_of(path.name, graded)))
        rows.append(json.loads(kept.read_text()))
        print(
            f"{path.name}: {rows[-1]['points']:g} points, {time.time() - began:.0f} s", flush=True
        )
    return rows


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.error = grade.fail
    parser.add_argument("folder", type=Path, help="of submissions, each a folder or a zip")
    parser.add_argument("--hidden", required=True, help="the course's hidden.pt")
    parser.add_argument("--out", default="grades.csv", help="(default grades.csv)")
    parser.add_argument("--jobs", type=int, default=2, help="checks at the same time (default 2)")
    args = parser.parse_args(argv)
    if not args.folder.is_dir():
        grade.fail(f"{args.folder} is not a folder")
    torch.set_num_threads(1)
    results = args.folder.with_name(f"{args.folder.name}-results")
    with grade.hidden_course(args.hidden) as course:
        rows = grade_folder(args.folder, course, results, max(1, args.jobs))
    if not rows:
        grade.fail(f"{args.folder} has no submissions: no folder and no zip")
    with open(args.out, "w", newline="") as file:
        table_of = csv.DictWriter(file, list(rows[0]))
        table_of.writeheader()
        table_of.writerows(rows)
    print(f"{args.out}: {len(rows)} submissions")


if __name__ == "__main__":
    main()
