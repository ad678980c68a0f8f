"""
InfiLoop: Scaling to Tens of Thousands of Test-Time Iterations with Loop-Native Attention Residuals
(Li et al. 2026, arXiv 2610.11570)

The model is papers/infiloop.py. Does a loop that hands on a weighted mean of all its results solve
more boards after many loops than the plain loop does? On p-hop the plain loop overthinks: after six
times the loops of its training it has lost many of its answers. Does the mean keep them? Controls:
the plain loop, which has the same size but for a number a channel, and a loop with a step of a
fixed size, 0.45, which that of InfiLoop nears before training (its first are 0.65 and 0.54).

    python -m claims.infiloop --seeds 40 41 42    14 to 18 minutes a seed on one core
"""

import math

import numpy as np
import torch
from torch.nn import functional as F

from claims.experiment import Claim, mean, run_claim
from claims.parts import more, reaches
from claims.rows import COLORS
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="infiloop",
    title="Scaling to Tens of Thousands of Test-Time Iterations (InfiLoop; Li et al. 2026)",
    arxiv="2610.11570",
    changes="the state is a running mean of all results, each weighted by what it is",
    claim="a loop that hands on a weighted mean of all its results solves more after many loops "
    "than a plain loop, and keeps right answers",
    theirs="Sudoku-Extreme: 0.909 after 1,872 layers, 0.927 after 24,960, 0.979 looked for across "
    "depths; a tiny recursive model, without the mean, 0.622 after 468, 0.581 after 1,872 (another "
    "in their data: 0.785, and 0.837 after 24,960); FPRM, a damped loop, 0.901 after 3,744",
    falls="192 loops solve no more boards than those of the plain loop, or of a step of fixed "
    "size; on p-hop it keeps under 0.9 of the right answers from 8 to 48 loops, or no more than "
    "these",
    tried="seed 0, on val, rates of 0.003 and 0.006. After 192 loops boards 0.89 and 0.90 with the "
    "plain loop, 0.82 and 0.86 with InfiLoop, 0.79 and 0.82 with a fixed step. After 48 loops 3 "
    "hops 0.51 and 0.87, 0.35 and 0.39, 0.48 and 0.36, each right 0.94 or more after 8; the plain "
    "loop at 0.006 on the reported seeds, too: 0.64, 0.59, and nothing learned on one. With a loss "
    "after each loop the plain loop keeps 0.80 and 1.00 of p-hop, InfiLoop 0.42 and 0.44",
    note="6x6 boards; one loop, with a loss on each (boards) or on the last (p-hop), instead of "
    "the two nested ones of a tiny recursive model with a loss after each of many segments. After "
    "training (seed 0) beta is 0.36 on boards and 0.70 on p-hop, so that the mean forgets quickly",
)
PLAIN, MEAN, FIXED = "plain loop", "InfiLoop", "fixed step"
MODELS = {
    PLAIN: {},
    MEAN: dict(model="infiloop"),
    FIXED: dict(model="equilibrium", damping=0.55, noise=0.0, state_init="embed"),
}
SUDOKU = dict(task="sudoku", box="2x3", search=True, puzzles=20000, position="grid", loops=12)
SUDOKU |= dict(sampler="fixed", loss="every", curriculum=False, n_embd=48, batch=32)
TASKS = {
    "Sudoku": SUDOKU | dict(steps=2000),
    "p-hop": dict(task="phop", hops=3, steps=1000),
}
RATES = {  # by val of seed 0: boards after 192 loops, p-hop after the 8 of training
    "Sudoku": dict.fromkeys(MODELS, 6e-3),
    "p-hop": {PLAIN: 3e-3, MEAN: 6e-3, FIXED: 3e-3},
}
HARD = {"Sudoku": 32, "p-hop": 3}  # boards that need search; the most hops in training
LOOPS = {"Sudoku": (12, 192), "p-hop": (8, 48)}  # the most in training, and in the test
QUESTIONS = {
    "Sudoku": dict(questions=62, shared=True),  # the other boards are these in other digits
    "p-hop": dict(questions=500),
}
TOLD_APART = 0.1  # how much the steps of a scorer that tells results apart differ at least


@torch.no_grad()
def watch(lab, model, task, difficulty, trained, loops):
    """What is right after each loop, (loops, questions) bool; and `spread_of_steps`."""
    batch = task.batch("test", 0, lab.examples, difficulty)
    states = list(model.states(batch.tokens, loops))[1:]
    right = [task.check(batch, model.readout(h).argmax(-1)) for h in states]
    return torch.stack(right), spread_of_steps(model, states[:trained])


def spread_of_steps(model, states):
    """
    How much the steps of InfiLoop differ: from the tenth to the ninetieth of a hundred positions,
    on average over these loops. (They are those of training: where all is at rest, all results have
    the same weight.)
    """
    if not hasattr(model, "keep"):
        return 0.0
    log_sums = torch.stack([h[..., -1] for h in states])
    steps = 1 - (F.logsigmoid(model.keep) + log_sums[:-1] - log_sums[1:]).exp()
    low, high = steps.flatten(1).quantile(torch.tensor([0.1, 0.9]), dim=1)
    return (high - low).mean().item()


def measure(lab):
    for kind, of_task in TASKS.items():
        trained, most = LOOPS[kind]
        fewer = dict(puzzles=2000) if lab.tiny and kind == "Sudoku" else {}
        for name, of_model in MODELS.items():
            flags = of_task | of_model | fewer | dict(lr=RATES[kind][name])
            model, task, _ = lab.train(f"{kind} {name}", **flags)
            right, spread = watch(lab, model, task, HARD[kind], trained, most)
            curve = right.float().mean(1).tolist()
            kept = mean(right[-1][right[trained - 1]])
            yield dict(
                task=kind,
                model=name,
                right=curve[-1],
                as_trained=curve[trained - 1],
                kept=0.0 if math.isnan(kept) else kept,  # nothing was right
                spread=spread,
                by_loop=curve,
            )


def judge(table):
    parts, ours = [], []
    for kind, (loops, most) in LOOPS.items():
        # boards solved after many loops; on p-hop, which right answers are kept till then
        column, bar = ("right", 0.3) if kind == "Sudoku" else ("kept", 0.9)
        found = {name: table.values(column, task=kind, model=name) for name in MODELS}
        learned = {
            name: (table.values("as_trained", task=kind, model=name), bar) for name in MODELS
        }
        spread = np.mean(table.values("spread", task=kind, model=MEAN))
        missing = "" if spread > TOLD_APART else "a scorer that tells results apart"
        to = QUESTIONS[kind] | dict(missing=missing)
        if column == "kept":
            name = f"{kind}, keeps its answers from {loops} to {most} loops"
            ours_alone = dict(learned={MEAN: learned[MEAN]}, weak=found[PLAIN])
            parts.append(reaches(name, found[MEAN], 0.9, **to, **ours_alone))
        what = "keeps more" if column == "kept" else f"after {most} loops more boards"
        for other in (PLAIN, FIXED):
            both = {f"{kind}, {name}, as trained,": learned[name] for name in (MEAN, other)}
            part = f"{kind}, {what} than the {other}"
            parts.append(more(part, found[MEAN], found[other], learned=both, **to))
        told = table.tell(["model"], dict(right=2, as_trained=2, kept=2), task=kind)
        ours.append(f"{kind}, right after {most} loops (as trained: {loops}): {told}")
    return "; ".join(ours), parts


def draw(table):
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4), sharey=True, layout="constrained")
    names = {"Sudoku": "6x6 boards that need search", "p-hop": "p-hop, 3 hops"}
    for axis, (kind, title) in zip(axes, names.items()):
        for name, color in zip(MODELS, COLORS):
            table.curves(axis, "by_loop", color=color, label=name, task=kind, model=name)
        trained, _ = LOOPS[kind]
        axis.axvline(trained, color="0.8", lw=1)
        axis.set(title=title, xlabel=f"loops (training: up to {trained})")
    axes[0].set(ylabel="right (test)", ylim=(-0.03, 1.03))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
