"""
PTRM: Probabilistic Tiny Recursive Model (Sghaier, Parviz, Jolicoeur-Martineau 2026, arXiv
2605.19943)

The model is papers/ptrm.py, with one state instead of two, as that learns in minutes. A trained
model runs eight times with noise, and its head takes one of the answers. Controls: the model itself
without noise, for as many segments as one run and as all runs; a vote among the runs; an oracle;
and a twin without the head. How much noise is chosen on val.

    python -m claims.ptrm --seeds 40 41 42          6 minutes a seed on one core
"""

import torch

from analyze import accuracy_by_loop
from claims.equilibrium import choices
from claims.experiment import Claim, run_claim
from claims.parts import more
from support.figures import BLUE, GREEN, GREY, ORANGE, WIDTH, plt
from support.hashing import stream

CLAIM = Claim(
    name="ptrm",
    title="Probabilistic Tiny Recursive Model (Sghaier et al. 2026)",
    arxiv="2605.19943",
    changes="at test, noise before every segment; a head that knows what is right takes one of "
    "several runs",
    claim="without more training, noisy runs among which the head chooses solve more than one run, "
    "as long as they are together or not",
    theirs="Sudoku-Extreme: 0.87 without noise, 0.9875 with (an oracle would have 0.99); on mazes "
    "a vote is the better choice",
    falls="eight noisy runs solve no more than one run without noise, of their length or of any up "
    "to all theirs together, or than a model without a head at any length; or the head chooses no "
    "better than a vote",
    tried="one setting; 450 steps with seed 0, after which one run of 36 loops solves 0.10 (val): "
    "eight with a noise of 0.1 and 0.4 solve 0.12 and 0.16 (oracle 0.15 and 0.29)",
    note="6x6 boards; one state, y, instead of two; noise enters it, where descriptions and most "
    "code of readers say z (the authors' code is not known to us); the head reads a mean over the "
    "cells",
)
L, SEGMENTS, RUNS = 18, 3, 8  # loops and segments in training; runs at test
AT_TEST = 6  # segments of a run
SHORT = AT_TEST * L // SEGMENTS  # loops of it
NOISES = (0.2, 0.4, 0.8)
HARD = 32  # rounds: the name of boards that singles do not solve
BOARDS = dict(questions=62, shared=True)  # in test; the others are these in other digits
ALL = dict(task="sudoku", box="2x3", search=True, puzzles=20000, position="grid", sampler="fixed")
ALL |= dict(loops=L, segments=SEGMENTS, inner=0, backprop_loops=3, curriculum=False)
ALL |= dict(n_embd=48, batch=32, lr=3e-3, steps=1200)
HEAD, TWIN = "PTRM", "without a head"
ONE, LIKED = "one run", "as long as val likes"  # runs without noise
MODELS = {HEAD: dict(model="ptrm"), TWIN: dict(model="tiny_recursive_model")}


@torch.no_grad()
def explore(lab, model, task, split, noise):
    """The boards of the runs (RUNS, N, cells), and the head's confidence (RUNS, N)."""
    tokens = task.batch(split, 0, lab.examples // 2, HARD).tokens
    torch.manual_seed(stream(lab.seed, "noise of ptrm", split, noise))
    answers, confidence = model.explore(tokens, RUNS, AT_TEST, noise)
    return torch.where(tokens > 0, tokens, answers), confidence


def chosen(task, boards, confidence, size=RUNS):
    """The shares of right boards by choice, among groups of `size` runs."""
    shares = choices(task, boards, -confidence, size)
    return dict(head=shares["stillest"], vote=shares["vote"], oracle=shares["oracle"])


def measure(lab):
    fewer = dict(puzzles=2000) if lab.tiny else {}
    for name, flags in MODELS.items():
        model, task, _ = lab.train(name, **ALL | flags | fewer)
        val, curve = (
            accuracy_by_loop(model, task, split, HARD, RUNS * SHORT, lab.examples // 2)
            for split in ("val", "test")
        )
        lengths = {"as trained": L, ONE: SHORT, "as long as all": len(curve)}
        lengths[LIKED] = val.index(max(val)) + 1  # up to as long as all
        for run, loops in lengths.items():
            yield dict(model=name, run=run, right=curve[loops - 1], loops=loops)
        if name == TWIN:
            continue
        for noise in NOISES:
            on_val = chosen(task, *explore(lab, model, task, "val", noise))
            boards, confidence = explore(lab, model, task, "test", noise)
            shares = chosen(task, boards, confidence)
            alone = chosen(task, boards, confidence, 1)["head"]
            liked = dict(head_on_val=on_val["head"], vote_on_val=on_val["vote"])
            yield dict(model=name, noise=noise, **shares, one_alone=alone, **liked)


def best_noise(table, choice="head"):
    on_val = table.medians(f"{choice}_on_val", over="noise", model=HEAD)
    return max(on_val, key=on_val.get)


def judge(table):
    def runs(choice):
        return table.values(choice, model=HEAD, noise=best_noise(table, choice))

    def alone(run, name=HEAD):
        return table.values("right", model=name, run=run)

    to = dict(learned={HEAD: (alone(ONE), 0.3)}, **BOARDS)
    twin = dict(learned=to["learned"] | {TWIN: (alone(ONE, TWIN), 0.3)}, **BOARDS)
    parts = [
        more(f"{RUNS} noisy runs solve more than one", runs("head"), alone(ONE), **to),
        more("more than one of any length up to all theirs", runs("head"), alone(LIKED), **to),
        more("the head chooses better than a vote", runs("head"), runs("vote"), **to),
        more("more than the twin of any length", runs("head"), alone(LIKED, TWIN), **twin),
    ]
    noisy = table.tell(["model", "noise"], dict(head=2, vote=2, oracle=2, one_alone=2))
    plain = table.tell(["model", "run"], dict(right=2))
    return f"without noise, {plain}; with noise (val likes {best_noise(table)}), {noisy}", parts


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    for choice, color in {"oracle": GREY, "vote": ORANGE, "head": BLUE}.items():
        label = f"{RUNS} runs, {choice}"
        table.plot(axis, "noise", choice, color=color, label=label, model=HEAD)
    for run, style in {ONE: ":", LIKED: "--"}.items():
        right = table.median("right", model=HEAD, run=run)
        axis.axhline(right, color=GREEN, ls=style, label=f"no noise, {run}")
    axis.set(xlabel="noise (standard deviation)", xscale="log", ylabel="6x6 boards right (test)")
    axis.set_xticks(NOISES, NOISES)
    axis.minorticks_off()
    axis.legend()
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
