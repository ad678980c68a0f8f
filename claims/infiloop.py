"""
InfiLoop: Scaling to Tens of Thousands of Test-Time Iterations with Loop-Native Attention Residuals
(Li et al. 2026, arXiv 2610.11570)

The model is papers/infiloop.py. On p-hop the plain loop overthinks: after six times the loops of
its training it has lost many of its answers. Does a running mean of all results keep them, and do
more loops then help? Controls: the plain loop, which has the same size but for 65 numbers, and a
loop with a step of a fixed size, 0.45, which is that of InfiLoop before training.

    python -m claims.infiloop          6 minutes a seed on one core
"""

from claims.experiment import Claim, run_claim
from claims.parts import more, reaches
from claims.rows import COLORS
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="infiloop",
    title="Scaling to Tens of Thousands of Test-Time Iterations (InfiLoop; Li et al. 2026)",
    arxiv="2610.11570",
    changes="the state is a running mean of all results, each weighted by what it is",
    claim="a loop that hands on a weighted mean of all its results keeps right answers, and more "
    "loops go on to help",
    theirs="Sudoku-Extreme: 0.909 after 1,872 layers, 0.927 after 24,960; without the mean 0.622 "
    "after 468, 0.581 after 1,872",
    falls="after 48 loops a tenth of the answers is lost, or InfiLoop keeps no more than the "
    "plain loop or a step of fixed size, or 4 hops gain nothing from loops beyond training",
    tried="one setting; InfiLoop with seed 0: 3 hops are right 1.00 after 8 loops, 0.97 after 10, "
    "0.33 after 48; 4 hops 0.62 after 8, 0.73 after 12",
    note="p-hop instead of Sudoku, where our plain loop does not lose what it has; one loop "
    "instead of the two nested ones of a tiny recursive model. After 1,000 steps beta is still "
    "0.55 and q short (0.4), so that the mean forgets quickly (seed 0)",
)
LOOPS, MOST = 8, 48  # the most in training, and in the test
HOPS, HARDER = 3, 4  # the most in training, and more
ALL = dict(task="phop", hops=HOPS, steps=1000)
PLAIN, MEAN, FIXED = "plain loop", "InfiLoop", "fixed step"
MODELS = {
    PLAIN: {},
    MEAN: dict(model="infiloop"),
    FIXED: dict(model="equilibrium", damping=0.55, noise=0.0, state_init="embed"),
}


def measure(lab):
    for name, flags in MODELS.items():
        model, task, _ = lab.train(name, **ALL | flags)
        for hops in (HOPS, HARDER):
            curve = lab.by_loop(model, task, hops, MOST)
            best, loops = lab.best(model, task, hops, MOST)
            yield dict(
                model=name,
                hops=hops,
                right=curve[-1],
                as_trained=curve[LOOPS - 1],
                best=best,
                best_loops=loops,
                by_loop=curve,
            )


def judge(table):
    def values(column, name, hops=HOPS):
        return table.values(column, model=name, hops=hops)

    learned = {f"{name}, as trained,": (values("as_trained", name), 0.9) for name in MODELS}
    plain, mean, fixed = (values("right", name) for name in MODELS)
    longer, trained = (values(column, MEAN, HARDER) for column in ("best", "as_trained"))
    parts = [
        reaches(f"keeps its answers for {MOST} loops", mean, 0.9, weak=plain, learned=learned),
        more("more than the plain loop does", mean, plain, 0.1, learned=learned),
        more("more than a step of fixed size does", mean, fixed, learned=learned),
        more(f"{HARDER} hops gain from more loops", longer, trained, learned=learned),
    ]
    ours = table.tell(["model", "hops"], dict(right=2, as_trained=2, best=2, best_loops=0))
    head = f"right after {MOST} loops (as trained: after {LOOPS}; best: at the loops val likes)"
    return f"{head}: {ours}", parts


def draw(table):
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4), sharey=True, layout="constrained")
    for axis, hops in zip(axes, (HOPS, HARDER)):
        for name, color in zip(MODELS, COLORS):
            table.curves(axis, "by_loop", color=color, label=name, model=name, hops=hops)
        axis.axvline(LOOPS, color="0.8", lw=1)
        axis.set(title=f"{hops} hops", xlabel=f"loops (training: up to {LOOPS})")
    axes[0].set(ylabel="answers right (test)", ylim=(-0.03, 1.03))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
