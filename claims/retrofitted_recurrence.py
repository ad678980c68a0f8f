"""
Teaching Pretrained Language Models to Think Deeper with Retrofitted Recurrence
(McLeish et al. 2025, arXiv 2511.07384)

The model is papers/retrofitted_recurrence.py. A stack of six layers has learned questions of up to
4 hops. Now it shall learn 6. It can be trained on as it is; or its layers 1, 4, 5 and 6 become a
loop, 1 (4 5) (4 5) .. 6, with loop counts that grow during training. Which is better at equal cost?
Is it better than the same loop from scratch in as many steps, and does it lose when it starts with
few loops? Told beside is a loop from scratch for as much as the stack and the loop cost together.

    python -m claims.retrofitted_recurrence --seeds 43 44 45    16 minutes a seed on one core
"""

import torch

from claims.experiment import Claim, run_claim
from claims.parts import as_good, more
from claims.rows import COLORS
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="retrofitted_recurrence",
    title="Retrofitted Recurrence (McLeish et al. 2025)",
    arxiv="2511.07384",
    changes="some layers of a trained stack become prelude, core and coda; loop counts grow during "
    "training",
    claim="a trained stack that becomes a loop learns more at the same cost than the stack itself, "
    "and than the loop from scratch in as many steps; it loses nothing by loop counts that grow",
    theirs="models of 1B, math: better than training the stack on at equal FLOPs (numbers not "
    "verified)",
    falls="the loop is within 0.02 of the stack trained on, or of the same loop from scratch in "
    "as many steps, or counts that grow are 0.02 worse than the same counts from the start",
    tried="three learning rates for all but the first training of the stacks, on the reported "
    "seeds, chosen on val; from scratch with a curriculum and without. Seeds 40 to 42: from "
    "scratch in as many steps as the loop, without a curriculum, it learns nothing (0.07 of 4 "
    "hops)",
    note="4 hops by heart, then 6, in place of text, then math. A step of the loop costs as many "
    "layers as it runs, on average; the stack gets more steps as it is cheaper. The stack of 4 "
    "layers has as many weights as the loop, both trainings and the same cost. At first the "
    "injection is h + e with a noisy h, a hundred times noisier than theirs, so that the loop does "
    "not compute what the stack did",
)
BEFORE, AFTER = 4, 6  # hops of the stack's training, and of the second one
LAYERS, LOOPS, MANY, FEW, RAMP = 6, 4, 3000, 600, 300
RATES = (1e-3, 3e-3, 6e-3)
STACK = dict(task="multihop", tied=False, injection="none", norm="pre", sampler="fixed")
STACK |= dict(hops=BEFORE, steps=MANY)
ON = dict(task="multihop", model="retrofitted_recurrence", hops=AFTER, curriculum=False)
LOOP = ON | dict(sampler="poisson", loops=LOOPS, steps=FEW, ramp=RAMP, eval_every=FEW)
# with all layers but one before the loop, and one loop from zero, it is the stack
AS_IT_IS = dict(n_core=1, n_coda=0, injection="add", state_init="zeros", sampler="fixed", loops=1)
LOOPED, AT_ONCE, SCRATCH = "loop", "loop, all counts at once", "loop from scratch"
WHOLE = "loop from scratch, for the cost of both trainings"
STACK_ON, SMALL = "stack trained on", "4 layers"


def layers_run(loops):
    """How many layers a loop runs in a step: those of prelude, core and coda."""
    return 1 + 2 * loops + 1


FOR_BOTH = FEW + round(MANY * LAYERS / layers_run(LOOPS))  # steps; the first training is a stack's


def trained_on(layers):
    """The flags of a stack that is trained on as it is, at the cost of the loop."""
    ramp = RAMP / FEW
    loops = LOOPS * (1 - ramp / 2) + ramp / 2  # on average; counts are rounded up during the ramp
    steps = round(FEW * layers_run(loops) / layers)
    return ON | AS_IT_IS | dict(steps=steps, eval_every=steps, ramp=0, n_prelude=layers - 1)


def measure(lab):
    for name, layers in (("stack", LAYERS), ("small", 4)):
        model, task, _ = lab.train(name, **STACK, loops=layers)
        yield dict(model=name, right=lab.by_loop(model, task, BEFORE, layers)[-1])
    big, small = (dict(start=str(lab.folder / name)) for name in ("stack", "small"))
    models = {
        LOOPED: LOOP | big,
        AT_ONCE: LOOP | big | dict(ramp=0),
        SCRATCH: LOOP,
        WHOLE: LOOP | dict(steps=FOR_BOTH, eval_every=FOR_BOTH, curriculum=True),
        STACK_ON: trained_on(LAYERS) | big,
        SMALL: trained_on(4) | small,
    }
    for name, flags in models.items():
        found = []
        for label, tried in settings(name, flags):
            model, task, trained = lab.train(label, **tried)
            torch.manual_seed(lab.seed)  # of the starts from noise
            val = lab.by_loop(model, task, AFTER, 3 * trained.loops, "val")
            right = {
                hops: lab.by_loop(model, task, hops, 3 * trained.loops) for hops in (BEFORE, AFTER)
            }
            on_val, liked = val[trained.loops - 1], val.index(max(val))
            found.append((on_val, trained.lr, trained.loops, liked, right))
        _, rate, loops, liked, right = max(found, key=lambda each: each[0])
        for hops, curve in right.items():
            most = dict(best=curve[liked], by_loop=curve) if loops > 1 else {}
            yield dict(model=name, hops=hops, right=curve[loops - 1], rate=rate) | most


def settings(name, flags):
    """What is tried, of which val likes one: labels and flags."""
    for rate in RATES:
        yield f"{name} {rate}", flags | dict(lr=rate)
        if name == SCRATCH:
            yield f"{name} {rate} with curriculum", flags | dict(lr=rate, curriculum=True)


def judge(table):
    def right(name, hops=AFTER):
        return table.values("right", model=name, hops=hops)

    learned = {
        f"the stack, {BEFORE} hops,": (table.values("right", model="stack"), 0.9),
        f"the stack trained on, {BEFORE} hops,": (right(STACK_ON, BEFORE), 0.9),
    }
    loop, once, scratch = (right(name) for name in (LOOPED, AT_ONCE, SCRATCH))
    grow = "counts that grow lose nothing"
    parts = [
        more("better than the stack trained on", loop, right(STACK_ON), 0.02, learned=learned),
        more("better than from scratch in as many steps", loop, scratch, 0.02, learned=learned),
        as_good(grow, loop, once, 0.02, weak=scratch, learned=learned),
    ]
    ours = table.tell(["model", "hops"], dict(right=2, best=2))
    head = f"after {FEW} steps, or as many as cost as much (best: at the loops val likes)"
    return f"{head}: {ours}", parts


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    for name, color in zip((LOOPED, AT_ONCE, SCRATCH, WHOLE), COLORS[1:]):
        table.curves(axis, "by_loop", color=color, label=name, model=name, hops=AFTER)
    for name, style in ((STACK_ON, "-"), (SMALL, ":")):
        axis.axhline(table.median("right", model=name, hops=AFTER), color="k", ls=style, label=name)
    axis.axvline(LOOPS, color="k", lw=0.8, ls=":")
    axis.set(xlabel=f"loops at test (trained: {LOOPS} on average)", ylim=(0, 1.05))
    axis.set_ylabel(f"accuracy at {AFTER} hops (test)")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
