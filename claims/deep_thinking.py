"""
End-to-end Algorithm Synthesis with Recurrent Networks (Bansal et al. 2022, arXiv 2202.05826)

The model is papers/deep_thinking.py, the task prefix_sums.py. With recall and the progressive loss,
is a net that was trained on short strings right on long ones, and does it stay right? Controls have
one of the two, neither, loop counts that vary instead, or post-norm.

    python -m claims.deep_thinking --seeds 43 44 45 46 47     5 to 12 minutes a seed on one core
"""

from claims.experiment import Claim, run_claim
from claims.parts import more, reaches
from claims.rows import COLORS
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="deep_thinking",
    title="End-to-end Algorithm Synthesis with Recurrent Networks (Bansal et al. 2022)",
    arxiv="2202.05826",
    changes="the loss: it also starts in the middle of the thought, without a gradient to what "
    "came before",
    claim="a net with recall and the progressive loss, trained on short strings, is right on long "
    "ones, and stays so",
    theirs="prefix sums, trained on 32 bits with 30 loops: 512 bits 1.00 after 500 loops",
    falls="with both, strings of 8 bits are wrong after 120 loops, or right with recall "
    "alone; long strings are wrong at every count",
    tried="12 bits with 20 loops, of which 12 are needed (seeds 20 to 22): a fifth of the "
    "progressive loss's draws ask for the impossible, and nothing can be told. With a rate of "
    "0.003 (seeds 40 to 42) one of three does not learn; with 0.001 and 0.002 all do (both, seeds "
    "0 to 5), and four of six stay right. Both norms for recall",
    note="a transformer that sees the bit before in place of a convolution; 8 and 32 bits. "
    "The paper's net has no norm between loops and recalls beside the state: pre-norm and "
    "concat come nearest; post-norm is the usual one of train.py",
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
    "recall, post-norm": dict(alpha=0.0, norm="post"),  # a loop cannot let the state grow
}


def measure(lab):
    for name, flags in MODELS.items():
        model, task, _ = lab.train(name, **ALL | flags)
        curve = lab.by_loop(model, task, SHORT, MOST)
        yield dict(
            model=name, bits=SHORT, right=curve[-1], as_trained=curve[LOOPS - 1], by_loop=curve
        )
        curve = lab.by_loop(model, task, LONG, MOST)
        best, _ = lab.best(model, task, LONG, MOST)
        yield dict(model=name, bits=LONG, right=curve[-1], best=best, by_loop=curve)


def judge(table):
    def right(name, bits=SHORT, column="right"):
        return table.values(column, model=name, bits=bits)

    both, recall = right("both"), right("recall")
    learned = {
        f"{name}, as trained,": (right(name, column="as_trained"), 0.9)
        for name in ("both", "recall")
    }
    further, weak = (right(name, LONG, "best") for name in ("both", "neither"))
    parts = [
        reaches(f"both stay right for {MOST} loops", both, 0.9, weak=recall, learned=learned),
        more("recall alone does not", both, recall, 0.2, learned=learned),
        reaches(f"both are right on {LONG} bits", further, 0.9, weak=weak, learned=learned),
    ]
    ours = table.tell(["model", "bits"], dict(right=2, as_trained=2, best=2))
    head = f"right after {MOST} loops (as trained: after {LOOPS}, best: at the best count)"
    return f"{head}: {ours}", parts


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
