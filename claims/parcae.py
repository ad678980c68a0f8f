"""
Parcae: Scaling Laws for Stable Looped Language Models (Prairie et al. 2026, arXiv 2604.12946)

The model is papers/parcae.py. A budget of compute can be spent on loops or on data: with more
loops, fewer questions are seen. At each budget there is a best number of loops in between; does it
grow with the budget? Told beside is what more loops than in training gain at test: in text, the
paper says, the loss falls like an exponential to what it is at the mean count of training, and
stays. (That the model stays stable where others do not is shown by `python analyze.py stability`.)

    python -m claims.parcae --seeds 40 41 42          12 to 18 minutes a seed on one core
"""

import numpy as np
import torch

from claims.experiment import Claim, run_claim
from claims.parts import more
from claims.rows import COLORS, said
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="parcae",
    title="Parcae: Scaling Laws for Stable Looped Language Models (Prairie et al. 2026)",
    arxiv="2604.12946",
    changes="diagonal injection, Poisson counts for each sequence, gradient through half of them "
    "(`--preset parcae`)",
    claim="at equal FLOPs the best number of loops grows with the budget",
    theirs="best loops as FLOPs^0.40, data as FLOPs^0.78; at test the loss ends within 0.2 % of "
    "that at the mean of training",
    falls="the best number of loops does not grow with the budget",
    tried="a block before and after the loop, 4 and 8 hops (seed 20); the loop alone (seed 0)",
    note="multi-hop instead of text; one block, looped, and none before or after it; FLOPs as "
    "passes through a block; a parabola through the logarithm of the loss. At test more loops than "
    "in training gain little, the paper says of text, and says, too, that in small tasks like "
    "these they may gain much; so that is told for each trained count, and not judged. 4 hops need "
    "about as many loops. Counts are cut at twice their mean, and there is no matrix before the "
    "readout",
)
LOOPS = (2, 4, 8, 16)
BUDGETS = (4000, 8000, 16000, 32000)  # passes of a batch through a block; a backward one is two
ALL = dict(task="multihop", hops=4, position="window", preset="parcae", lr=3e-3)
ALL |= dict(n_prelude=0, n_coda=0)  # three layers would be enough
ALL |= dict(curriculum=False)  # all see the same questions


def cost(loops):
    """Of a step: forward through all loops, and back through half of them."""
    return loops + 2 * half(loops)


def half(loops):
    return (loops + 1) // 2


@torch.no_grad()
def losses_of(lab, model, task, counts):
    """Nats an answer on the mixture of training, val split, after each of the loop counts."""
    torch.manual_seed(lab.seed)  # of the starts from noise
    batch = task.batch("val", 0, 4 * lab.examples)
    return [float(model.loss(batch.tokens, batch.targets, loops)[0]) for loops in counts]


def measure(lab):
    for budget in BUDGETS:
        for loops in LOOPS:
            flags = ALL | dict(loops=loops, backprop_loops=half(loops))
            flags |= dict(steps=budget // cost(loops), eval_every=budget)
            model, task, _ = lab.train(f"{budget}_{loops}", **flags)
            (loss,) = losses_of(lab, model, task, [loops])
            yield dict(budget=budget, loops=loops, loss=loss)
            if budget == BUDGETS[-1]:  # most data
                counts = range(1, 4 * LOOPS[-1] + 1)
                yield dict(trained=loops, loss_by_loop=losses_of(lab, model, task, counts))


def best(table, budget):
    """The lowest point of a parabola through log(loss) over log2(loops)."""
    losses = [*table.medians("loss", over="loops", budget=budget).values()]
    a, b, _ = np.polyfit(np.log2(LOOPS), np.log(losses), 2)
    if a <= 0:  # no valley
        return float(LOOPS[losses.index(min(losses))])
    return 2 ** float(np.clip(-b / (2 * a), np.log2(LOOPS[0]), np.log2(LOOPS[-1])))


def gain_beyond(curve, trained):
    """The share of what loops gain at test that comes beyond the mean count of training."""
    first, mean, lowest = curve[0], curve[trained - 1], min(curve)
    return (mean - lowest) / (first - lowest)


def growth_after(curve):
    """By how many times the loss grows from its lowest point to the last loop."""
    return curve[-1] / min(curve)


def judge(table):
    fewest, most = (
        np.log2([best(of_seed, budget) for of_seed in table.each_seed()])
        for budget in (BUDGETS[0], BUDGETS[-1])
    )
    loops = [best(table, budget) for budget in BUDGETS]
    power = np.polyfit(np.log(BUDGETS), np.log(loops), 1)[0]
    at = ", ".join(f"{each:.1f}" for each in loops)
    passes = ", ".join(str(budget) for budget in BUDGETS)
    ours = [f"best loops {at} at {passes} passes (FLOPs^{power:.2f})"]
    losses = np.array(table.values("loss", budget=BUDGETS[-1], loops=LOOPS[-1]))
    to = dict(learned={f"a mean of {LOOPS[-1]}": (np.exp(-losses), 0.9)}, questions=0)
    parts = [more("more compute, more loops (in doublings)", most, fewest, **to)]
    for trained in LOOPS:
        curves = table.values("loss_by_loop", trained=trained)
        beyond = [gain_beyond(curve, trained) for curve in curves]
        lowest = [min(range(len(curve)), key=curve.__getitem__) + 1 for curve in curves]
        grows = [growth_after(curve) for curve in curves]
        ours.append(
            f"trained on {trained}: {said(beyond)} of what loops gain comes beyond, the lowest "
            f"loss after {said(lowest, 0)}, {said(grows, 1)} times as high after {len(curves[0])}"
        )
    return "; ".join(ours), parts


def draw(table):
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.8), layout="constrained")
    for i, budget in enumerate(BUDGETS):
        color = plt.cm.viridis(i / len(BUDGETS))
        table.plot(left, "loops", "loss", color=color, label=budget, budget=budget)
    left.set(xlabel="mean loops in training", ylabel="loss (nats, val)", xscale="log", yscale="log")
    left.set_xticks(LOOPS, LOOPS)
    left.minorticks_off()
    place = dict(loc="upper center", bbox_to_anchor=(0.5, 1.25), fontsize="small")
    left.legend(title="passes through a block", ncols=4, **place)
    for trained, color in zip(LOOPS, COLORS):
        label = f"trained on {trained}"
        table.curves(right, "loss_by_loop", color=color, label=label, trained=trained)
        right.axvline(trained, color=color, ls=":")
    right.set(xlabel="loops at test", ylabel="loss (nats, val)", xscale="log", yscale="log")
    right.legend(fontsize="small")
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
