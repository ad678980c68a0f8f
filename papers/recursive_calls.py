"""
Recursive Language Models (Zhang, Kraska and Khattab 2025, arXiv 2512.24601)

A question that is too long for a model can be taken apart by a program, which calls the model on each part and joins
the answers. Here the program is three lines: walk 6 hops, start the next 6 where those ended, and so on. That is a
loop, too, but one around the model: what goes from one turn to the next is a word, not a state. A word drops whatever
was not quite right in the state; but who is wrong once is wrong for good: errors add up, to accuracy^(number of calls).

What changes in the loop: nothing. Two models that walk by loops: the recipe of multi-hop, which sees three tokens at a
time and goes on for ever, and one that sees all of them and does not.

    python papers/recursive_calls.py          6 minutes a seed on one core
"""

import torch
from experiment import Paper, between, median, run_paper

from figures import BLUE, ORANGE, WIDTH, plt, seeds_text

PART = 6  # hops in a call: the most in training
HOPS = (6, 12, 24, 48)
PAPER = Paper(
    name="recursive_calls",
    title="Recursive Language Models (Zhang et al. 2025)",
    arxiv="2512.24601",
    changes="nothing: a program calls the model on parts of the question",
    claim="calls on parts answer questions that are too long for one call, at a similar cost",
    theirs="inputs a hundred times longer than the context, at comparable cost or less",
    note=f"multi-hop, trained to {PART} hops, in calls of {PART}; the program is given, theirs is written by the model",
)
KINDS = {"sees 3 tokens": {}, "sees all": dict(position="relative")}


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
        _, loops_of_part = lab.best(model, task, PART, 2 * PART)
        for hops in HOPS:
            batch = task.batch("test", 0, lab.examples, hops)
            right = answer_by_calls(model, task, batch.tokens, loops_of_part) == batch.targets[:, -1]
            found[f"{hops} hops, {kind}, calls"] = right.float().mean().item()
            found[f"{hops} hops, {kind}, loops"], loops = lab.best(model, task, hops, hops * 5 // 4 + 8)
            found[f"{hops} hops, {kind}, cost of calls"] = hops // PART * (PART + 1) * loops_of_part  # tokens x loops
            found[f"{hops} hops, {kind}, cost of loops"] = (hops + 1) * loops
    return found


def judge(found):
    ours, better = [], []
    for kind in KINDS:
        name = f"{HOPS[-1]} hops, {kind}"
        expected = median(found, f"{PART} hops, {kind}, calls") ** (HOPS[-1] / PART)
        cost = median(found, f"{name}, cost of calls") / median(found, f"{name}, cost of loops")
        if median(found, f"{name}, calls") > median(found, f"{name}, loops") + 0.05:
            better.append(f"if the model {kind}")
        ours.append(
            f"{name}: by calls {between(found, f'{name}, calls')} (as errors that add up: {expected:.2f}), "
            f"by loops {between(found, f'{name}, loops')}, calls cost {cost:.1f} times as much"
        )
    verdict = f"depends: only {better[0]}" if better else "not reproduced"
    return "; ".join(ours), "reproduced" if len(better) == len(KINDS) else verdict


def draw(found):
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.8), layout="constrained")
    for kind, style in zip(KINDS, ("-", "--")):
        for way, color in (("calls", BLUE), ("loops", ORANGE)):
            for seed in found:
                left.plot(HOPS, [seed[f"{hops} hops, {kind}, {way}"] for hops in HOPS], ".", color=color)
            middle = [median(found, f"{hops} hops, {kind}, {way}") for hops in HOPS]
            left.plot(HOPS, middle, style, color=color, label=f"by {way}, {kind}")
            cost = [median(found, f"{hops} hops, {kind}, cost of {way}") for hops in HOPS]
            right.plot(HOPS, cost, style, color=color)
    left.set(xlabel="hops", ylabel="accuracy (test)", xscale="log", ylim=(-0.02, 1.02))
    right.set(xlabel="hops", ylabel="cost (tokens x loops)", xscale="log", yscale="log")
    for axis in (left, right):
        axis.set_xticks(HOPS, HOPS)
        axis.minorticks_off()
    left.legend(fontsize="small", loc="lower left")
    says = ", ".join(f"{median(found, f'{HOPS[-1]} hops, sees all, {way}'):.2f} by {way}" for way in ("calls", "loops"))
    figure.suptitle(f"{HOPS[-1]} hops with a model that sees all tokens: {says} ({seeds_text(len(found))})")
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
