"""
End-to-end Algorithm Synthesis with Recurrent Networks (Bansal et al. 2022, arXiv 2202.05826)

The model is papers/deep_thinking.py, the task prefix_sums.py. With recall and the progressive loss,
is a net that was trained on short strings right on long ones, and does it stay right? Controls have
one of the two, neither, or loop counts that vary instead. Recall, with the loss and without it, is
trained with both norms.

    python -m claims.deep_thinking --seeds 48 49 50 51 52     6 to 14 minutes a seed on one core
"""

from claims.experiment import Claim, run_claim
from claims.parts import reaches
from claims.rows import COLORS, said
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="deep_thinking",
    title="End-to-end Algorithm Synthesis with Recurrent Networks (Bansal et al. 2022)",
    arxiv="2202.05826",
    changes="the loss: it also starts in the middle of the thought, without a gradient to what "
    "came before",
    claim="a net with recall and the progressive loss, trained on short strings, is right on long "
    "ones, and stays so",
    theirs="prefix sums, trained on 32 bits with 30 loops: 512 bits 0.97 at the best count (mean "
    "of its nets), and right to the end of 500 loops",
    falls="with both, strings of 8 bits are wrong after 120 loops, or long strings at every count",
    tried="12 bits with 20 loops, of which 12 are needed (seeds 20 to 22): a fifth of the "
    "progressive loss's draws ask for the impossible, and nothing can be told. With a rate of "
    "0.003 (seeds 40 to 42) one of three does not learn; with 0.001 and 0.002 all do (both, seeds "
    "0 to 5), and four of six stay right. Seeds 43 to 47, with pre-norm alone: both stay right on "
    "three of five; recall with post-norm is right on all, without the loss",
    note="a transformer that sees the bit before in place of a convolution; 8 and 32 bits. In a "
    "repetition of the paper recall alone keeps its prefix sums, too, and the loss matters for "
    "mazes and chess; so recall alone is told, and not judged. The paper's net has no norm between "
    "loops and recalls beside the state: pre-norm and concat come nearest; post-norm is the usual "
    "one of train.py",
)
SHORT, LONG = 8, 32  # bits of a string in training and in the test
LOOPS, MOST = 30, 120  # in training and in the test
ALL = dict(model="deep_thinking", task="prefix_sums", bits=SHORT, position="window", reach=2)
ALL |= dict(n_embd=32, norm="pre", injection="concat", sampler="fixed", loops=LOOPS)
ALL |= dict(curriculum=False, batch=32, lr=1e-3, steps=1000)
MODELS = {
    "neither": dict(injection="none", alpha=0.0),
    "recall": dict(alpha=0.0),
    "progressive loss": dict(injection="none"),
    "both": dict(),
    # is it the start in the middle, or just the variety?
    "recall, 1 to m loops": dict(alpha=0.0, sampler="uniform"),
    # with post-norm a loop cannot let the state grow
    "recall, post-norm": dict(alpha=0.0, norm="post"),
    "both, post-norm": dict(norm="post"),
}
STAYS = 0.9  # what counts as right
DIFFERENT = 29  # strings of 8 bits in test; the others are the same again


def measure(lab):
    for name, flags in MODELS.items():
        model, task, _ = lab.train(name, **ALL | flags)
        for bits in (SHORT, LONG):
            test = lab.by_loop(model, task, bits, MOST)
            row = dict(model=name, bits=bits, right=test[-1], by_loop=test)
            if bits == SHORT:
                yield row | dict(as_trained=test[LOOPS - 1])
            else:
                val = lab.by_loop(model, task, bits, MOST, "val")
                yield row | dict(best=test[val.index(max(val))])


def judge(table):
    def of(name, column="right", bits=SHORT):
        return table.values(column, model=name, bits=bits)

    parts = []
    for norm, tail in (("pre-norm", ""), ("post-norm", ", post-norm")):
        both = f"both{tail}"
        learned = {f"{both}, as trained,": (of(both, "as_trained"), STAYS)}
        short = dict(learned=learned, questions=DIFFERENT, shared=True)
        stay = f"{norm}, both stay right for {MOST} loops"
        longer, weak = (of(name, "best", LONG) for name in (both, "neither"))
        long = dict(learned=learned, weak=weak)
        parts += [
            reaches(stay, of(both), STAYS, weak=of("neither"), **short),
            reaches(f"{norm}, both right on {LONG} bits", longer, STAYS, **long),
        ]
    ours = table.tell(["model", "bits"], dict(right=2, as_trained=2, best=2))
    head = f"right after {MOST} loops (as trained: after {LOOPS}, best: at the best count)"
    taken = [
        f"{name} {said([loops_taken(curve) for curve in of(name, 'by_loop', LONG)], 0)}"
        for name in ("both, post-norm", "recall, post-norm")
    ]
    return f"{LONG} bits take so many loops: {', '.join(taken)}; {head}: {ours}", parts


def loops_taken(curve):
    """The first loop after which enough are right; one more than were asked if none is."""
    return next((t for t, right in enumerate(curve, 1) if right >= STAYS), MOST + 1)


def draw(table):
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.4), sharey=True, layout="constrained")
    titles = {SHORT: f"{SHORT} bits, as trained", LONG: f"{LONG} bits"}
    for axis, (bits, title) in zip(axes, titles.items()):
        for name, color in zip(MODELS, COLORS):
            table.curves(axis, "by_loop", color=color, label=name, model=name, bits=bits)
        axis.set(title=title, xlabel=f"loops (training: {LOOPS})")
    axes[0].set(ylabel="strings right (test)", ylim=(-0.03, 1.03))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
