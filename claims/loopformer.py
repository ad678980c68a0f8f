"""
LoopFormer: Elastic-Depth Looped Transformers for Latent Reasoning via Shortcut Modulation
(Jeddi, Ciccone, Taati 2026, arXiv 2602.11451)

The model is papers/loopformer.py. It is given a budget of M loops and takes a route of M steps. Is
that better than the first M loops of a plain loop, does the longest route lose nothing, and does it
matter that each loop is told its time and step? The setting is that of elastic.py, whose numbers
can be laid beside these.

    python -m claims.loopformer          about 6 minutes a seed on one core
"""

import numpy as np
import torch

from claims.experiment import Claim, run_claim
from claims.parts import as_good, more
from claims.rows import COLORS
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="loopformer",
    title="LoopFormer: Elastic-Depth Looped Transformers (Jeddi et al. 2026)",
    arxiv="2602.11451",
    changes="each loop is told its time and step; short routes imitate the long one",
    claim="told its budget, one model is good at every one, where a plain loop fails at other "
    "counts than its own",
    theirs="perplexity and reasoning fall smoothly with the budget (3 blocks, 8 loops, the Pile), "
    "those of loops of a fixed count collapse; numbers not verified",
    falls="with 1 to 7 loops it gains less than 0.05 on the first loops of the plain one, loses "
    "more than 0.02 with 8, or is as good when it is not told",
    tried="whether it trains (seed 0, 300 steps, 2 hops); both norms for the plain loop on the "
    "reported seeds, chosen on val",
    note="hops by heart instead of text; the plain loop is trained with both norms, and val takes "
    "the better one. Beside them a stack of two layers, which has as many weights. Budgets take "
    "their larger steps first",
)
L, HOPS = 8, 6
ALL = dict(task="multihop", hops=HOPS, sampler="fixed", loops=L)
PLAIN = ("plain, post-norm", "plain, pre-norm")
LOOPFORMER, UNTOLD, STACK = "loopformer", "loopformer, not told", "2 layers, once"
MODELS = {
    PLAIN[0]: dict(),
    PLAIN[1]: dict(norm="pre", injection="none"),
    LOOPFORMER: dict(model="loopformer"),
    UNTOLD: dict(model="loopformer", told=False),
    STACK: dict(n_core=2, loops=1, norm="pre", injection="none"),
}


@torch.no_grad()
def right_by_budget(lab, model, task, loops, split):
    """The accuracy with budgets of 1 .. loops, on the mixture of 1 to 6 hops."""
    batch = task.batch(split, 0, lab.examples)
    said = [model(batch.tokens, budget).argmax(-1) for budget in range(1, loops + 1)]
    return [task.check(batch, each).float().mean().item() for each in said]


def measure(lab):
    for name, flags in MODELS.items():
        model, task, trained = lab.train(name, **ALL | flags)
        val = right_by_budget(lab, model, task, trained.loops, "val")
        right = right_by_budget(lab, model, task, trained.loops, "test")
        row = dict(model=name, last=right[-1], on_val=val[-1], by_loop=right)
        weights = sum(each.numel() for each in model.parameters())
        earlier = dict(earlier=sum(right[:-1]) / (L - 1)) if trained.loops == L else {}
        yield row | earlier | dict(weights=weights)


def judge(table):
    plain = max(PLAIN, key=lambda name: np.mean(table.values("on_val", model=name)))
    earlier = {name: table.values("earlier", model=name) for name in (plain, LOOPFORMER, UNTOLD)}
    last = {name: table.values("last", model=name) for name in (plain, LOOPFORMER)}
    learned = {f"{name}, {L} loops,": (right, 0.9) for name, right in last.items()}
    parts = [
        more("short routes gain", earlier[LOOPFORMER], earlier[plain], 0.05, learned=learned),
        as_good(
            "the long route loses nothing",
            last[LOOPFORMER],
            last[plain],
            0.02,
            weak=earlier[plain],
            learned=learned,
        ),
        more("to be told helps", earlier[LOOPFORMER], earlier[UNTOLD], 0.02, learned=learned),
    ]
    ours = table.tell(["model"], dict(earlier=2, last=2, weights=0))
    return f"mean over budgets of 1 to {L - 1} (last: {L}, or once; weights): {ours}", parts


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    for name, color in zip(MODELS, COLORS):
        style = "o" if name == STACK else "-"
        budgets = range(1, 1 + len(table.median("by_loop", model=name)))
        axis.plot(budgets, table.median("by_loop", model=name), style, color=color, label=name)
        table.curves(axis, "by_loop", style=".", color=color, model=name)
    axis.set(xlabel=f"budget of loops (trained: {L})", ylabel="accuracy (test, 1 to 6 hops)")
    axis.set_ylim(0, 1.05)
    axis.legend(loc="lower right")
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
