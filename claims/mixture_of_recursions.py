"""
Mixture-of-Recursions: Dynamic Recursive Depths for Token-Level Computation
(Bae et al. 2025, arXiv 2507.10524)

The model is papers/mixture_of_recursions.py. Are additions as right as if all tokens looped, at
fewer loops a token, and better than with other ways to spend as little? And which tokens loop more?
A digit is hard here if it stands directly above two digits with the sum nine, through which a carry
may have to come.

    python -m claims.mixture_of_recursions    5 minutes a seed on one core
"""

import torch

from claims.experiment import Claim, run_claim
from claims.rows import COLORS, in_parts
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="mixture_of_recursions",
    title="Mixture-of-Recursions (Bae et al. 2025)",
    arxiv="2507.10524",
    changes="a router picks the tokens that loop again",
    claim="hard tokens get more loops: as right as when all tokens loop, at fewer block "
    "applications",
    theirs="validation loss 2.751 with 167M parameters, 2.782 with 315M and no loops, at equal "
    "FLOPs",
    note="a token that stopped stays visible as it was, theirs is not seen by those that go on; "
    "noise in the scores; no model without loops is compared. 0.93 misses the second part by one "
    "question in 500. Token choice gives the hard fewer loops. Sums of nine are rarer at the first "
    "and the last digit, so the place may explain some",
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
    right = table.medians("right", over="model")
    routed = right["expert choice"]
    hard, easy = (table.median(which, model="expert choice") for which in ("hard", "easy"))
    as_all = max(0.5, right["all 7"] - 0.02)
    shown = {
        "as right as all (causal, too)": min(routed, right["threshold"]) > as_all,
        "better than others at equal cost": routed > max(right["all 4"], right["at random"]) + 0.02,
        "more loops for the hard": hard > easy + 0.5,
    }
    ours = table.tell(["model"], dict(right=2, loops=1, hard=1, easy=1))
    head = "accuracy (loops a token, of a digit directly above a sum of nine, of the others)"
    return f"{head}: {ours}", in_parts(shown, needed=2)


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
