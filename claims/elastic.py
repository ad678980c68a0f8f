"""
ELT: Elastic Looped Transformers (Goyal et al. 2026, arXiv 2604.09168)

The model is papers/elastic.py. Is any loop a usable exit, and is it none without this training?
Beside it stand two ways to train all exits from the truth alone, and what the exits could say at
best if the model walked one hop in each loop.

    python -m claims.elastic --seeds 40 41 42          5 to 10 minutes a seed on one core
"""

from claims.experiment import Claim, run_claim
from claims.parts import as_good, more
from claims.rows import COLORS
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="elastic",
    title="ELT: Elastic Looped Transformers (Goyal et al. 2026)",
    arxiv="2604.09168",
    changes="a random earlier loop learns from the truth, later from the last loop",
    claim="a random earlier loop that learns, too, makes better exits, and the last loses nothing; "
    "trained for the last alone, a loop is worse at other counts",
    theirs='ImageNet, video: one model for every budget; without it quality "degrades sharply" at '
    "other loop counts",
    falls="elastic training gains less than 0.05 at the earlier loops, with the recipe or without, "
    "or loses 0.02 at the last; or the plain loop without the recipe loses less than 0.05 beyond "
    "its last",
    tried="the setting of the task's recipe (seeds 20 to 22: exits as good as a walk), and one "
    "without its injection and window, which the paper's model has not",
    note="hops through learnt facts instead of images; beside it two ways to train all exits from "
    "the truth alone, and what a walk of one hop a loop would answer. With the recipe there are "
    "injection and a window, which the paper's model has not. A curriculum opens harder hops by "
    "what a model can do: the plain loop without the recipe was at 4 or 5 hops at the end, all "
    "others at 6; without a curriculum neither of these two learns anything in 5,000 steps",
)
L, HOPS = 8, 6
PLAIN, ELASTIC = "last loop alone", "elastic"
BARE, BARE_ELASTIC = "last loop alone, without the recipe", "elastic, without the recipe"
PLAINER = dict(injection="none", position="rope")
MODELS = {
    PLAIN: dict(),
    ELASTIC: dict(model="elastic"),
    "elastic without a teacher": dict(model="elastic", fade=0),
    "mean of all loops": dict(loss="every"),
    BARE: PLAINER,
    BARE_ELASTIC: dict(model="elastic") | PLAINER,
}
WALK = [min(loop, HOPS) / HOPS for loop in range(1, 2 * L + 1)]  # right, by one hop a loop
WALK_EARLIER = sum(WALK[: L - 1]) / (L - 1)


def measure(lab):
    for name, flags in MODELS.items():
        model, task, _ = lab.train(
            name, task="multihop", hops=HOPS, sampler="fixed", loops=L, **flags
        )
        right = lab.by_loop(model, task, None, 2 * L)  # of the mixture of 1 to 6 hops
        earlier, later = sum(right[: L - 1]) / (L - 1), sum(right[L:]) / L
        yield dict(model=name, earlier=earlier, last=right[L - 1], later=later, by_loop=right)


def judge(table):
    ours = table.tell(["model"], dict(earlier=2, last=2, later=2))
    ours = (
        f"mean over the earlier loops, 1 to {L - 1} (last, after {L}, and later, mean over {L + 1} "
        f"to {2 * L}): {ours}; a walk of one hop a loop {WALK_EARLIER:.2f}"
    )
    plain, elastic = (table.values("earlier", model=name) for name in (PLAIN, ELASTIC))
    last_plain, last = (table.values("last", model=name) for name in (PLAIN, ELASTIC))
    bare, last_bare, later_bare = (
        table.values(column, model=BARE) for column in ("earlier", "last", "later")
    )
    bare_elastic, last_bare_elastic = (
        table.values(column, model=BARE_ELASTIC) for column in ("earlier", "last")
    )
    learned, alone = {PLAIN: (last_plain, 0.9)}, {BARE: (last_bare, 0.9)}
    both, both_bare = (
        learned | {ELASTIC: (last, 0.9)},
        alone | {BARE_ELASTIC: (last_bare_elastic, 0.9)},
    )
    parts = [
        more("earlier exits gain", elastic, plain, 0.05, learned=both),
        as_good("the last loses nothing", last, last_plain, 0.02, weak=plain, learned=learned),
        more("earlier exits gain without the recipe", bare_elastic, bare, 0.05, learned=both_bare),
        more("the plain loop falls beyond its last", last_bare, later_bare, 0.05, learned=alone),
    ]
    return ours, parts


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    loops = range(1, 2 * L + 1)
    for name, color in zip(MODELS, COLORS):
        axis.plot(loops, table.median("by_loop", model=name), color=color, label=name)
        table.curves(axis, "by_loop", style=".", color=color, model=name)
    axis.axvline(L, color="k", lw=0.8, ls=":")
    axis.plot(loops, WALK, color="k", lw=0.8, ls="--", label="a walk of one hop a loop")
    axis.set(xlabel=f"loops at the exit (trained: {L})", ylabel="accuracy (test, 1 to 6 hops)")
    axis.set_ylim(0, 1.05)
    axis.legend(title="what learns to answer", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
