"""
Mixture-of-Recursions: Dynamic Recursive Depths for Token-Level Computation
(Bae et al. 2025, arXiv 2507.10524)

The model is papers/mixture_of_recursions.py. Are additions more right than with all loops for all
tokens, in fewer steps, so that the FLOPs of training are the same: 1,500 steps of 4 loops a token,
857 of 7? Than with tokens chosen at random? And which tokens loop more? The causal router
("threshold") is judged. A digit is hard here if it stands directly above two digits with the sum
nine, through which a carry may have to come. Told beside, for as many FLOPs, are 4 loops for all,
and 4 or 7 different layers.

    python -m claims.mixture_of_recursions --seeds 45 46 47 48 49      8 minutes a seed on one core
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
    theirs="validation loss at equal FLOPs: a transformer 2.782; with up to 2, 3 and 4 loops a "
    "router 2.751, 2.793 and 2.820, all loops for all tokens 2.808, 2.847 and 2.878",
    falls="the causal router is no better than 7 loops for all tokens, at equal FLOPs, or than a "
    "random choice, or gives hard digits no more loops",
    tried="both norms for each model (seed 0, on val, pre-norm and post-norm: all 7 0.91 and "
    "nothing, all 4 0.92 and 0.90, 4 layers 0.91 and 0.92, 7 layers 0.98 and nothing, threshold "
    "0.87 and 0.93, token choice 0.63 and 0.78); of alpha only the authors' 0.1. Seeds 40 to 44, "
    "with injection and noise in the router: threshold 0.86, all 4 0.91, all 7 0.99, at random "
    "0.74",
    note="no injection, as theirs; with it all 7 are better, which is told. Additions instead of "
    "text. FLOPs are counted as passes through the looped block; those of attention, fewer among "
    "the chosen tokens, are not counted. At test the causal router decides itself how many loops "
    "it takes. Sums of nine are rarer at the first and the last digit, so the place may explain "
    "some of the last part",
)
PASSES = 6000  # through the block, of a batch, in training
ALL = dict(task="addition", digits=6, n_prelude=1, sampler="fixed", curriculum=False)
ALL |= dict(lr=3e-3, batch=32, injection="none", norm="pre")
INJECTED = "all 7, with injection"
# 4 loops on average
ROUTED = dict(model="mixture_of_recursions", loops=7, norm="post", steps=PASSES // 4)
MODELS = {
    "all 7": dict(loops=7, steps=PASSES // 7),
    INJECTED: dict(loops=7, injection="add", norm="post", steps=PASSES // 7),
    "all 4": dict(loops=4, steps=PASSES // 4),
    "4 layers": dict(loops=4, tied=False, norm="post", steps=PASSES // 4),
    "7 layers": dict(loops=7, tied=False, steps=PASSES // 7),
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

    routed, all_7, at_random = (
        values("right", name) for name in ("threshold", "all 7", "at random")
    )
    hard, easy = (values(which, "threshold") for which in ("hard", "easy"))
    learned = {"threshold": (routed, 0.7)}
    both = learned | {"all 7": (all_7, 0.7)}
    parts = [
        more("better than all 7", routed, all_7, learned=both),
        more("better than at random", routed, at_random, learned=learned),
        more("more loops for the hard", hard, easy, questions=0, learned=learned),
    ]
    ours = table.tell(["model"], dict(right=2, loops=1, hard=1, easy=1))
    head = "accuracy (loops a token, of a digit directly above a sum of nine, of the others)"
    return f"{head}: {ours}", parts


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    for i, name in enumerate(MODELS):
        loops, right = (table.values(column, model=name) for column in ("loops", "right"))
        mark = "^" if "model" in MODELS[name] else "o"  # with a router
        axis.plot(loops, right, mark, color=COLORS[i % len(COLORS)], label=name)
    axis.set(xlabel="loops a token", ylabel="accuracy (test)")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
