"""
Hyperloop Transformers (Zeitoun, Torroba-Hennigen, Kim 2026, arXiv 2604.21254)

The model is papers/hyperloop.py: a layer, a layer that is looped four times, a layer. Is the loss
lower with several streams than with one state, and as low as that of a stack of as many layers, all
different? Beside them stand a plain loop that is wider, and a stack of three layers, wider, too:
they have nearly as many weights as the streams. All are narrow, so that something is left to learn.

    python -m claims.hyperloop --seeds 46 47 48    10 to 16 minutes a seed on one core
"""

import numpy as np

from claims.experiment import Claim, count_weights, run_claim
from claims.parts import lower
from claims.rows import COLORS
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="hyperloop",
    title="Hyperloop Transformers (Zeitoun et al. 2026)",
    arxiv="2604.21254",
    changes="several states for each token; a loop reads a mixture of them and writes into each",
    claim="with hyper-connections after each loop, a looped model is better than without, and "
    "better than a stack of the same depth with more weights",
    theirs="four streams, perplexity of 136M 14.40, a transformer of 238M 14.65; of 991M 8.49, of "
    "2,018M 8.60 (from descriptions of the paper)",
    falls="the loss is not 0.02 nats below that of the plain loop, of a wider one with as many "
    "weights, of 3 layers with as many weights, or of 6 layers",
    tried="three learning rates for each model, on the reported seeds, chosen on val. At a width "
    "of 64 with 1,500 steps (seeds 40 to 42) no loop had learned, and seeds differed more than "
    "models: 4 streams 0.81 nats, one state 0.47, wider 0.73 (from 0.13 to 1.39), 3 layers 0.56, "
    "6 layers 0.04; with 4,000 steps (seed 43) nothing is left to learn, 4 streams 0.0052 nats, "
    "one state 0.0002. Widths of 24 and 32, seed 0, on val, a rate of 0.003: 0.65 and 0.08, one "
    "state 0.52 and (width 34) 0.004; with 0.006 4 streams 0.006 (32). Width 16: 0.34 at the best "
    "rate, one state 1.33 at 0.006",
    note="hops by heart in place of text, all kinds of questions from the start, so the loss in "
    "nats an answer is what is compared; pre-norm for all. Four streams, as theirs, which have a "
    "learned factor before each gate, too; four loops, theirs three. The plain loop has no vector "
    "of its own for each loop, so streams and vectors are tested together. Their other baseline, a "
    "stack with hyper-connections, is not here. Hops are learned at once or not at all: wide "
    "models leave no loss, and of narrow ones the seeds differ more than the models. A task whose "
    "loss falls smoothly is needed, such as text; on single facts these streams do not help "
    "(recurrence_worth)",
)
LOOPS, STEPS, RATES = 4, 4000, (6e-3, 1.2e-2, 2.4e-2)
STREAMS, PLAIN, WIDER, STACK, SMALL = (
    "4 streams",
    "1 state",
    "1 state, wider",
    "6 layers",
    "3 layers",
)
ALL = dict(task="multihop", hops=4, sampler="fixed", curriculum=False, norm="pre", steps=STEPS)
ALL |= dict(injection="none", eval_every=STEPS, n_embd=16, n_head=2)
LOOP = dict(n_prelude=1, n_core=1, n_coda=1, loops=LOOPS)
MODELS = {
    STREAMS: LOOP | dict(model="hyperloop", streams=4),
    PLAIN: LOOP,
    WIDER: LOOP | dict(n_embd=18),
    STACK: LOOP | dict(tied=False),
    SMALL: LOOP | dict(loops=1, n_embd=18),
}
LEARNED = 0.4  # the probability of an answer; facts of one hop alone give 0.09


def measure(lab):
    for name, flags in MODELS.items():
        model, task, rate = lab.at_best_rate(name, RATES, **ALL | flags)
        loss, right = lab.loss(model, task, "test")
        weights = count_weights(model)
        yield dict(model=name, loss=loss, right=right, weights=weights, rate=rate)


def judge(table):
    loss = {name: table.values("loss", model=name) for name in MODELS}
    learned = {
        f"{name}, exp(-loss),": (np.exp(np.negative(loss[name])), LEARNED)
        for name in (STREAMS, WIDER, STACK)
    }
    to = dict(by=0.02, learned=learned)
    parts = [
        lower("lower than one state", loss[STREAMS], loss[PLAIN], **to),
        lower("lower than a wider state", loss[STREAMS], loss[WIDER], **to),
        lower("lower than 3 layers of as many weights", loss[STREAMS], loss[SMALL], **to),
        lower("lower than 6 layers", loss[STREAMS], loss[STACK], **to),
    ]
    ours = table.tell(["model"], dict(loss=3, right=2, weights=0))
    return f"nats an answer after {STEPS} steps (right; weights): {ours}", parts


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 3.5), layout="constrained")
    for name, color in zip(MODELS, COLORS):
        losses, weights = (table.values(each, model=name) for each in ("loss", "weights"))
        axis.plot(weights, losses, ".", color=color)
        axis.plot(weights[:1], np.median(losses), "_", ms=20, color=color, label=name)
    axis.set(xlabel="weights", ylabel="loss (nats an answer, test)", xscale="log")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
