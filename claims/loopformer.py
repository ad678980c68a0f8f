"""
LoopFormer: Elastic-Depth Looped Transformers for Latent Reasoning via Shortcut Modulation
(Jeddi, Ciccone, Taati 2026, arXiv 2602.11451)

The model is papers/loopformer.py. It is given a budget of M loops and takes a route of M steps. Is
that better than the first M loops of a plain loop, does the longest route lose nothing, and does it
matter that each loop is told its time and step? The setting is that of elastic.py, whose numbers
can be laid beside these.

    python -m claims.loopformer --seeds 40 41 42          10 to 13 minutes a seed on one core
"""

import numpy as np
import torch

from claims.experiment import Claim, count_weights, mean, run_claim
from claims.parts import as_good, more
from claims.rows import COLORS
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="loopformer",
    title="LoopFormer: Elastic-Depth Looped Transformers (Jeddi et al. 2026)",
    arxiv="2602.11451",
    changes="each loop is told its time and step; short routes imitate the long one",
    claim="told its budget, one model is better at smaller budgets than the first loops of a plain "
    "loop, as good at the longest, and needs to be told",
    theirs="with a smaller budget perplexity and reasoning get worse smoothly (3 blocks, 8 loops, "
    "the Pile), and with a loop of a fixed count they collapse; numbers not verified",
    falls="with 1 to 7 loops it gains less than 0.05 on the first loops of the plain one, loses "
    "more than 0.02 with 8, or is as good when it is not told",
    tried="whether it trains (seed 0, 300 steps, 2 hops); both norms for the plain loop on the "
    "reported seeds, chosen on val",
    note="hops by heart instead of text; the plain loop is trained with both norms, and wider, "
    "with as many weights as the other, and val takes the best one, for short routes and for the "
    "long one. Budgets take their larger steps first. A step of its training loops 1.5 times as "
    "often as one of the plain loop, in the paper, too",
)
L, HOPS = 8, 6
ALL = dict(task="multihop", hops=HOPS, sampler="fixed", loops=L)
PLAIN = ("plain, post-norm", "plain, pre-norm", "plain, pre-norm, wider")
LOOPFORMER, UNTOLD = "loopformer", "loopformer, not told"
MODELS = {
    PLAIN[0]: dict(),
    PLAIN[1]: dict(norm="pre", injection="none"),
    PLAIN[2]: dict(norm="pre", injection="none", n_embd=96),
    LOOPFORMER: dict(model="loopformer"),
    UNTOLD: dict(model="loopformer", told=False),
}


@torch.no_grad()
def right_by_budget(lab, model, task, loops, split):
    """The accuracy with budgets of 1 .. loops, on the mixture of 1 to 6 hops."""
    batch = task.batch(split, 0, lab.examples)
    said = [model(batch.tokens, budget).argmax(-1) for budget in range(1, loops + 1)]
    return [mean(task.check(batch, each)) for each in said]


def measure(lab):
    for name, flags in MODELS.items():
        model, task, _ = lab.train(name, **ALL | flags)
        val, right = (right_by_budget(lab, model, task, L, split) for split in ("val", "test"))
        yield dict(
            model=name,
            earlier=sum(right[:-1]) / (L - 1),
            last=right[-1],
            earlier_on_val=sum(val[:-1]) / (L - 1),
            last_on_val=val[-1],
            weights=count_weights(model),
            by_loop=right,
        )


def judge(table):
    def liked(column):
        return max(PLAIN, key=lambda name: np.mean(table.values(column, model=name)))

    soon, long = liked("earlier_on_val"), liked("last_on_val")  # plain loops
    earlier, last = (
        {name: table.values(column, model=name) for name in MODELS}
        for column in ("earlier", "last")
    )
    learned = {f"{name}, {L} loops,": (last[name], 0.9) for name in (long, LOOPFORMER)}
    to = dict(weak=earlier[soon], learned=learned)
    untold = learned | {UNTOLD: (last[UNTOLD], 0.5)}
    parts = [
        more("short routes gain", earlier[LOOPFORMER], earlier[soon], 0.05, learned=learned),
        as_good("the long route loses nothing", last[LOOPFORMER], last[long], 0.02, **to),
        more("to be told helps", earlier[LOOPFORMER], earlier[UNTOLD], 0.02, learned=untold),
    ]
    ours = table.tell(["model"], dict(earlier=2, last=2, weights=0))
    return f"mean over budgets of 1 to {L - 1} (last: {L}; weights): {ours}", parts


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    for name, color in zip(MODELS, COLORS):
        budgets = range(1, 1 + len(table.median("by_loop", model=name)))
        axis.plot(budgets, table.median("by_loop", model=name), color=color, label=name)
        table.curves(axis, "by_loop", style=".", color=color, model=name)
    axis.set(xlabel=f"budget of loops (trained: {L})", ylabel="accuracy (test, 1 to 6 hops)")
    axis.set_ylim(0, 1.05)
    axis.legend(loc="lower right")
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
