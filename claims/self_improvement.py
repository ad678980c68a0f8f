"""
Self-Improving Transformers Overcome Easy-to-Hard and Length Generalization Challenges
(Lee 2025, arXiv 2502.01612)

A model that adds numbers of up to 10 digits often adds 11, too, though nobody taught it. So it can
label its own lessons: in each round it answers sums that are one digit longer than those before,
trains on its answers, and is ready for the next round. Wrong labels would be learned as well, and
make the labels of the next round worse: an avalanche. Therefore only labels are kept that agree;
here the model is asked for a + b and for b + a. The task is long_sums.py.

In the loop nothing changes. The paper's model is a stack that is not looped; ours loops 4 times,
always, and has rotary positions, with which neither more loops nor what it learned of 10 digits is
enough for long numbers. (With the window and the loop counts of `--task addition` a loop adds
longer numbers without further lessons.)

Beside it stand the labels that are right, which nobody could choose: if they do not help, it is the
model that does not learn longer sums, and not the labels.

    python -m claims.self_improvement --seeds 43 44 45 46 47          8 minutes a seed on one core
"""

import copy

import numpy as np
import torch
from torch.nn import functional as F

from claims.experiment import Claim, run_claim
from claims.long_sums import PAD
from claims.parts import more, reaches
from claims.rows import COLORS, said
from support.figures import WIDTH, plt
from tasks import IGNORE
from train import Settings, make_optimizer

CLAIM = Claim(
    name="self_improvement",
    title="Self-Improving Transformers (Lee et al. 2025)",
    arxiv="2502.01612",
    changes="nothing: the model labels longer questions for its next round of training",
    claim="trained on its own answers, a model goes far beyond its lessons; with a filter it "
    "does not end in an avalanche of wrong labels",
    theirs="lowest digit first, without a filter: 1-16 digits -> over 100; highest first and "
    "products need one: labels of products 31 % right, 93 % after a majority vote; unfiltered: "
    "avalanche",
    falls="of the sums of 11 to 18 digits, with the labels that agree not 0.1 more are right than "
    "without labels, or with all labels no more; or under 0.9 of the kept labels of 18 digits are "
    "right, though a model that learns from right labels adds them",
    tried="seed 0: 6 and 10 digits, 60 to 400 steps a round, rates of 0.0005 and 0.001. The digits "
    "up to which nine tenths are right, seeds 20 to 22: labels that agree 16, all labels 13, no "
    "labels 12. Seeds 40 to 42, lessons of all rounds drawn alike, up to 20 digits: 12, 11 and 11, "
    "right labels 19. The same seeds, half of a batch from the newest: 12, 11 and 11, with ranges "
    "from 10 to 18, so that three seeds decide nothing; but of 11 to 18 digits 0.83, 0.68 and 0.56 "
    "are right, with right labels 0.98. So that is what is compared, up to 18 digits, on new seeds",
    note="the avalanche comes in spite of the filter: all digits at once, so there are no answers "
    "of a wrong length to filter; agreement of two askings, no vote, which none of theirs is; "
    "rotary positions, where theirs has none. On sums with the lowest digit first theirs needs no "
    "filter, so labels that agree are compared with none, and with all labels only told. Taught 6 "
    "digits instead of 10 it stays at 6, whatever is kept: too few answers to 7 are right to begin "
    "with",
)
DIGITS, LONGEST, LOOPS = 10, 18, 4
LR = 1e-3  # falls to zero in each round, so that a model is at rest when it labels
AGREE, EVERY, NONE = "labels that agree", "all labels", "no labels"
RIGHT = "labels that are right"
KEEP = (AGREE, EVERY, NONE, RIGHT)
TAUGHT, LOOPED = "taught", "more loops"


@torch.no_grad()
def label(model, tokens, asked):
    """
    The model's own answers (B, T) to questions of one length, at the places `asked` (B, T); and
    whether it says the same of b + a (B,).
    """
    swapped = tokens.clone()
    swapped[:, 1:-1:2], swapped[:, 2:-1:2] = tokens[:, 2:-1:2], tokens[:, 1:-1:2]
    one = model(tokens, LOOPS).argmax(-1).masked_fill(~asked, IGNORE)
    other = model(swapped, LOOPS).argmax(-1).masked_fill(~asked, IGNORE)
    return one, (one == other).all(1)


def below(narrow, wide):
    """The (tokens, targets) of the wide ones put below the narrow ones."""
    more = wide[0].shape[1] - narrow[0].shape[1]
    tokens = F.pad(narrow[0], (0, more), value=PAD)
    targets = F.pad(narrow[1], (0, more), value=IGNORE)
    return torch.cat((tokens, wide[0])), torch.cat((targets, wide[1]))


def improve(model, task, keep, questions, steps, longest):
    """
    Rounds of self-labelled training, with one more digit each, mixed with the sums that were
    taught. Returns the model, and a row about the labels of each round.
    """
    model, rows = copy.deepcopy(model), []
    optimizer = make_optimizer(Settings(lr=LR), model)
    generator = torch.Generator().manual_seed(task.seed)
    nothing = torch.zeros((0, 2), dtype=torch.long)
    lessons = (nothing, nothing)  # tokens and targets of all labels so far
    for digits in range(task.digits + 1, longest + 1):
        new = task.batch("train", digits, questions, digits)
        answers, agree = label(model, new.tokens, new.targets != IGNORE)
        right = (answers == new.targets).all(1)
        kept = {AGREE: agree, RIGHT: right}.get(keep, torch.ones_like(right))
        row = dict(labels=keep, digits=digits, right=share(right), kept=share(kept))
        rows.append(row | dict(right_of_kept=share(right[kept])))
        newest = (new.tokens[kept], answers[kept])
        # half of a batch is new, as in the paper
        lots = [(8, lessons), (24, newest)] if keep != NONE else []
        lots = [(size, lot) for size, lot in lots if len(lot[0])]
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = LR * (1 - step / steps)
            taught = task.batch("train", 1000 * digits + step, 48 - sum(size for size, _ in lots))
            mixed = (taught.tokens, taught.targets)
            for size, lot in lots:
                chosen = torch.randint(len(lot[0]), (size,), generator=generator)
                mixed = below(mixed, [part[chosen] for part in lot])
            loss, _ = model.loss(*mixed, LOOPS)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        lessons = below(lessons, newest)
    return model, rows


def share(marks):
    return marks.float().mean().nan_to_num().item()


def measure(lab):
    flags = dict(task="long_sums", digits=DIGITS, position="rope", sampler="fixed", loops=LOOPS)
    first, task, _ = lab.train(TAUGHT, **flags, curriculum=False, lr=3e-3, steps=4000)
    longest = DIGITS + 2 if lab.tiny else LONGEST
    questions, steps = (8, 1) if lab.tiny else (1000, 150)  # in each round
    lengths = range(DIGITS, longest + 1)
    for n in lengths:
        yield dict(model=TAUGHT, digits=n, right=lab.by_loop(first, task, n, LOOPS)[-1])
        yield dict(model=LOOPED, digits=n, right=lab.best(first, task, n, 3 * LOOPS)[0])
    for keep in KEEP:
        model, rows = improve(first, task, keep, questions, steps, longest)
        for n in lengths:
            yield dict(model=keep, digits=n, right=lab.by_loop(model, task, n, LOOPS)[-1])
        yield from rows


def reach(table, model):
    """The longest numbers up to which nine tenths of the sums are right, of each seed."""
    lengths = table.column("digits", beside=["model"])
    right = [table.values("right", model=model, digits=n) for n in lengths]  # (lengths, seeds)
    reached = []
    for of_seed in zip(*right):
        solved = [each >= 0.9 for each in of_seed]
        reached.append(DIGITS - 1 + [*solved, False].index(False))
    return reached


def beyond(table, model):
    """The share that is right of all sums that are longer than those that were taught."""
    lengths = table.column("digits", beside=["model"])[1:]
    return np.mean([table.values("right", model=model, digits=n) for n in lengths], axis=0)


def judge(table):
    names = (*KEEP, TAUGHT, LOOPED)
    reached = {name: reach(table, name) for name in names}
    right = {name: beyond(table, name) for name in names}
    longest = table.column("digits", beside=["labels"])[-1]
    at_end = table.values("right_of_kept", labels=AGREE, digits=longest)
    unfiltered = table.values("right_of_kept", labels=EVERY, digits=longest)
    lessons = table.values("right", model=TAUGHT, digits=DIGITS)
    to = dict(learned={f"{DIGITS} digits": (lessons, 0.9)})
    enough = np.mean(table.values("right", model=RIGHT, digits=longest)) >= 0.9
    missing = "" if enough else "a model that learns so many digits from right labels"
    end = f"no avalanche up to {longest} digits"
    parts = [
        more("goes further than without labels", right[AGREE], right[NONE], 0.1, **to),
        more("all labels go further than none", right[EVERY], right[NONE], **to),
        reaches(end, at_end, 0.9, weak=unfiltered, questions=0, missing=missing, **to),
    ]
    told = "; ".join(f"{name} {said(right[name])} ({said(reached[name], 0)})" for name in names)
    ours = f"right of {DIGITS + 1} to {longest} digits (digits up to which nine tenths are): {told}"
    kept = f"labels of {longest} digits that are right: of those that agree {said(at_end)}, of all "
    kept += said(unfiltered)
    return f"{ours}; {kept}", parts


def draw(table):
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(WIDTH, 4.2), layout="constrained", sharey=True
    )
    for name, color in zip((*KEEP, TAUGHT, LOOPED), COLORS[1:]):
        style = "--" if name == LOOPED else "-"  # it lies upon "taught"
        table.plot(left, "digits", "right", style, color=color, label=name, model=name)
        if name in (AGREE, EVERY):
            table.plot(right, "digits", "right_of_kept", color=color, label=name, labels=name)
    left.set(xlabel="digits", ylabel="share that is right", ylim=(-0.03, 1.05))
    left.set_title("sums (test), at the end")
    right.set(xlabel="digits, one more each round", title="the labels it learned from")
    left.axhline(0.9, color="k", lw=0.8, ls=":")
    left.legend(fontsize=9)
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
