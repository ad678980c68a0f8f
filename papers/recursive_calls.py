"""
Recursive Language Models (Zhang, Kraska and Khattab 2025, arXiv 2512.24601)

A question that is too long for a model can be taken apart by a program, which calls the model on each part and joins
the answers. Here the program is three lines: walk 6 hops, start the next 6 where those ended, and so on. That is a
loop, too, but one around the model: what goes from one turn to the next is a word, not a state. A word drops whatever
was not quite right in the state; but who is wrong once is wrong for good: if a call is right with probability p, n
calls in a row are with p^n.

What changes in the loop: nothing. Two models that walk by loops: the recipe of multi-hop, which sees three tokens at a
time and can walk 48 hops in one call, and one that sees all of them and cannot.

    python papers/recursive_calls.py          5 minutes a seed on one core
"""

import torch
from experiment import Paper, between, median, run_paper

from figures import BLUE, GREY, ORANGE, WIDTH, plt, seeds_text

PART = 6  # hops in a call: the most in training
HOPS = (6, 12, 24, 48)
PAPER = Paper(
    name="recursive_calls",
    title="Recursive Language Models (Zhang et al. 2025)",
    arxiv="2512.24601",
    changes="nothing: a program calls the model on parts of the question",
    claim="calls on parts answer questions that are too long for one call, at a similar cost",
    theirs="inputs a hundred times longer than the context, at comparable cost or less",
    note=f"multi-hop, trained to {PART} hops, in calls of {PART}; the program is given, theirs the model writes. "
    "To see errors add up, calls are asked in a hurry, too: in too few loops",
)
KINDS = {"sees 3 tokens": {}, "sees all": dict(position="relative")}
RIGHT = 0.9  # from here on a way counts as one that answers


@torch.no_grad()
def answer_by_calls(model, task, tokens, loops):
    """The answers (B,) to questions (B, 1 + hops), PART hops a call."""
    place = tokens[:, :1]
    for relations in tokens[:, 1:].split(PART, dim=1):
        place = model(torch.cat((place, relations), dim=1), loops)[:, -1:].argmax(-1)
    return place[:, 0]


def measure(lab):
    found = {}
    for kind, flags in KINDS.items():
        model, task, _ = lab.train(kind.replace(" ", "_"), task="multihop", **flags)
        val = lab.by_loop(model, task, PART, 2 * PART, "val")
        enough = val.index(max(val)) + 1
        few = next(loops for loops, right in enumerate(val, 1) if right >= 0.6 * max(val))  # so that calls err
        for hops in HOPS:
            batch = task.batch("test", 0, lab.examples, hops)
            for way, loops in (("calls", enough), ("hurried calls", few)):
                right = answer_by_calls(model, task, batch.tokens, loops) == batch.targets[:, -1]
                found[f"{hops} hops, {kind}, {way}"] = right.float().mean().item()
            found[f"{hops} hops, {kind}, loops"], loops = lab.best(model, task, hops, hops * 5 // 4 + 8)
            found[f"{hops} hops, {kind}, cost of calls"] = hops // PART * (PART + 1) * enough  # tokens x loops
            found[f"{hops} hops, {kind}, cost of loops"] = (hops + 1) * loops
    return found


def judge(found):
    ours, helped, compared = [], [], []
    for kind in KINDS:
        name = f"{HOPS[-1]} hops, {kind}"
        calls, loops = (median(found, f"{name}, {way}") for way in ("calls", "loops"))
        said = f"{name}: by calls {between(found, f'{name}, calls')}, by loops {between(found, f'{name}, loops')}"
        if loops >= RIGHT:
            compared.append(median(found, f"{name}, cost of calls") / median(found, f"{name}, cost of loops"))
            said += f", calls cost {compared[-1]:.2f} times as much"
        else:  # too long for one call
            helped.append(calls >= RIGHT)
        once, often = (f"{hops} hops, {kind}, hurried calls" for hops in (PART, 4 * PART))
        said += f"; in too few loops a call is right {between(found, once)}, four in a row {between(found, often)} "
        ours.append(said + f"(p^4 is {median([{0: seed[once] ** 4} for seed in found], 0):.2f})")
    shown = helped and all(helped) and all(cost < 1.25 for cost in compared)
    return "; ".join(ours), "reproduced" if shown else "not reproduced"


def draw(found):
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.8), layout="constrained")
    for kind, style in zip(KINDS, ("-", "--")):
        for way, color in (("calls", BLUE), ("loops", ORANGE), ("hurried calls", GREY)):
            for seed in found:
                left.plot(HOPS, [seed[f"{hops} hops, {kind}, {way}"] for hops in HOPS], ".", color=color)
            middle = [median(found, f"{hops} hops, {kind}, {way}") for hops in HOPS]
            left.plot(HOPS, middle, style, color=color, label=f"by {way}, {kind}")
            answered = [hops for hops, share in zip(HOPS, middle) if share >= RIGHT]
            if way != "hurried calls":
                cost = [median(found, f"{hops} hops, {kind}, cost of {way}") for hops in answered]
                right.plot(answered, cost, style, marker=".", color=color)
        once = median(found, f"{PART} hops, {kind}, hurried calls")
        left.plot(HOPS, [once ** (hops / PART) for hops in HOPS], "k:", lw=1, label="p^n" if style == "--" else None)
    left.set(xlabel="hops", ylabel="accuracy (test)", ylim=(-0.02, 1.02))
    right.set(xlabel=f"hops (where {RIGHT} are right)", ylabel="cost (tokens x loops)", ylim=(0, 4000))
    for axis in (left, right):
        axis.set(xscale="log", xlim=(HOPS[0] * 0.9, HOPS[-1] * 1.1))
        axis.set_xticks(HOPS, HOPS)
        axis.minorticks_off()
    left.legend(fontsize=7, loc="lower left")
    says = ", ".join(f"{median(found, f'{HOPS[-1]} hops, sees all, {way}'):.2f} by {way}" for way in ("calls", "loops"))
    figure.suptitle(f"{HOPS[-1]} hops with a model that sees all tokens: {says} ({seeds_text(len(found))})")
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
