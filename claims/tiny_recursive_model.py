"""
Less is More: Recursive Reasoning with Tiny Networks (Jolicoeur-Martineau 2025, arXiv 2510.04871)

The model is papers/tiny_recursive_model.py. Its parts, one after the other: tied layers, deep
supervision, a second state, weights that are averaged; and a gradient through one step instead of a
whole recursion. Does each earn something? All take the same steps of the optimizer, the same
questions, and 18 applications of a layer to a question.

    python -m claims.tiny_recursive_model          about 9 minutes a seed on one core
"""

import torch

from claims.experiment import Claim, run_claim
from claims.parts import more
from claims.rows import said
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="tiny_recursive_model",
    title="Less is More: Recursive Reasoning with Tiny Networks (Jolicoeur-Martineau 2025)",
    arxiv="2510.04871",
    changes="two states, an answer and a thought about it; a loss after each segment, its state "
    "carried on",
    claim="tied layers, deep supervision, two states and averaged weights add up; a gradient "
    "through one step hurts",
    theirs="9x9: untied 0.03, tied 0.33, deep supervision 0.75, two states 0.77 (EqR 2026); TRM "
    "0.87, without averaged weights 0.80, one step 0.57",
    falls="a step of the build-up gains no more than its standard error",
    tried="two states and deep supervision at rates of 0.001 and 0.003 (seed 0); both norms "
    "only in another look (seeds 20, 21, 30, 31): untied 0.00 with post-norm, 0.54 and 0.59 "
    "with pre-norm",
    note="6x6 boards; all segments in one step of the optimizer, where the paper takes one "
    "each; no learned halting; a learning rate that falls, which leaves little to averaging. "
    "The untied control is post-norm, with which it does not learn. 800 steps are few for two "
    "states: after 3,200 they solve 0.99 and 0.96 of 5 and 6 rounds (seed 0, val); here one "
    "seed, and with one step two, never left zero. To test all: pre-norm, 3,200 steps, 20 "
    "minutes a seed",
)
L, INNER = 18, 2  # applications of the layer in training; updates of the thought in a recursion
ALL = dict(task="sudoku", box="2x3", puzzles=4000, position="grid", sampler="fixed")
ALL |= dict(curriculum=False, n_embd=64, batch=32, lr=3e-3, loss="final")
ALL |= dict(steps=800, eval_every=800, eval_size=100)
RECURSIVE = dict(model="tiny_recursive_model", segments=3)
STATES = RECURSIVE | dict(inner=INNER, loops=L // (INNER + 1), backprop_loops=1)
UNTIED, TIED, DEEP, TWO = "untied", "tied", "deep supervision", "two states"
AVERAGED, ONE_STEP = "averaged weights", "one step"
MODELS = {
    UNTIED: dict(loops=L, tied=False),
    TIED: dict(loops=L),
    # the gradient goes through as many applications as with two states
    DEEP: RECURSIVE | dict(inner=0, loops=L, backprop_loops=INNER + 1),
    TWO: STATES | dict(ema=0.99),  # one run, of which the last weights are asked,
    AVERAGED: STATES | dict(ema=0.99),  # and their average
    ONE_STEP: STATES | dict(one_step=True),
}
STEPS = [  # from a worse one to a better
    (UNTIED, TIED), (TIED, DEEP), (DEEP, TWO), (TWO, AVERAGED), (ONE_STEP, TWO),
]  # fmt: skip
HARD = (5, 31)  # rounds
TRAINED, BEST = "as trained", "best loops"


def measure(lab):
    for name, flags in MODELS.items():
        run = TWO if name == AVERAGED else name
        flags = ALL | flags
        if "model" in flags:
            flags.pop("loss")  # of each segment, always
        model, task, flags = lab.train(run, **flags)
        if name == TWO:  # not the average, which is what is loaded
            path = lab.folder / run.replace(" ", "_") / "checkpoint.pt"
            model.load_state_dict(torch.load(path, weights_only=True)["model"])
        right = lab.by_loop(model, task, HARD, flags.loops)[-1]
        yield dict(model=name, loops=TRAINED, right=right, applications=L)
        right, loops = lab.best(model, task, HARD, 4 * flags.loops if flags.tied else flags.loops)
        yield dict(model=name, loops=BEST, right=right, applications=loops * L / flags.loops)


def judge(table):
    right = {name: table.values("right", model=name, loops=TRAINED) for name in MODELS}
    best = {name: table.values("right", model=name, loops=BEST) for name in MODELS}
    parts = []
    for worse, better in STEPS:
        learned = {f"{name}, with more loops,": (best[name], 0.5) for name in (worse, better)}
        name = f"{worse} -> {better} gains"
        parts.append(more(name, right[better], right[worse], learned=learned))
    ours = [f"{name} {in_words_of(table, name)}" for name in MODELS]
    return f"after {L} applications, and more: {'; '.join(ours)}", parts


def in_words_of(table, name):
    trained = table.said("right", model=name, loops=TRAINED)
    best = table.values("right", model=name, loops=BEST)
    counts = table.values("applications", model=name, loops=BEST)
    solved = [count for count, right in zip(counts, best) if right > 0]  # else none is the best
    if not solved:
        return trained
    return f"{trained} ({said(best)} after {said(solved, 0)} applications)"


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    table.bars(axis, "right", group="model", kind="loops")
    labels = [UNTIED, TIED, "+ deep\nsupervision", "+ two states", "+ averaged\nweights"]
    axis.set_xticks(range(len(MODELS)), [*labels, "two states,\none step"])
    axis.set(ylabel=f"6x6 boards of {HARD[0]} rounds or more (test)", ylim=(0, 1.05))
    axis.legend(title=f"{L} applications, or up to {4 * L}", loc="upper left", fontsize=9)
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
