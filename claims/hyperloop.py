"""
Hyperloop Transformers (Zeitoun, Torroba-Hennigen, Kim 2026, arXiv 2604.21254)

The model is papers/hyperloop.py: a layer, a layer that is looped four times, a layer. Is the loss
lower with several streams than with one state, and as low as that of a stack of as many layers, all
different? Beside them stand a plain loop that is wider, and a stack of three layers, wider, too:
they have nearly as many weights as the streams. All of them write texts of a hidden Markov chain
(hidden_chains.py), of which much has to be known by heart, as of natural ones.

    python -m claims.hyperloop --seeds 49 50 51 52 53    6 minutes a seed on one core
"""

import math

import numpy as np

from claims.experiment import Claim, count_weights, run_claim
from claims.parts import lower
from claims.rows import COLORS, said
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
    falls="the loss is not below that of the plain loop, of a wider one with nearly as many "
    "weights, of 3 layers with nearly as many, or of 6 layers",
    tried="three rates, seed 0, val: 0.006, 0.012, which is the best for all, and 0.024. With it 4 "
    "streams have 1.342 nats, one state 1.351, a wider one 1.324, 3 layers 1.352 and 6 layers "
    "1.189. A chain of 128 states leaves no room: 0.996, 0.994, 0.993 and, with 6 layers, "
    "0.989 nats, where 0.975 are the least. Hops by heart in place of texts, seeds 40 to 48, "
    "are learned at once or not at all, so that seeds differ more than models",
    note="texts of a hidden Markov chain in place of natural ones, so the loss in nats a letter is "
    "what is compared; pre-norm for all. Four streams, as theirs, which have a learned factor "
    "before each gate, too; four loops, theirs three. The plain loop has no vector of its own "
    "for each loop, so streams and vectors are tested together. Their other baseline, a stack "
    "with hyper-connections, is not here. The gates have a seventh of the weights, and in a "
    "wide model hardly any. Loops add little to such texts, as the wider loop and the 3 "
    "layers show: what 6 layers have more of is memory. On single facts these streams help "
    "little (recurrence_worth)",
)
LOOPS, STEPS = 4, 2000
STREAMS, PLAIN, WIDER, STACK, SMALL = (
    "4 streams",
    "1 state",
    "1 state, wider",
    "6 layers",
    "3 layers",
)
ALL = dict(task="hidden_chains", sampler="fixed", curriculum=False, norm="pre", injection="none")
ALL |= dict(n_embd=32, n_head=2, batch=32, steps=STEPS, eval_every=STEPS, lr=1.2e-2)
LOOP = dict(n_prelude=1, n_core=1, n_coda=1, loops=LOOPS)
MODELS = {
    STREAMS: LOOP | dict(model="hyperloop", streams=4),
    PLAIN: LOOP,
    WIDER: LOOP | dict(n_embd=34),
    STACK: LOOP | dict(tied=False),
    SMALL: LOOP | dict(loops=1, n_embd=34),
}
LEARNED = 0.7  # of the nats between a guess and whoever knows the chain


def measure(lab):
    trained = {name: lab.train(name, **ALL | flags) for name, flags in MODELS.items()}
    _, task, _ = trained[PLAIN]  # all of them have the same chain
    guess = math.log(task.letters)
    lowest = task.lowest_loss(task.batch("test", 0, 4 * lab.examples).tokens)
    for name, (model, _, _) in trained.items():
        loss, _ = lab.loss(model, task, "test")
        learned, weights = (guess - loss) / (guess - lowest), count_weights(model)
        yield dict(model=name, loss=loss, lowest=lowest, learned=learned, weights=weights)


def judge(table):
    loss = {name: table.values("loss", model=name) for name in MODELS}
    learned = {
        f"{name}, of what can be known,": (table.values("learned", model=name), LEARNED)
        for name in MODELS
    }
    others = {
        "one state": PLAIN,
        "a wider state": WIDER,
        "3 layers of as many weights": SMALL,
        "6 layers": STACK,
    }
    parts = [
        lower(f"lower than {words}", loss[STREAMS], loss[name], learned=learned)
        for words, name in others.items()
    ]
    ours = table.tell(["model"], dict(loss=3, weights=0))
    ours += f"; lowest possible {said(table.values('lowest', model=STREAMS), 3)}"
    return f"nats a letter after {STEPS} steps (weights): {ours}", parts


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 3.5), layout="constrained")
    for name, color in zip(MODELS, COLORS):
        losses = table.values("loss", model=name)
        thousands = [weights / 1000 for weights in table.values("weights", model=name)]
        axis.plot(thousands, losses, ".", color=color)
        axis.plot(thousands[:1], np.median(losses), "_", ms=20, color=color, label=name)
    axis.set(xlabel="weights (thousands)", ylabel="loss (nats a letter, test)")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
