"""
Training-Free Looped Transformers (Chen et al. 2026, arXiv 2605.23872)

The model is papers/layer_duplication.py: a trained stack, of which the layers i to j are run twice,
as they are ("naive") or as two half steps ("damped"). Every span (i, j) is tried; the best is
chosen on val. The second stack, with injection and post-norm, is trained as a loop would be.

    python -m claims.layer_duplication --seeds 40 41 42 43 44    2 to 5 minutes a seed on one thread
"""

import numpy as np
import torch

from claims.experiment import Claim, mean, run_claim
from claims.parts import more
from claims.rows import said
from support.figures import WIDTH, plt

LAYERS, HOPS = 6, 4
CLAIM = Claim(
    name="layer_duplication",
    title="Training-Free Looped Transformers (Chen et al. 2026)",
    arxiv="2605.23872",
    changes="untied; layers i to j of a trained stack are run twice, naively or as two half steps",
    claim="running trained layers again mostly hurts; in half steps it hurts less, and some spans "
    "help",
    theirs="+2.64 points on MMLU-Pro (Qwen3-4B), +1.14 on CommonsenseQA (Qwen3-30B-A3B), with four "
    "layers in the middle and half of what one pass gives kept; with half steps alone +0.55 "
    "(Qwen3-1.7B)",
    falls="the median span does not hurt, or in half steps hurts as much; or with one hop more "
    "than in training no span helps, or in half steps not 0.02 more than in whole ones",
    tried="two stacks: pre-norm without, post-norm with injection",
    note=f"a stack of {LAYERS} layers, trained on {HOPS} hops; half steps alone, of a span (i, j) "
    "that is chosen on val for each question; the middle four are told beside. What helps is asked "
    "with one hop more than in training, for of the trained ones hardly any are wrong",
)
ALL = dict(task="multihop", model="layer_duplication", hops=HOPS, loops=LAYERS, steps=1500)
ALL |= dict(tied=False, sampler="fixed", reembed=False)
STACKS = {
    "plain": dict(injection="none", norm="pre"),
    "injected": dict(injection="add", norm="post"),
}
ASKED = {"as trained": HOPS, "one hop more": HOPS + 1}
WAYS = {"naive": 1.0, "damped": 0.5}
SPANS = [(first, last) for first in range(LAYERS) for last in range(first, LAYERS)]
MIDDLE = SPANS.index((1, 4))


def measure(lab):
    for stack, settings in STACKS.items():
        model, task, _ = lab.train(stack, **ALL, **settings)
        for asked, hops in ASKED.items():
            val, test = (task.batch(split, 0, lab.examples, hops) for split in ("val", "test"))
            yield dict(stack=stack, asked=asked, right=accuracy(model, task, test))
            for way, damping in WAYS.items():
                on_val, on_test = (changes(model, task, batch, damping) for batch in (val, test))
                yield dict(
                    stack=stack,
                    asked=asked,
                    way=way,
                    median=float(np.median(on_test)),
                    best=on_test[int(np.argmax(on_val))],
                    by_span=on_test,
                )


def changes(model, task, batch, damping):
    """For each of SPANS: the accuracy with it run twice, minus that of the stack as trained."""
    once, twice = accuracy(model, task, batch), []
    for first, last in SPANS:
        vars(model.config).update(first=first, last=last, times=2, damping=damping)
        twice.append(accuracy(model, task, batch))
    vars(model.config).update(first=0, last=0, times=1, damping=1.0)
    return [each - once for each in twice]


@torch.no_grad()
def accuracy(model, task, batch):
    return mean(task.check(batch, model(batch.tokens, LAYERS).argmax(-1)))


def plain(asked):
    return dict(stack="plain", asked=asked)


def judge(table):
    trained = table.tell(["stack", "asked"], dict(right=2))
    again = table.tell(["stack", "asked", "way"], dict(median=2, best=2))
    as_trained, further = (plain(asked) for asked in ASKED)
    naive, damped = (table.values("median", **as_trained, way=way) for way in WAYS)
    best_naive, best = (table.values("best", **further, way=way) for way in WAYS)
    nothing = [0.0] * len(naive)
    learned = {"the stack": (table.values("right", **as_trained), 0.9)}
    to = dict(learned=learned, questions=0)
    parts = [
        more("naively the median span hurts", nothing, naive, **to),
        more("in half steps it hurts less", damped, naive, **to),
        more("in half steps the best helps one hop more", best, nothing, **to),
        more("it helps more than in whole steps", best, best_naive, 0.02, **to),
    ]
    head = "change by running layers twice, of the median span (best: of the best on val)"
    curves = {asked: table.values("by_span", **plain(asked), way="damped") for asked in ASKED}
    middle = (
        f"{asked} {said([curve[MIDDLE] for curve in of_seeds])}"
        for asked, of_seeds in curves.items()
    )
    ours = f"accuracy: {trained}; {head}: {again}"
    return f"{ours}; the middle four layers, plain, damped: {', '.join(middle)}", parts


def draw(table):
    columns = [(asked, way) for asked in ASKED for way in WAYS]
    shape = (len(STACKS), len(columns))
    figure, axes = plt.subplots(*shape, figsize=(WIDTH, 5), layout="constrained")
    for row, stack in zip(axes, STACKS):
        for axis, (asked, way) in zip(row, columns):
            values = np.full((LAYERS, LAYERS), np.nan)
            for span, value in zip(
                SPANS, table.median("by_span", stack=stack, asked=asked, way=way)
            ):
                values[span] = value
            image = axis.imshow(values, cmap="PuOr", vmin=-0.4, vmax=0.4)
            right = table.median("right", stack=stack, asked=asked)
            axis.set_title(f"{stack}, {way}\n{asked}: {right:.2f}", size=10)
            axis.set(xticks=range(LAYERS), yticks=range(LAYERS))
            axis.set(xlabel="last layer j", ylabel="first layer i")
    figure.colorbar(image, ax=axes, label="change of accuracy", extend="both")
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
