"""
What the papers beside this file share: each measures its claim seed by seed, judges it, draws it, and writes it down.

    python papers/NAME.py                     seeds 20, 21, 22 -> runs/NAME/NAME.json and NAME.png
    python papers/NAME.py --seeds 0 --tiny    a few steps of everything, only to see that it runs

A paper's file has a Paper, and three functions:

    measure(lab)    train what the claim needs with one seed (lab.train) and return {name: what was found}
    judge(found)    from what all seeds found, [{name: ..}]: our result in words, and a verdict that begins with one of
                    VERDICTS; what it takes for which is fixed here, in code, before the final seeds are run
    draw(found)     from the same, a figure

What was trained is kept: a second call goes on where the first one stopped. table.py makes README.md from the JSON.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # a script sees only its own folder, not the one above

import numpy as np  # noqa: E402
import torch  # noqa: E402

import train  # noqa: E402
from analyses.depth import accuracy_by_loop  # noqa: E402
from figures import BLUE, GREEN, GREY, ORANGE, write  # noqa: E402
from runs import fail, other_flag, run_main  # noqa: E402

VERDICTS = ("reproduced", "not reproduced", "depends")
COLORS = (GREY, BLUE, GREEN, ORANGE, "#CC79A7", "#56B4E9", "#D55E00")  # told apart by every kind of eye
TINY = dict(steps=3, batch=8, eval_every=3, eval_size=4)


@dataclass
class Paper:
    """What README.md says of a paper beside our numbers."""

    name: str  # of the file, without .py
    title: str  # with the authors and the year
    arxiv: str  # its number
    changes: str  # what is different from the loop of looped.py, in a line
    claim: str
    theirs: str  # the paper's number
    note: str = ""  # where this miniature is not the paper


class Lab:
    """One seed of an experiment: where it trains, and how it asks."""

    def __init__(self, paper, seed, tiny=False, threads=1):
        self.paper, self.seed, self.tiny, self.threads = paper, seed, tiny, threads
        self.examples = 8 if tiny else 500
        self.folder = Path("runs", paper.name, f"seed{seed}{'_tiny' * tiny}")

    def train(self, label, **flags):
        """Train with these flags of train.py, or go on, or find it done; returns (model, task, flags)."""
        folder = self.folder / label
        flags = flags | dict(seed=self.seed, threads=self.threads, out=folder) | (TINY if self.tiny else {})
        words = [word for name, value in flags.items() for word in as_flag(name, value)]
        if not self.finished(folder, words):
            train.main(words + ["--resume" if (folder / "checkpoint.pt").exists() else "--overwrite"])
            if not self.finished(folder, words):  # Ctrl-C ends a training without an error
                fail(f"{folder} was interrupted; the same command goes on from there")
        return train.load_model(folder)

    def finished(self, folder, words):
        if not (folder / "config.json").exists():
            return False
        wanted, _ = train.parse_flags(words)
        if other := other_flag(folder, wanted):
            fail(f"{folder} was trained with another --{other}; remove it to train anew")
        path = folder / "checkpoint.pt"
        return path.exists() and torch.load(path, weights_only=True)["step"] == wanted.steps

    def by_loop(self, model, task, difficulty, loops, split="test"):
        """The accuracy after each loop 1..loops."""
        return accuracy_by_loop(model, task, split, difficulty, loops, self.examples)[0]

    def best(self, model, task, difficulty, loops):
        """(accuracy on test, loops) at the loop count up to `loops` that val likes best."""
        val = self.by_loop(model, task, difficulty, loops, "val")
        chosen = val.index(max(val))
        return self.by_loop(model, task, difficulty, chosen + 1)[chosen], chosen + 1


def as_flag(name, value):
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", str(value)]


# -----------------------------------------------------------------------------
# What judge and draw ask of [{name: ..}], what each seed found


def median(found, name):
    return float(np.median([seed[name] for seed in found]))


def between(found, name, digits=2):
    """The median of the seeds and their range, "0.98 [0.96, 0.99]"."""
    low, high = (f"{of(seed[name] for seed in found):.{digits}f}" for of in (min, max))
    middle = f"{median(found, name):.{digits}f}"
    return middle if low == high else f"{middle} [{low}, {high}]"


def in_parts(shown, needed=None):
    """
    The verdict on a claim in parts, {part: is it shown (None: that was not tested)}: reproduced if all are, otherwise
    "depends (this: yes, that: no)"; not reproduced if none of the `needed` first parts is (None: of all).
    """
    holds = list(shown.values())
    if all(holds):
        return "reproduced"
    said = {True: "yes", False: "no", None: "not tested"}
    words = ", ".join(f"{part}: {said[is_shown]}" for part, is_shown in shown.items())
    return f"{'depends' if any(holds[:needed]) else 'not reproduced'} ({words})"


def draw_bars(axis, found, groups, kinds):
    """Groups of bars, one bar for each kind: the median of what is named "GROUP, KIND"; each seed is a point."""
    width = 0.8 / len(kinds)
    for i, (kind, color) in enumerate(zip(kinds, COLORS)):
        x = [j + width * (i - (len(kinds) - 1) / 2) for j in range(len(groups))]
        names = [f"{group}, {kind}" for group in groups]
        axis.bar(x, [median(found, name) for name in names], 0.9 * width, color=color, label=kind)
        for seed in found:
            axis.plot(x, [seed[name] for name in names], "k.", ms=4)
    axis.set_xticks(range(len(groups)), list(groups))


# -----------------------------------------------------------------------------
# The command line


def run_paper(paper, measure, judge, draw):
    """The command line of a paper's file."""

    def main():
        parser = argparse.ArgumentParser(description=paper.claim)
        parser.add_argument("--seeds", type=int, nargs="+", default=[20, 21, 22], help="(default 20 21 22)")
        parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1; 0: PyTorch decides)")
        parser.add_argument("--tiny", action="store_true", help="a few steps of everything, to see that it runs")
        args = parser.parse_args()
        if args.threads:
            torch.set_num_threads(args.threads)
        found = [seed_of(Lab(paper, seed, args.tiny, args.threads), measure) for seed in args.seeds]
        finish(paper, args.seeds, found, judge, draw)

    run_main(main)


def seed_of(lab, measure):
    """What one seed found, from its file if it was measured before."""
    path = lab.folder / "found.json"
    if path.exists():
        print(f"{path}: measured before; remove it to measure anew")
        return json.loads(path.read_text())
    lab.folder.mkdir(parents=True, exist_ok=True)
    began = time.time()
    found = measure(lab)
    found["minutes"] = round((time.time() - began) / 60, 1)
    path.write_text(json.dumps(found))
    return json.loads(path.read_text())  # as it will be read the next time


def finish(paper, seeds, found, judge, draw):
    """Judge, draw, write and say."""
    ours, verdict = judge(found)
    assert verdict.startswith(VERDICTS), verdict
    numbers = asdict(paper) | dict(ours=ours, verdict=verdict, seeds=seeds, by_seed=found)
    write(Path("runs", paper.name), paper.name, draw(found), numbers)
    print(f"{paper.title}\n  claim   {paper.claim}\n  theirs  {paper.theirs}\n  ours    {ours}\n  verdict {verdict}")
