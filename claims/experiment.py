"""
How a claim of this folder is measured, seed by seed, judged, drawn and written down.

    python -m claims.NAME                     seeds 20, 21, 22 -> runs/NAME/NAME.json and NAME.png
    python -m claims.NAME --seeds 0 --tiny    a few steps of everything, to see that it runs

The file of a claim has a CLAIM and three functions:

    measure(lab)     train what the claim needs with one seed (lab.train), and yield rows (rows.py)
    judge(table)     of the rows of all seeds: our result in words, and the parts of the claim, each
                     judged by the rules of parts.py. Bars stand here before the seeds are run.
    draw(table)      of the same, a figure; its title is the claim

What was trained is kept: a second call goes on where the first one stopped. README.md is made from
the JSON by `python -m claims.table`.
"""

import argparse
import json
import textwrap
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import train
from analyze import accuracy_by_loop
from claims.parts import kind_of, verdict_of
from claims.rows import Table
from support.figures import in_style, seeds_text, write
from support.folder import other_flag
from support.processes import fail, run_main

TINY = dict(steps=3, batch=8, eval_every=3, eval_size=4)


@dataclass
class Claim:
    """What README.md says of a claim beside our numbers."""

    name: str  # of the file, without .py
    title: str  # of the paper, with the authors and the year
    arxiv: str  # its number
    changes: str  # what is different from the loop of looped.py, in a line
    claim: str
    theirs: str  # the paper's number
    falls: str = ""  # what would have made it fall
    tried: str = ""  # settings of the models and controls, on a seed that is not reported
    note: str = ""  # where this miniature is not the paper


class Lab:
    """One seed of an experiment: where it trains, and how it asks."""

    def __init__(self, claim, seed, tiny=False, threads=1):
        self.claim, self.seed, self.tiny, self.threads = claim, seed, tiny, threads
        self.examples = 8 if tiny else 500
        self.folder = Path("runs", claim.name, f"seed{seed}_tiny" if tiny else f"seed{seed}")

    def train(self, label, **flags):
        """
        Train with these flags of train.py, or go on with it, or find it done. Returns (model, task,
        flags).
        """
        folder = self.folder_of(label)
        flags |= dict(seed=self.seed, threads=self.threads, out=folder)
        if self.tiny:
            flags |= TINY
        words = [word for name, value in flags.items() for word in as_flag(name, value)]
        if not self.finished(folder, words):
            started = (folder / "checkpoint.pt").exists()
            train.main([*words, "--resume" if started else "--overwrite"])
            if not self.finished(folder, words):  # Ctrl-C ends a training without an error
                fail(f"{folder} was interrupted; the same command goes on from there")
        return train.load_model(folder)

    def folder_of(self, label):
        return self.folder / label.replace(",", "").replace(" ", "_")

    def at_best_rate(self, label, rates, **flags):
        """(model, task, rate), trained at the learning rate whose loss on val is the lowest."""
        found = {}
        for rate in rates:
            model, task, _ = self.train(f"{label} {rate}", **flags | dict(lr=rate))
            found[self.loss(model, task, "val")[0]] = model, task, rate
        return found[min(found)]

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
        return accuracy_by_loop(model, task, split, difficulty, loops, self.examples)

    @torch.no_grad()
    def loss(self, model, task, split):
        """Nats an answer, on the mixture of training, and how many questions are right."""
        batch = task.batch(split, 0, 4 * self.examples)
        loss, said = model.loss(batch.tokens, batch.targets)
        return float(loss), mean(task.check(batch, said))

    def best(self, model, task, difficulty, loops):
        """(accuracy on test, loops) at the loop count up to `loops` that val likes best."""
        val = self.by_loop(model, task, difficulty, loops, "val")
        chosen = val.index(max(val))
        return self.by_loop(model, task, difficulty, chosen + 1)[chosen], chosen + 1


def mean(values):
    """Of a tensor of any kind: of what is right (True) and wrong, the accuracy."""
    return values.float().mean().item()


def count_weights(module):
    return sum(weights.numel() for weights in module.parameters())


def as_flag(name, value):
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", str(value)]


# --------------------------------------------------------------------------------------------------
# The command line


def run_claim(claim, measure, judge, draw):
    """The command line of a claim's file."""

    def main():
        parser = argparse.ArgumentParser(description=claim.claim)
        parser.add_argument(
            "--seeds", type=int, nargs="+", default=[20, 21, 22], help="(default 20 21 22)"
        )
        parser.add_argument(
            "--threads", type=int, default=1, help="CPU threads (default 1; 0: PyTorch decides)"
        )
        parser.add_argument(
            "--tiny", action="store_true", help="a few steps of everything, to see that it runs"
        )
        args = parser.parse_args()
        if args.threads:
            torch.set_num_threads(args.threads)
        labs = [Lab(claim, seed, args.tiny, args.threads) for seed in args.seeds]
        finish(claim, args.seeds, [found_by(lab, measure) for lab in labs], judge, draw)

    run_main(main)


def found_by(lab, measure):
    """What one seed found, {"minutes": .., "rows": [..]}, now or before."""
    path = lab.folder / "found.json"
    if path.exists():
        print(f"{path}: measured before; remove it to measure anew")
    else:
        lab.folder.mkdir(parents=True, exist_ok=True)
        began = time.time()
        rows = list(measure(lab))
        minutes = round((time.time() - began) / 60, 1)
        path.write_text(json.dumps(dict(minutes=minutes, rows=rows)))
    return json.loads(path.read_text())


def table_of(by_seed):
    return Table([found["rows"] for found in by_seed])


@in_style()
def finish(claim, seeds, by_seed, judge, draw):
    """Judge, draw, write and say."""
    table = table_of(by_seed)
    ours, parts = judge(table)
    verdict = verdict_of(parts)
    found = dict(ours=ours, verdict=verdict, parts=[asdict(part) for part in parts])
    numbers = asdict(claim) | found | dict(seeds=seeds, by_seed=by_seed)
    figure = draw(table)
    title = f"Claim: {claim.claim}. {kind_of(verdict).capitalize()} ({seeds_text(seeds)})"
    figure.suptitle(textwrap.fill(title, 95), size=11)
    write(Path("runs", claim.name), claim.name, figure, numbers)
    print(claim.title)
    for name in ("claim", "theirs", "ours", "verdict"):
        print(f"  {name:7} {numbers[name]}")
