"""
Mixture-of-Recursions: Dynamic Recursive Depths for Token-Level Computation
(Bae et al. 2025, arXiv 2507.10524)

The model is papers/mixture_of_recursions.py. Are additions more right than with other ways to spend
as many loops a token? And which tokens loop more? The causal router ("threshold") is judged.
A digit is hard here if it stands directly above two digits with the sum nine, through which a carry
may have to come.

    python -m claims.mixture_of_recursions    5 minutes a seed on one core
"""

import torch

from claims.experiment import Claim, run_claim
from claims.parts import more
from claims.rows import COLORS
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="mixture_of_recursions",
    title="Mixture-of-Recursions (Bae et al. 2025)",
    arxiv="2507.10524",
    changes="a router picks the tokens that loop again",
    claim="for the same FLOPs, a router that gives hard tokens more loops is better than as "
    "many loops for all",
    theirs="validation loss 2.751 with 167M parameters, 2.782 with 315M and no loops, at equal "
    "FLOPs",
    falls="the causal router is no better than all tokens with 4 loops or a random choice, "
    "or gives hard digits no more loops",
    tried="one setting",
    note="a token that stopped stays visible as it was, theirs is not seen by those that go "
    "on; a chosen token moves towards f(h), theirs adds a part of f(h) to h; equal steps, not "
    "equal FLOPs; no model without loops is compared. So the accuracies are of our variant. "
    "Token choice gives the hard fewer loops. Sums of nine are rarer at the first and the last "
    "digit, so the place may explain some. To test theirs: both kinds of keys, equal FLOPs, 6 "
    "minutes a seed",
)
ALL = dict(task="addition", digits=6, n_prelude=1, sampler="fixed", curriculum=False)
ALL |= dict(lr=3e-3, batch=32, steps=1500)
ROUTED = dict(model="mixture_of_recursions", loops=7)
MODELS = {
    "all 7": dict(loops=7),
    "all 4": dict(loops=4),  # as many block applications as with expert choice
    "expert choice": ROUTED,
    "threshold": ROUTED,  # the same model, made causal at test
    "token choice": ROUTED | dict(route="depth"),
    "at random": ROUTED | dict(route="random"),
}


def measure(lab):
    for name, flags in MODELS.items():
        trained = "expert choice" if name == "threshold" else name
        model, task, _ = lab.train(trained, **ALL | flags)
        if name == "threshold":
            model.config.route = name
        torch.manual_seed(lab.seed)  # for route="random"
        right = lab.by_loop(model, task, None, flags["loops"])[-1]
        tokens = task.batch("test", 0, lab.examples).tokens
        if "model" in flags:
            taken = model.think(tokens)[..., -2]
        else:
            taken = torch.full(tokens.shape, float(flags["loops"]))
        above = taken[:, [*range(4, tokens.shape[1], 2), -1]]  # where the digit above is read
        nine = task.sums(tokens) == 9
        hard, easy = above[nine].mean().item(), above[~nine].mean().item()
        yield dict(model=name, right=right, loops=taken.mean().item(), hard=hard, easy=easy)


def judge(table):
    def values(column, name):
        return table.values(column, model=name)

    routed, every = values("right", "threshold"), values("right", "all 7")
    learned = {"all 7": (every, 0.9)}
    theirs = dict(learned=learned, missing="their update and keys, and equal FLOPs")
    parts = [
        more(f"better than {name}", routed, values("right", name), **theirs)
        for name in ("all 4", "at random")
    ]
    hard, easy = (values(which, "threshold") for which in ("hard", "easy"))
    parts.append(more("more loops for the hard", hard, easy, learned=learned, questions=0))
    ours = table.tell(["model"], dict(right=2, loops=1, hard=1, easy=1))
    head = "accuracy (loops a token, of a digit directly above a sum of nine, of the others)"
    return f"{head}: {ours}", parts


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    for name, color in zip(MODELS, COLORS):
        loops, right = (table.values(column, model=name) for column in ("loops", "right"))
        axis.plot(loops, right, "o", color=color, label=name)
    axis.set(xlabel="loops a token", ylabel="accuracy (test)")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
