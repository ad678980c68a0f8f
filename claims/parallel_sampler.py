"""
Efficient Parallel Samplers for Recurrent-Depth Models (Geiping, Yang, Su 2025, arXiv 2510.14961)

The model is papers/parallel_sampler.py, which is trained as any loop. It writes texts (texts.py) in
three ways: token by token with a fixed number of loops, token by token with an exit (each token
loops until its state rests), and with a wavefront, where a new token begins after 1, 2 or 4 passes:
the fewest that val allows. Is the text the same, and how many passes of the core does a token take?
In one kind of text each token needs the one before it, in the other none does: what a wavefront
saves should depend on that.

    python -m claims.parallel_sampler          about 5 minutes a seed on one core
"""

import numpy as np

from claims.experiment import Claim, run_claim
from claims.parts import as_good, reaches
from claims.rows import COLORS
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="parallel_sampler",
    title="Efficient Parallel Samplers for Recurrent-Depth Models (Geiping et al. 2025)",
    arxiv="2510.14961",
    changes="nothing in training; while a text is written, all unfinished tokens loop together",
    claim="a wavefront writes the same text in a fraction of the passes",
    theirs="Huginn (3.5B, 32 loops, 4 between two tokens): up to 5 times faster, about 1 % less "
    "accurate (GSM8K, code)",
    falls="texts are right 0.02 less often than with fixed loops, or take more than half of the "
    "passes that fixed loops or an exit for each token take",
    tried="chains, 1,000 steps (seed 0): 0.90 right with fixed loops, with a wavefront 0.68, 0.82 "
    "and 0.89 for 1, 2 and 4 passes between two tokens, 2.7, 3.5 and 5.2 passes a token; "
    "thresholds of rest from 0.05 to 0.2 change little, and stirring does not help",
    note="texts by heart, of 10 tokens that are 2 hops each, the likeliest token each time; passes "
    "of the core for the batch of unfinished tokens, not seconds. Beside it a layer that is used "
    "once, of as many weights",
)
LOOPS, REST, MOST = 8, 0.05, 16
INNER, CLOSE, FEWER = (1, 2, 4), 0.02, 2
KINDS = {"chain": True, "star": False}
ALL = dict(task="texts", position="relative", reach=32, batch=32, lr=3e-3, steps=2000)
FIXED, EXIT, WAVE, HURRIED, ONCE = "fixed loops", "exit", "wavefront", "1 loop", "one layer, once"


def measure(lab):
    for kind, chain in KINDS.items():
        flags = ALL | dict(chain=chain)
        model, task, _ = lab.train(kind, model="parallel_sampler", lead=2, **flags)
        batch = task.batch("test", 0, lab.examples, task.hops)
        prompt = batch.tokens[:, : task.asked]
        told = dict(kind=kind, tokens=task.written - 1)  # the first comes with the prompt
        for way, loops in {FIXED: LOOPS, HURRIED: 1}.items():
            text = model.generate(prompt, task.written, loops)
            yield told | dict(way=way, passes=float(loops), right=right_of(task, prompt, text))
        inner = fewest_inner(lab, model, task)
        for way, settings in {EXIT: (1, 1), WAVE: (task.written, inner)}.items():
            text, passes = write(model, task, prompt, *settings)
            each = passes.float().mean().item() / told["tokens"]
            row = dict(way=way, passes=each, right=right_of(task, prompt, text))
            yield told | row | dict(inner=settings[1])
        once, _, _ = lab.train(f"{kind} once", sampler="fixed", loops=1, **flags)
        text = once.generate(prompt, task.written, 1)
        yield told | dict(way=ONCE, passes=1.0, right=right_of(task, prompt, text))


def write(model, task, prompt, wavefront, inner):
    model.config.inner = inner
    return model.write(prompt, task.written, LOOPS, wavefront, REST, MOST)


def fewest_inner(lab, model, task):
    """The fewest passes between two new tokens that on val are as right as fixed loops."""
    batch = task.batch("val", 0, lab.examples, task.hops)
    prompt = batch.tokens[:, : task.asked]
    usual = right_of(task, prompt, model.generate(prompt, task.written, LOOPS))
    for inner in INNER:
        text, _ = write(model, task, prompt, task.written, inner)
        if right_of(task, prompt, text) >= usual - CLOSE:
            break
    return inner


def right_of(task, prompt, text):
    """The share of texts that are right, to the last token."""
    return (text[:, task.asked :] == task.text(prompt)).all(1).float().mean().item()


def judge(table):
    parts = []
    for kind in KINDS:

        def of(way, column="right"):
            return np.array(table.values(column, kind=kind, way=way))

        to = dict(learned={f"fixed loops, {kind},": (of(FIXED), 0.9)})
        same = f"{kind}, the text is as right"
        parts.append(as_good(same, of(WAVE), of(FIXED), CLOSE, weak=of(HURRIED), **to))
        for way in (FIXED, EXIT):
            fewer = of(way, "passes") / of(WAVE, "passes")
            name = f"{kind}, half the passes of {way}"
            parts.append(reaches(name, fewer, FEWER, weak=[1], questions=0, **to))
    ours = table.tell(["kind", "way"], dict(right=2, passes=1, inner=0))
    return f"texts right (passes of the core a token, and inner, between two tokens): {ours}", parts


def draw(table):
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.6), layout="constrained", sharey=True)
    for axis, kind in zip(axes, KINDS):
        for way, color in zip((FIXED, EXIT, WAVE, HURRIED, ONCE), COLORS):
            where = dict(kind=kind, way=way)
            passes, right = table.values("passes", **where), table.values("right", **where)
            axis.plot(passes, right, "o", color=color, label=way)
        axis.set(title=kind, xlabel="passes of the core for a token", xlim=(0, None))
    axes[0].set(ylabel="texts right (test)", ylim=(0, 1.05))
    axes[1].legend(loc="lower right", fontsize="small")
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
