"""
Training-Free Looped Transformers (Chen et al. 2026, arXiv 2605.23872)

Take a stack of different layers that somebody has trained, and run some of them, i to j, twice. Nobody trained it for
that: does more depth help? The paper says that running them again as they are mostly hurts: the layers behind them get
a state that has gone too far. Taken as steps of a differential equation, two half steps do better than two whole ones:

    naive       h <- F(h), twice                        F: layers i to j
    damped      h <- h + (F(h) - h) / 2, twice

What changes in the loop: when the turn of layer i comes, i to j are run `times` times. With times = 1 it is the stack
itself, which train.py trains: `python train.py --model layer_duplication --no-tied --sampler fixed --loops 6`.

    python papers/layer_duplication.py          3 minutes a seed on one thread
"""

from dataclasses import dataclass

import numpy as np
import torch
from experiment import Paper, between, median, run_paper

from figures import WIDTH, plt, seeds_text
from looped import Config, LoopedGPT

LAYERS, HOPS = 6, 4
PAPER = Paper(
    name="layer_duplication",
    title="Training-Free Looped Transformers (Chen et al. 2026)",
    arxiv="2605.23872",
    changes="untied; layers i to j of a trained stack are run twice, naively or as two half steps",
    claim="running trained layers again mostly hurts; in half steps it does not, and some help a little",
    theirs="+2.64 points on MMLU-Pro (Qwen3-4B), +1.14 on CommonsenseQA (Qwen3-30B-A3B)",
    note=f"a stack of {LAYERS} layers, trained on {HOPS} hops; the span (i, j) is chosen on val for each question",
)


@dataclass
class DuplicationConfig(Config):
    first: int = 0  # the first layer that is repeated, counted from 0
    last: int = 0  # the last one
    times: int = 1  # how often they are run
    damping: float = 1.0  # how much of each run's change is kept
    tied: bool = False


class DuplicationGPT(LoopedGPT):
    config_class = DuplicationConfig

    def loop(self, h, e, t, where, cache=None):
        """Layer t. All the repeated ones are run when it is the turn of the first, so the others then do nothing."""
        first, last = self.config.first, self.config.last
        if first < t <= last:
            return h
        if t != first:
            return super().loop(h, e, t, where, cache)
        for _ in range(self.config.times):
            after = h
            for layer in range(first, last + 1):
                after = super().loop(after, e, layer, where, cache)
            h = h + self.config.damping * (after - h) if self.config.damping != 1 else after
        return h


# -----------------------------------------------------------------------------
# The claim

ALL = dict(task="multihop", model="layer_duplication", hops=HOPS, loops=LAYERS, tied=False, sampler="fixed")
STACKS = {
    "plain": dict(injection="none", norm="pre", reembed=False),
    "injected": dict(injection="add", norm="post", reembed=False),
}
ASKED = {"as trained": HOPS, "one hop more": HOPS + 1}
WAYS = {"naive": 1.0, "damped": 0.5}
SPANS = [(i, j) for i in range(LAYERS) for j in range(i, LAYERS)]


def measure(lab):
    found = {}
    for stack, settings in STACKS.items():
        model, task, _ = lab.train(stack, **ALL, **settings, steps=1500)
        for asked, hops in ASKED.items():
            batches = [task.batch(split, 0, lab.examples, hops) for split in ("val", "test")]
            found[f"{stack}, {asked}"] = accuracy(model, task, batches[1])
            for way, damping in WAYS.items():
                name = f"{stack}, {asked}, {way}"
                val, test = (changes(model, task, batch, damping) for batch in batches)
                found[f"{name}, map"] = test
                found[f"{name}, median"] = float(np.median(test))
                found[f"{name}, best"] = test[int(np.argmax(val))]  # chosen on val
    return found


def changes(model, task, batch, damping):
    """For each span: the accuracy with it run twice, minus that of the stack as it was trained."""
    once, twice = accuracy(model, task, batch), []
    for first, last in SPANS:
        vars(model.config).update(first=first, last=last, times=2, damping=damping)
        twice.append(accuracy(model, task, batch))
    vars(model.config).update(first=0, last=0, times=1, damping=1.0)
    return [each - once for each in twice]


@torch.no_grad()
def accuracy(model, task, batch):
    return task.check(batch, model(batch.tokens, LAYERS).argmax(-1)).float().mean().item()


def judge(found):
    ours = []
    for stack in STACKS:
        for asked in ASKED:
            name = f"{stack}, {asked}"
            parts = [f"{way} {between(found, f'{name}, {way}, median')}, best {between(found, f'{name}, {way}, best')}"
                     for way in WAYS]  # fmt: skip
            ours.append(f"{name} {between(found, name)}: {', '.join(parts)}")
    hurts = median(found, "plain, as trained, naive, median") < -0.02
    milder = median(found, "plain, as trained, damped, median") > median(found, "plain, as trained, naive, median") / 2
    helps = any(median(found, f"plain, {asked}, damped, best") > 0.01 for asked in ASKED)
    verdict = "reproduced" if hurts and milder and helps else "not reproduced"
    if hurts and milder and not helps:
        verdict = "depends: naively it hurts, in half steps less, and it helps nowhere"
    return "change of accuracy by running layers twice, median span and the best of val: " + "; ".join(ours), verdict


def draw(found):
    columns = [(asked, way) for asked in ASKED for way in WAYS]
    figure, axes = plt.subplots(len(STACKS), len(columns), figsize=(WIDTH, 5), layout="constrained")
    for row, stack in zip(axes, STACKS):
        for axis, (asked, way) in zip(row, columns):
            values = np.full((LAYERS, LAYERS), np.nan)
            middle = np.median([seed[f"{stack}, {asked}, {way}, map"] for seed in found], axis=0)
            for (i, j), value in zip(SPANS, middle):
                values[i, j] = value
            image = axis.imshow(values, cmap="PuOr", vmin=-1, vmax=1)
            axis.set_title(f"{stack}, {way}\n{asked}: {median(found, f'{stack}, {asked}'):.2f}", size=10)
            axis.set(xticks=range(LAYERS), yticks=range(LAYERS), xlabel="last layer j", ylabel="first layer i")
    figure.colorbar(image, ax=axes, label="change of accuracy")
    naive, damped = (median(found, f"plain, as trained, {way}, median") for way in WAYS)
    title = f"Layers i to j run twice: {naive:+.2f} accuracy at the median span, {damped:+.2f} in half steps"
    figure.suptitle(f"{title} ({seeds_text(len(found))})", size=12)
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
