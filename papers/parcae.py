"""
Parcae: Scaling Laws for Stable Looped Language Models (Prairie et al. 2026, arXiv 2604.12946)

A budget of compute can be spent on loops or on data: with more loops, fewer questions are seen. At each budget
there is a best number of loops in between, and it grows with the budget. At test, more loops than in training gain
little: the loss falls like an exponential to what it is at the mean count of training, and stays.

What changes in the loop: settings alone, `--preset parcae` (an injection that cannot blow up, a count for each
sequence). That it stays stable where others do not is shown by `python analyze.py stability`, see RESULTS.md.

    python papers/parcae.py          10 minutes a seed on one core
"""

import numpy as np
import torch
from experiment import Paper, between, median, run_paper

from analyses.depth_curves import fit_exponential
from figures import BLUE, WIDTH, plt, seeds_text

LOOPS = (2, 4, 8, 16)
TASK = dict(task="multihop", hops=4, position="window", preset="parcae", lr=3e-3)
TASK.update(n_prelude=0, n_coda=0, curriculum=False)  # three layers would be enough; all see the same questions
BUDGETS = (4000, 8000, 16000, 32000)  # forward passes of a batch through a block; a backward pass counts as two
PAPER = Paper(
    name="parcae",
    title="Parcae: Scaling Laws for Stable Looped Language Models (Prairie et al. 2026)",
    arxiv="2604.12946",
    changes="diagonal injection, Poisson counts for each sequence, gradient through half of them (`--preset parcae`)",
    claim="at equal FLOPs the best number of loops grows with the budget; loops beyond those of training gain little",
    theirs="best loops as FLOPs^0.40, data as FLOPs^0.78; the loss ends within 0.2 % of that at the mean of training",
    note="multi-hop instead of text; one block, looped, and none before or after it; FLOPs as passes through a block; "
    "a parabola through the logarithm of the loss",
)


def cost(loops):
    """Of a step: forward through all loops, and back through half of them."""
    return loops + 2 * -(-loops // 2)


@torch.no_grad()
def loss_of(lab, model, task, loops):
    """Nats an answer on the mixture of training, val split, after each of the loop counts."""
    torch.manual_seed(lab.seed)  # of the starts from noise
    batch = task.batch("val", 0, 4 * lab.examples)
    return [float(model.loss(batch.tokens, batch.targets, count)[0]) for count in loops]


def measure(lab):
    found = {}
    for budget in BUDGETS:
        for loops in LOOPS:
            flags = dict(TASK, loops=loops, backprop_loops=-(-loops // 2))
            model, task, _ = lab.train(f"{budget}_{loops}", **flags, steps=budget // cost(loops), eval_every=budget)
            found[f"{budget}, {loops}"] = loss_of(lab, model, task, [loops])[0]
    found["by loop"] = loss_of(lab, model, task, range(1, 4 * LOOPS[-1] + 1))  # the last model: most loops, most data
    return found


def best(found, budget):
    """The best number of loops at a budget: the lowest point of a parabola through log(loss) over log2(loops)."""
    losses = [median(found, f"{budget}, {loops}") for loops in LOOPS]
    a, b, _ = np.polyfit(np.log2(LOOPS), np.log(losses), 2)
    lowest = LOOPS[losses.index(min(losses))]
    return 2 ** float(np.clip(-b / (2 * a), *np.log2(LOOPS)[[0, -1]])) if a > 0 else float(lowest)


def judge(found):
    loops = [best(found, budget) for budget in BUDGETS]
    for seed in found:
        first, mean, lowest = (seed["by loop"][0], seed["by loop"][LOOPS[-1] - 1], min(seed["by loop"]))
        seed["gain beyond"] = (mean - lowest) / (first - lowest)
    power = np.polyfit(np.log(BUDGETS), np.log(loops), 1)[0]
    at = ", ".join(f"{each:.1f}" for each in loops) + f" at {', '.join(map(str, BUDGETS))} passes"
    beyond = between(found, "gain beyond")
    ours = f"best loops {at} (FLOPs^{power:.2f}); of what loops gain at test {beyond} comes beyond the mean"
    grows = loops == sorted(loops) and loops[-1] > 1.5 * loops[0]  # never less with more
    saturates = median(found, "gain beyond") < 0.05
    if grows != saturates:
        return ours, f"depends: only {'the growth' if grows else 'the end'}"
    return ours, "reproduced" if grows else "not reproduced"


def draw(found):
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.8), layout="constrained")
    for i, budget in enumerate(BUDGETS):
        color = plt.cm.viridis(i / len(BUDGETS))
        left.plot(LOOPS, [median(found, f"{budget}, {loops}") for loops in LOOPS], ".-", color=color, label=budget)
        for seed in found:
            left.plot(LOOPS, [seed[f"{budget}, {loops}"] for loops in LOOPS], ".", color=color, alpha=0.5)
    left.set(xlabel="mean loops in training", ylabel="loss (nats, val)", xscale="log", yscale="log")
    left.set_xticks(LOOPS, LOOPS)
    left.minorticks_off()
    left.legend(
        title="passes through a block", ncols=4, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, 1.25)
    )
    counts = range(1, 4 * LOOPS[-1] + 1)
    for seed in found:
        right.plot(counts, seed["by loop"], "k.", ms=3)
    fit = fit_exponential(np.median([seed["by loop"] for seed in found], axis=0))
    curve = [fit["e_inf"] + fit["A"] * np.exp(-fit["k"] * count) for count in counts]
    right.plot(counts, curve, color=BLUE, label="an exponential")
    right.axvline(LOOPS[-1], color="k", ls=":", label="mean of training")
    right.legend(fontsize="small")
    right.set(xlabel=f"loops at test (trained on {LOOPS[-1]} on average)", ylabel="loss (nats, val)")
    low, high = best(found, BUDGETS[0]), best(found, BUDGETS[-1])
    title = f"The best loops: {low:.1f} at the smallest budget, {high:.1f} at the largest"
    figure.suptitle(f"{title} ({seeds_text(len(found))})")
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
