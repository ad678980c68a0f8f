"""
Looped Diffusion Language Models, LoopMDM (Lee et al. 2026, arXiv 2605.26106)

The model is papers/looped_diffusion.py. A way to answer is `steps x loops`: so many denoising
steps, each with so many loops. Do loops do what a deeper stack does, and more than none at the same
cost in training?

    python -m claims.looped_diffusion --seeds 40 41 42          10 minutes a seed on one core
"""

import numpy as np

from claims.experiment import Claim, mean, run_claim
from claims.parts import as_good, more
from claims.rows import COLORS
from papers.looped_diffusion import denoise
from support.figures import WIDTH, plt

CLAIM = Claim(
    name="looped_diffusion",
    title="Looped Diffusion Language Models (Lee et al. 2026)",
    arxiv="2605.26106",
    changes="nothing: loops in each step of a masked diffusion model, 1 to 6 in training",
    claim="loops in a denoising step do what a deeper stack does, and more than none at the same "
    "training cost",
    theirs="the same likelihood with 3.3 times fewer training FLOPs, GSM8K + 8.5 points; most with "
    "few denoising steps",
    falls="one loop in six denoising steps is within 0.05, or a stack in one step is 0.03 better",
    tried="the stack with both norms (post-norm 0.37, seeds 20 to 22), each model at rates of "
    "0.003 and 0.001, on the reported seeds, chosen on val",
    note="boards of 6x6 instead of text; one layer, all of it looped, and the input is added again "
    "in every loop, where theirs loops a few layers near the beginning, and adds nothing; the loss "
    "does not weight the shares of blanks",
)
MOST = 6  # loops in training, and layers of the stack
LOOPS, STEPS = (1, 2, 3, 6, 12), (1, 2, 3, 6)
ALL = dict(task="sudoku", box="2x3", puzzles=5000, model="looped_diffusion", position="grid")
ALL |= dict(curriculum=False, loss="final", batch=32, eval_size=100)
RATES = (3e-3, 1e-3)
MODELS = {
    "looped": dict(sampler="uniform", loops=MOST, steps=2000),  # 1 to 6 loops, 3.5 on average
    "1 loop": dict(sampler="fixed", loops=1, steps=7000),  # costs as much in training
    # costs nearly twice that; with post-norm it learns less
    "stack": dict(sampler="fixed", loops=MOST, tied=False, norm="pre", steps=2000),
}
BEST = "looped, best way"  # of those that cost as much as one pass through the stack


def accuracy(lab, model, task, split, steps, loops):
    batch = task.batch(split, 0, lab.examples)
    said = denoise(model, batch.tokens, steps, loops)
    return mean(task.check(batch, said))


def measure(lab):
    fewer = dict(puzzles=200) if lab.tiny else {}
    for name, flags in MODELS.items():
        model, task, _ = lab.at_best_rate(name, RATES, **ALL | flags | fewer)
        right = {}
        for steps in STEPS:
            for loops in LOOPS if name == "looped" else (model.config.loops,):
                right[steps, loops] = accuracy(lab, model, task, "test", steps, loops)
                yield dict(model=name, steps=steps, loops=loops, right=right[steps, loops])
        if name == "looped":
            ways = [(steps, MOST // steps) for steps in STEPS if steps < MOST]
            best = max(ways, key=lambda way: accuracy(lab, model, task, "val", *way))
            steps, loops = best
            yield dict(model=BEST, steps=steps, loops=loops, right=right[best])


def judge(table):
    told = [("looped", steps, MOST // steps) for steps in STEPS]
    told += [("looped", 1, 2 * MOST), ("1 loop", MOST, 1), ("stack", 1, MOST)]
    told += [("looped", MOST, MOST), ("stack", MOST, MOST)]
    ours = [f"{BEST} {table.said('right', model=BEST)}"]
    for name, steps, loops in told:
        right = table.said("right", model=name, steps=steps, loops=loops)
        ours.append(f"{name}, {steps} x {loops} {right}")
    best = table.values("right", model=BEST)
    once, stack, all_steps = (
        table.values("right", model=name, steps=steps)
        for name, steps in (("1 loop", MOST), ("stack", 1), ("stack", MOST))
    )
    alone = {"1 loop": (once, 0.4)}
    learned = {"the stack, in as many steps as it has layers,": (all_steps, 0.9)}
    parts = [
        more("better than without loops", best, once, 0.05, learned=alone, shared=True),
        as_good("as good as the stack", best, stack, 0.03, weak=once, learned=learned, shared=True),
    ]
    head = "boards right after denoising steps x loops"
    return f"{head}: {'; '.join(ours)}", parts


def draw(table):
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.2), layout="constrained")
    looped = dict(model="looped")
    grid = [[table.median("right", **looped, steps=s, loops=n) for n in LOOPS] for s in STEPS]
    left.imshow(grid, origin="lower", vmin=0, vmax=1, cmap="cividis", aspect="auto")
    for (i, j), value in np.ndenumerate(grid):
        color = "black" if value > 0.5 else "white"
        left.text(j, i, f"{value:.2f}", ha="center", va="center", color=color)
    left.set_xticks(range(len(LOOPS)), LOOPS)
    left.set_yticks(range(len(STEPS)), STEPS)
    left.set(xlabel=f"loops in each step (1 to {MOST} in training)", ylabel="denoising steps")
    left.set_title("looped: boards right")
    lines = {f"looped, {loops} in a step": ("looped", loops) for loops in (1, 2, 3, 6)}
    lines |= {"trained with 1 loop": ("1 loop", 1), f"{MOST} layers": ("stack", MOST)}
    for (label, (name, loops)), color in zip(lines.items(), COLORS):
        cost = [steps * loops for steps in STEPS]
        values = [table.values("right", model=name, steps=s, loops=loops) for s in STEPS]
        style = "-" if name == "looped" else "--"
        right.plot(cost, np.median(values, axis=1), style, color=color, label=label)
        right.plot(cost, values, ".", color=color)
    right.set(xlabel="block applications a cell (steps x loops)", xscale="log")
    right.set(ylabel="boards right (test)", ylim=(-0.03, 1.05))
    right.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
