"""
The tables of README.md and RESULTS.md, written from the numbers under results/: `make tables`

A table stands between two comments of its file, and between the same in tables.md with its numbers left open:

    {demo.best[12]}                     results/demo/depth.json: median [lowest, highest] of the seeds at 12 hops, at
                                        the loops chosen on val; .trained, .control, .loops likewise, and by name
                                        .parts[8][name], .shortcuts[8][name]
    {demo.minutes} {demo.slope}         of training, from results/demo/log.txt; more loops for each step of difficulty
    {demo.growth[r2_linear]:.2f}        how well a line through the loops needed fits, and the rest of `growth`
    {fixedpoint/demo[right]:.3f}        a number of results/fixedpoint/demo.json

`python results/tables.py --check` only says whether a committed table differs from its numbers.
"""

import json
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent
TABLE = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
FILES = (RESULTS.parent / "README.md", RESULTS.parent / "RESULTS.md")


def number(x):
    """Two decimals; three where two would hide how far an accuracy is from 1."""
    return f"{x:.3f}" if 0.98 <= x < 0.9995 else f"{x:.2f}"


def between(values, number=number):
    """The median of the seeds, and their range if they differ."""
    low, middle, high = (number(value) for value in (min(values), np.median(values), max(values)))
    return middle if low == high else f"{middle} [{low}, {high}]"


class Depth:
    """What a table may ask of a depth.json: texts, by difficulty."""

    def __init__(self, folder):
        self.folder = folder
        found = json.loads((folder / "depth.json").read_text())
        self.difficulty, self.runs = found["difficulty"], found["by_run"]
        self.best = self.by_difficulty("accuracy_at_best_loops")
        self.trained = self.by_difficulty("accuracy_at_trained_loops")
        self.loops = self.by_difficulty("best_loops", "{:.0f}".format)
        self.control = self.by_difficulty("control") if found["control"] else {}
        self.parts, self.shortcuts = self.by_name("parts"), self.by_name("shortcuts")
        self.growth = found.get("growth", {})  # how the loops needed grow with the difficulty
        self.slope = f"{self.growth['loops_a_step']:.2f}" if self.growth else None
        self.seeds = len(found["seeds"])
        if "ramp" in found["fit"]:
            self.ramp, self.exponential = (f"{found['fit'][kind]['residual']:.3f}" for kind in ("ramp", "exponential"))

    def by_difficulty(self, key, number=number):
        rows = zip(*(run[key] for run in self.runs))
        return {difficulty: between(row, number) for difficulty, row in zip(self.difficulty, rows)}

    def by_name(self, key):
        rows = zip(*(run.get(key, [{}] * len(self.difficulty)) for run in self.runs))
        return {
            difficulty: {name: between([each[name] for each in row]) for name in row[0]}
            for difficulty, row in zip(self.difficulty, rows)
        }

    @property
    def minutes(self):
        alone = self.folder / "alone.txt"  # of runs that no control was trained beside
        log = (alone if alone.exists() else self.folder / "log.txt").read_text()
        each = re.findall(r"(?<!control): \d+ steps in ([\d.]+) minutes", log)
        return f"{np.median([float(minutes) for minutes in each]):.1f}"


def exits():
    """What each exit rule does on hard questions at its chosen threshold: "0.990 / 22"."""
    rules = json.loads((RESULTS / "fixedpoint/exits.json").read_text())["rules"]
    at = {rule: found["hard"][found["settings"].index(found["chosen"])] for rule, found in rules.items()}
    return {rule: f"{number(right)} / {loops:.0f}" for rule, (right, loops) in at.items()}


def bench():
    """A training step of each kind of loop, 8 loops: milliseconds, share of the matrix rate, megabytes kept."""
    rows = json.loads((RESULTS / "bench/bench.json").read_text())["rows"]
    eight = {row["kind"]: row for row in rows if row["what"] == "training" and row["loops"] == 8}
    found = {}
    for kind, row in eight.items():
        found[kind] = dict(ms=f"{row['ms']:.0f}", MB=f"{row.get('memory', 0) / 1e6:.0f}")
        if "share_of_peak" in row:
            found[kind]["rate"] = f"{row['share_of_peak']:.2f}"
    return found


def phases():
    """Of each kind of model: the median step at which a level was reached, and how right it is in the end."""
    numbers = json.loads((RESULTS / "phases/phases.json").read_text())
    found = {}
    for worlds in numbers["pooled"]:
        kind, steps = worlds["kind"], worlds["steps"]
        runs = [run for run in numbers["runs"] if run["kind"] == kind and run["steps"][-1] == steps]
        reached = {}
        for split in ("train", "val", "alone"):
            each = [run["reached"][split] or np.inf for run in runs]
            reached[split] = f"{np.median(each):,.0f}" if np.isfinite(np.median(each)) else "never"
        ends = dict(ID=between([run["end"]["test"] for run in runs]), seeds=len(runs), steps=f"{steps:,}")
        ends["OOD"] = "{} [{}, {}]".format(*(number(worlds[key]) for key in ("share", "low", "high")))
        found[kind] = reached | ends | dict(questions=worlds["questions"])
    return found


def starts(folder):
    """Of the puzzles of a file, by kind: right after the loops of training, after many, the stillest of 9 starts."""
    files = [json.loads(path.read_text()) for path in sorted((RESULTS / folder).glob("solve*.json"))]
    found = dict(seeds=len(files))
    for kind in ("solved by singles", "need search"):
        each = [numbers[kind] for numbers in files]
        if each[0]["boards"]:
            trained = between([of["boards"][numbers["trained_loops"] - 1] for of, numbers in zip(each, files)])
            more = between([of["boards"][-1] for of in each])
            found[kind] = dict(trained=trained, more=more, kept=between([of["kept"] for of in each]))
    return found


def papers():
    """How many of the papers' claims got each verdict, of how many."""
    verdicts = [json.loads(path.read_text())["verdict"] for path in (RESULTS / "papers").glob("*/*.json")]
    kinds = ("reproduced", "depends", "not reproduced")
    return {kind: sum(verdict.startswith(kind) for verdict in verdicts) for kind in kinds} | dict(all=len(verdicts))


KINDS = dict(
    exits=exits,
    bench=bench,
    phases=phases,
    papers=papers,
    starts6=partial(starts, "sudoku6"),
    starts9=partial(starts, "sudoku9"),
)


class Numbers(dict):
    """{name: what stands under results/ by that name}, read when a table asks for it."""

    def __missing__(self, name):
        path = RESULTS / f"{name}.json"
        if name in KINDS:
            self[name] = KINDS[name]()
        elif path.exists():
            self[name] = json.loads(path.read_text())
        else:
            self[name] = Depth(RESULTS / name)
        return self[name]


def fill(text, tables, numbers):
    """A file's text with its tables written anew."""
    return TABLE.sub(lambda found: found[1] + tables[found[2]].format_map(numbers) + found[4], text)


def main():
    tables = {name: text for _, name, text, _ in TABLE.findall((RESULTS / "tables.md").read_text(encoding="utf-8"))}
    numbers, stale = Numbers(), []
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        new = fill(text, tables, numbers)
        if new != text:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    print(f"{'differ from their numbers' if '--check' in sys.argv else 'written'}: {', '.join(stale) or 'none'}")
    sys.exit("--check" in sys.argv and bool(stale))


if __name__ == "__main__":
    main()
