"""
Scaling up Test-Time Compute with Latent Reasoning (Huginn; Geiping et al. 2025, arXiv 2502.05171)

Start from noise, loop as often as a log-normal Poisson count says, read the question again in every loop, and let the
gradient through the last few loops only. No loop knows how many are to come and none can lean on where it started, so
the loop learns to go to one place from everywhere, and to stay there: depth is then free at test time.

What changes in the loop: settings alone, `--preset huginn`. The control starts from the embedding, always loops equally
often and learns through all loops. Both have the positions and the curriculum of the task's recipe.

    python papers/huginn.py          6 minutes a seed on one core
"""

from itertools import product

import numpy as np
import torch
from experiment import Paper, between, in_parts, median, run_paper
from torch.nn import functional as F

from figures import WIDTH, plt, seeds_text
from tasks import stream

LOOPS, HARD = 48, 12
PAPER = Paper(
    name="huginn",
    title="Scaling up Test-Time Compute with Latent Reasoning (Geiping et al. 2025)",
    arxiv="2502.05171",
    changes="a start from noise, log-normal Poisson counts, gradient through the last loops (`--preset huginn`)",
    claim="more loops at test help up to a plateau that depends on the question, an exit by KL finds it, and any start "
    "leads to the same end",
    theirs="ARC-C 0.28, 0.35, 0.38, 0.38 at 4, 8, 16, 32 loops; easy tasks end at 8 loops, hard ones at 32 and more",
    note="multi-hop instead of language; positions and curriculum are those of the task",
)
RECIPE = dict(task="multihop", preset="huginn", position="window", reach=3, curriculum=True, lr=3e-3, steps=4000)
KINDS = {
    "huginn": {},
    "control": dict(state_init="embed", sampler="fixed", loops=9, backprop_loops=0),
}


@torch.no_grad()
def ends(model, task, seed):
    """Two starts from noise: how alike the states are after LOOPS loops (cosine), and how right after either."""
    batch = task.batch("test", 0, 64, task.max_difficulty)
    torch.manual_seed(stream(seed, "starts"))
    start = model.begin(batch.tokens)[0]
    first, second = (model.think(batch.tokens, LOOPS, h=torch.randn_like(start)) for _ in range(2))
    right = task.check(batch, model.readout(first).argmax(-1)).float().mean().item()
    return F.cosine_similarity(first.flatten(1), second.flatten(1)).mean().item(), right


def measure(lab):
    found = {}
    for kind, flags in KINDS.items():
        model, task, _ = lab.train(kind, **{**RECIPE, **flags})
        torch.manual_seed(stream(lab.seed, "noise"))  # the same starts, whether it was just trained or is kept
        for hops in (1, 2, 4, 6, HARD):
            found[f"{kind}, {hops} hops by loop"] = lab.by_loop(model, task, hops, LOOPS)
            batch = task.batch("test", 0, lab.examples, hops)
            logits, loops = model.solve(batch.tokens, "kl", max_loops=LOOPS, answer_mask=batch.targets >= 0)
            found[f"{kind}, {hops} hops, right at exit"] = task.check(batch, logits.argmax(-1)).float().mean().item()
            found[f"{kind}, {hops} hops, loops at exit"] = loops.float().mean().item()
        found[f"{kind}, same end"], found[f"{kind}, right from noise"] = ends(model, task, lab.seed)
    return found


def plateau(found, kind, hops):
    """The first loop after which the median accuracy is within 0.02 of what it is in the end."""
    curve = torch.tensor([seed[f"{kind}, {hops} hops by loop"] for seed in found]).median(0).values
    return int((curve < curve[-1] - 0.02).nonzero().max()) + 2 if (curve < curve[-1] - 0.02).any() else 1


def holds(found, kind):
    """Is every trained depth solved, and still after the last loop?"""
    return all(np.median([seed[f"{kind}, {hops} hops by loop"][-1] for seed in found]) > 0.9 for hops in (1, 2, 4, 6))


def exits(found, kind):
    """Does the exit come before the end, later for more hops, and cost no accuracy?"""
    few, many = (median(found, f"{kind}, {hops} hops, loops at exit") for hops in (1, 6))
    last = np.median([seed[f"{kind}, 6 hops by loop"][-1] for seed in found])
    return few < many < LOOPS / 2 and median(found, f"{kind}, 6 hops, right at exit") > last - 0.02


def judge(found):
    said, shown = [], {}
    for kind in KINDS:
        loops = [plateau(found, kind, hops) for hops in (1, 2, 4, 6)]
        for seed, hops in product(found, (6, HARD)):
            seed[f"{kind}, {hops} hops at last"] = seed[f"{kind}, {hops} hops by loop"][-1]
        said.append(
            f"{kind}: 6 / {HARD} hops after {LOOPS} loops {between(found, f'{kind}, 6 hops at last')} / "
            f"{between(found, f'{kind}, {HARD} hops at last')}, plateaus of 1, 2, 4, 6 "
            f"hops at {', '.join(map(str, loops))} loops, exits by KL after "
            f"{between(found, f'{kind}, 1 hops, loops at exit', 0)} to "
            f"{between(found, f'{kind}, 6 hops, loops at exit', 0)}, there right "
            f"{between(found, f'{kind}, 6 hops, right at exit')}, same end from noise (cosine) "
            f"{between(found, f'{kind}, same end')}, right there {between(found, f'{kind}, right from noise')}"
        )
        shown[kind] = {
            "a plateau, later for more hops": holds(found, kind) and loops == sorted(loops) and loops[-1] > loops[0],
            "the exit finds it": exits(found, kind),
            "any start leads there": median(found, f"{kind}, same end") > 0.95
            and median(found, f"{kind}, right from noise") > 0.9,
        }
    verdict = in_parts(shown["huginn"]) if holds(found, "huginn") else "not reproduced"
    if verdict == "reproduced" and all(shown["control"].values()):
        verdict = "depends: it holds, and for the plain loop as well"
    return "; ".join(said), verdict


def draw(found):
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.8), layout="constrained", sharey=True)
    for axis, kind in zip(axes, KINDS):
        for i, hops in enumerate((1, 2, 4, 6, HARD)):
            color = plt.cm.viridis(i / 5)
            for seed in found:
                axis.plot(range(1, LOOPS + 1), seed[f"{kind}, {hops} hops by loop"], color=color, lw=1)
            axis.plot([], [], color=color, label=f"{hops} hops")
        axis.set(xlabel="loops at test", title=kind, xscale="log", ylim=(-0.02, 1.02))
        axis.set_xticks((1, 2, 4, 8, 16, 32), (1, 2, 4, 8, 16, 32))
        axis.minorticks_off()
    axes[0].set_ylabel("accuracy (test)")
    axes[1].legend(fontsize="small")
    same = " and ".join(f"{median(found, f'{kind}, same end'):.2f} ({kind})" for kind in KINDS)
    title = f"The plateau comes later for more hops; two starts end alike: cosine {same}"
    figure.suptitle(f"{title} ({seeds_text(len(found))})", size=11)
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
