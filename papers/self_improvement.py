"""
Self-Improving Transformers Overcome Easy-to-Hard and Length Generalization Challenges (Lee 2025, arXiv 2502.01612)

A model that adds numbers of up to 10 digits often adds 11, too, though nobody taught it. So it can label its own
lessons: in each round it answers sums that are one digit longer than those before, trains on its answers, and is ready
for the next round. Wrong labels would be learned as well, and make the labels of the next round worse: an avalanche.
Therefore only labels are kept that agree; here the model is asked for a + b and for b + a. (The task is in
long_sums.py.)

What changes in the loop: nothing. The paper's model is a stack that is not looped; ours loops 4 times, always, and has
rotary positions, with which neither more loops nor what it learned of 10 digits is enough for long numbers. (With the
window and the loop counts of `--task addition` a loop adds longer numbers without further lessons.)

    python papers/self_improvement.py          9 minutes a seed on one core
"""

import copy

import numpy as np
import torch
from experiment import COLORS, Paper, between, median, run_paper
from long_sums import PAD
from torch.nn import functional as F

from figures import WIDTH, plt, seeds_text
from tasks import IGNORE
from train import Settings, make_optimizer

DIGITS, LONGEST, LOOPS = 10, 20, 4
LR = 1e-3  # falls to zero in each round, so that a model is at rest when it labels
PAPER = Paper(
    name="self_improvement",
    title="Self-Improving Transformers (Lee et al. 2025)",
    arxiv="2502.01612",
    changes="nothing: the model labels longer questions for its next round of training",
    claim="trained on its own answers, a model goes far beyond its lessons, if wrong ones are filtered",
    theirs="1-16 digits -> over 100; labels of products: 31 % right, 93 % after a majority vote; unfiltered: avalanche",
    note="all digits at once, so there are no answers of a wrong length to filter; agreement of two askings, no vote. "
    "Taught 6 digits instead of 10 it stays at 6, whatever is kept: too few answers to 7 are right to begin with",
)


# -----------------------------------------------------------------------------
# The rounds

KEEP = ("labels that agree", "all labels", "no labels")


@torch.no_grad()
def label(model, tokens, answers):
    """The model's own answers (B, T) to questions of one length, and whether it says the same of b + a (B,)."""
    swapped = tokens.clone()
    swapped[:, 1:-1:2], swapped[:, 2:-1:2] = tokens[:, 2:-1:2], tokens[:, 1:-1:2]
    one, other = (model(each, LOOPS).argmax(-1).masked_fill(~answers, IGNORE) for each in (tokens, swapped))
    return one, (one == other).all(1)


def below(narrow, wide):
    """Tokens and targets of the wide ones put below the narrow ones."""
    wider = (0, wide[0].shape[1] - narrow[0].shape[1])
    return [torch.cat((F.pad(a, wider, value=fill), b)) for a, b, fill in zip(narrow, wide, (PAD, IGNORE))]


def improve(model, task, keep, questions, steps, longest):
    """
    Rounds of self-labelled training, with one more digit each, mixed with the sums that were taught. Returns the model
    and {digits: (share of labels that are right, share that is kept, share of the kept that is right)}.
    """
    model, labels = copy.deepcopy(model), {}
    optimizer = make_optimizer(Settings(lr=LR), model)
    generator = torch.Generator().manual_seed(task.seed)
    lessons = [torch.zeros((0, 2), dtype=torch.long)] * 2  # tokens and targets of all so far
    for digits in range(task.digits + 1, longest + 1):
        new = task.batch("train", digits, questions, digits)
        said, agree = label(model, new.tokens, new.targets != IGNORE)
        right, kept = (said == new.targets).all(1), agree | (keep == "all labels")
        labels[digits] = [x.float().mean().nan_to_num().item() for x in (right, kept, right[kept])]
        lessons = below(lessons, (new.tokens[kept], said[kept]))
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = LR * (1 - step / steps)
            own = 32 if keep != "no labels" and len(lessons[0]) else 0
            mixed = task.batch("train", 1000 * digits + step, 48 - own)[:2]
            if own:
                chosen = torch.randint(len(lessons[0]), (own,), generator=generator)
                mixed = below(mixed, [part[chosen] for part in lessons])
            loss, _ = model.loss(*mixed, LOOPS)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return model, labels


# -----------------------------------------------------------------------------
# The claim


def measure(lab):
    flags = dict(task="long_sums", digits=DIGITS, position="rope", sampler="fixed", loops=LOOPS)
    first, task, _ = lab.train("taught", curriculum=False, lr=3e-3, steps=4000, **flags)
    longest = DIGITS + 2 if lab.tiny else LONGEST
    lengths, found = range(DIGITS, longest + 1), {}
    for n in lengths:
        found[f"taught, {n}"] = lab.by_loop(first, task, n, LOOPS)[-1]
        found[f"more loops, {n}"] = lab.best(first, task, n, 3 * LOOPS)[0]
    for keep in KEEP:
        model, labels = improve(first, task, keep, 8 if lab.tiny else 1000, 1 if lab.tiny else 150, longest)
        found |= {f"{keep}, {n}": lab.by_loop(model, task, n, LOOPS)[-1] for n in lengths}
        found |= {f"of {keep}, {n}": shares for n, shares in labels.items()}
    return found


def reach(seed, label):
    """The longest numbers up to which nine tenths of the sums are right."""
    right = [seed[f"{label}, {n}"] >= 0.9 for n in range(DIGITS, LONGEST + 1) if f"{label}, {n}" in seed]
    return DIGITS - 1 + [*right, False].index(False)


def judge(found):
    seeds = [{label: reach(seed, label) for label in (*KEEP, "taught", "more loops")} for seed in found]
    reached = {label: median(seeds, label) for label in seeds[0]}
    ours = ", ".join(f"{label} {between(seeds, label, 0)}" for label in reached)
    kept, unfiltered, *others = reached.values()
    far, filtering = kept >= max(others) + 4, kept >= unfiltered + 2
    verdict = "not reproduced" if not far else "reproduced" if filtering else "depends: unfiltered it goes as far"
    return f"digits up to which nine tenths are right, of {LONGEST}: {ours}", verdict


def draw(found):
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.2), layout="constrained", sharey=True)
    lengths = [n for n in range(DIGITS, LONGEST + 1) if f"taught, {n}" in found[0]]
    for name, color in zip((*KEEP, "taught", "more loops"), COLORS[1:]):
        style = "--" if name == "more loops" else "-"  # it lies upon "taught"
        axes[0].plot(lengths, [median(found, f"{name}, {n}") for n in lengths], style, color=color, label=name)
        axes[0].plot(lengths, [[seed[f"{name}, {n}"] for seed in found] for n in lengths], ".", color=color, ms=4)
        if name in KEEP[:2]:
            shares = np.array([[seed[f"of {name}, {n}"] for n in lengths[1:]] for seed in found])
            axes[1].plot(lengths[1:], np.median(shares, axis=0)[:, 2], color=color, label=name)
            axes[1].plot(lengths[1:], shares[:, :, 2].T, ".", color=color, ms=4)
    axes[0].set(xlabel="digits", ylabel="share that is right", ylim=(-0.03, 1.05), title="sums (test), at the end")
    axes[1].set(xlabel="digits, one more each round", title="the labels it learned from")
    axes[0].axhline(0.9, color="k", lw=0.8, ls=":")
    axes[0].legend(fontsize=9)
    far = [median([{0: reach(seed, label)} for seed in found], 0) for label in ("taught", KEEP[0])]
    said = f"Taught {DIGITS} digits, nine tenths are right to {far[0]:.0f}; after its own lessons, to {far[1]:.0f}"
    figure.suptitle(f"{said} ({seeds_text(found)})", size=12)
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
