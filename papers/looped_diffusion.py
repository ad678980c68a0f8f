"""
Looped Diffusion Language Models, LoopMDM (Lee et al. 2026, arXiv 2605.26106)

Masked diffusion learns to fill in blanks: in training a random share of the answer is shown and the rest is asked, all
of it at once. To answer, it starts from blanks, keeps the predictions it is surest of, and asks again with these in
place: a denoising step. So there are two ways to think longer: more denoising steps, which commit to what they wrote
down, and more loops inside each step, which only change the state. Both cost the same, block applications.

What changes in the loop: nothing. What changes is the loss, and how an answer is made. For tasks whose questions leave
blanks where the answer goes, so for Sudoku.

    python papers/looped_diffusion.py         6 minutes a seed on one core
"""

import numpy as np
import torch
from experiment import COLORS, Paper, between, in_parts, median, run_paper

from figures import WIDTH, plt, seeds_text
from looped import LoopedGPT
from tasks import IGNORE

BLANK = 0
PAPER = Paper(
    name="looped_diffusion",
    title="Looped Diffusion Language Models (Lee et al. 2026)",
    arxiv="2605.26106",
    changes="nothing: loops in each step of a masked diffusion model, 1 to 6 in training",
    claim="loops in a denoising step do what a deeper stack does, and more than none at the same training cost",
    theirs="the same likelihood with 3.3 times fewer training FLOPs, GSM8K + 8.5 points; most with few denoising steps",
    note="boards of 6x6 instead of text, one layer; the loss does not weight the shares of blanks",
)


class MaskedDiffusion(LoopedGPT):
    def __init__(self, config):
        super().__init__(config)
        if config.causal:
            raise ValueError("masked diffusion needs a task that is not causal, such as --task sudoku")

    def loss(self, tokens, targets, loops=None):
        """Of each answer a random share is shown; the loss is that of the others."""
        share = torch.rand(len(tokens), 1, device=tokens.device)
        shown = (targets != IGNORE) & (torch.rand(tokens.shape, device=tokens.device) < share)
        tokens, asked = torch.where(shown, targets, tokens), targets.masked_fill(shown, IGNORE)
        loss, prediction = super().loss(tokens, asked, loops)
        return loss, torch.where(shown, targets, prediction)


@torch.no_grad()
def denoise(model, tokens, steps, loops):
    """Fill in the blanks of tokens (B, T): in each step an equal part of them, those with the surest predictions."""
    for left in range(steps, 0, -1):
        probability, digit = model(tokens, loops)[..., BLANK + 1 :].softmax(-1).max(-1)
        blank = tokens == BLANK
        surest = probability.masked_fill(~blank, -1).argsort(1, descending=True).argsort(1)  # 0: the surest of all
        now = blank & (surest < (blank.sum(1, keepdim=True) / left).ceil())
        tokens = torch.where(now, digit + BLANK + 1, tokens)
    return tokens


# -----------------------------------------------------------------------------
# The claim

MOST = 6  # loops in training, and layers of the stack
LOOPS, STEPS = (1, 2, 3, 6, 12), (1, 2, 3, 6)
ALL = dict(task="sudoku", box="2x3", puzzles=5000, model="looped_diffusion", position="grid", curriculum=False)
ALL |= dict(loss="final", lr=3e-3, batch=32, eval_size=100)
MODELS = {
    "looped": dict(sampler="uniform", loops=MOST, steps=2000),  # 1 to 6 loops, 3.5 on average
    "1 loop": dict(sampler="fixed", loops=1, steps=7000),  # so this one costs as much in training
    "stack": dict(sampler="fixed", loops=MOST, tied=False, steps=2000),  # and this one nearly twice that
}


def accuracy(lab, model, task, split, steps, loops):
    batch = task.batch(split, 0, lab.examples)
    return task.check(batch, denoise(model, batch.tokens, steps, loops)).float().mean().item()


def measure(lab):
    found = {}
    for label, changes in MODELS.items():
        model, task, _ = lab.train(label.replace(" ", "_"), **ALL | changes | (dict(puzzles=200) if lab.tiny else {}))
        for steps in STEPS:
            for loops in LOOPS if label == "looped" else (model.config.loops,):
                found[f"{label}, {steps} x {loops}"] = accuracy(lab, model, task, "test", steps, loops)
        if label == "looped":  # the best way to spend as much as one pass through the stack
            ways = [(steps, MOST // steps) for steps in STEPS if steps < MOST]  # with loops
            steps, loops = max(ways, key=lambda way: accuracy(lab, model, task, "val", *way))
            found |= {"best way": f"{steps} x {loops}", "looped, best way": found[f"looped, {steps} x {loops}"]}
    return found


def best_without(found):
    """The control's best seed: with one loop two of three do not learn."""
    return max(seed[f"1 loop, {MOST} x 1"] for seed in found)


def judge(found):
    names = ["looped, best way", f"1 loop, {MOST} x 1", f"stack, 1 x {MOST}"]
    best, stack = median(found, names[0]), median(found, names[2])
    single = best_without(found)
    names[1:1] = [f"looped, {steps} x {MOST // steps}" for steps in STEPS] + [f"looped, 1 x {2 * MOST}"]
    names += [f"{label}, {STEPS[-1]} x {MOST}" for label in ("looped", "stack")]
    ours = "; ".join(f"{name} {between(found, name)}" for name in names)
    shown = {"better than without loops": best > single + 0.05, "as good as the stack": best > stack - 0.03}
    return f"boards right after denoising steps x loops: {ours}", in_parts(shown, needed=1)


def draw(found):
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.2), layout="constrained")
    grid = np.array([[median(found, f"looped, {steps} x {loops}") for loops in LOOPS] for steps in STEPS])
    axes[0].imshow(grid, origin="lower", vmin=0, vmax=1, cmap="cividis", aspect="auto")
    for (i, j), value in np.ndenumerate(grid):
        axes[0].text(j, i, f"{value:.2f}", ha="center", va="center", color="black" if value > 0.5 else "white")
    axes[0].set_xticks(range(len(LOOPS)), LOOPS)
    axes[0].set_yticks(range(len(STEPS)), STEPS)
    axes[0].set(
        xlabel=f"loops in each step (1 to {MOST} in training)", ylabel="denoising steps", title="looped: boards right"
    )
    lines = {f"looped, {loops} in a step": ("looped", loops) for loops in (1, 2, 3, 6)}
    lines |= {"trained with 1 loop": ("1 loop", 1), f"{MOST} layers": ("stack", MOST)}
    for (name, (label, loops)), color in zip(lines.items(), COLORS):
        cost = [steps * loops for steps in STEPS]
        names = [f"{label}, {steps} x {loops}" for steps in STEPS]
        axes[1].plot(
            cost, [median(found, each) for each in names], "-" if label == "looped" else "--", color=color, label=name
        )
        axes[1].plot(cost, [[seed[each] for seed in found] for each in names], ".", color=color)
    axes[1].set(
        xlabel="block applications a cell (steps x loops)",
        ylabel="boards right (test)",
        xscale="log",
        ylim=(-0.03, 1.05),
    )
    axes[1].legend(fontsize=8)
    more = median(found, "looped, best way") - best_without(found)
    title = f"6x6 Sudoku by denoising: loops add {more:+.2f} at equal cost to the best seed without"
    figure.suptitle(f"{title} ({seeds_text(len(found))})", size=11)
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
