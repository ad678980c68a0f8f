"""
Recursive Language Models (Zhang, Kraska and Khattab 2025, arXiv 2512.24601)

A question that is too long for a model can be taken apart by a program, which calls the model on
each part and joins the answers. Here the program is three lines: walk 6 hops, start the next 6
where those ended, and so on. That is a loop, too, but one around the model: what goes from one turn
to the next is a word, not a state. A word drops what was not quite right in the state; but an error
stays: if a call is right with probability p, n calls in a row are right with p^n.

In the loop nothing changes. Two models walk by loops: the recipe of multi-hop, which sees three
tokens at a time and can walk 48 hops in one call, and one that sees all of them and cannot.

    python -m claims.recursive_calls          5 minutes a seed on one core
"""

import numpy as np
import torch

from claims.experiment import Claim, run_claim
from claims.parts import more, reaches
from support.figures import BLUE, GREY, ORANGE, WIDTH, plt

PART = 6  # hops in a call: the most in training
HOPS = (6, 12, 24, 48)
CLAIM = Claim(
    name="recursive_calls",
    title="Recursive Language Models (Zhang et al. 2025)",
    arxiv="2512.24601",
    changes="nothing: a program calls the model on parts of the question",
    claim="calls on parts answer questions that are too long for one call, at a similar cost",
    theirs="inputs a hundred times longer than the context, at comparable cost or less",
    falls="eight calls in a row are right less often than 0.9 where one call fails, or cost "
    "more than one long call. A call is right nearly always here, so this is a demonstration",
    tried="one setting, that of the task's recipe",
    note=f"multi-hop, trained to {PART} hops, in calls of {PART}. The program is given, theirs "
    "the model writes. To see errors add up, calls are asked in a hurry, too: in too few loops. "
    "The recipe had re-embedding when these seeds ran",
)
MODELS = {"sees 3 tokens": {}, "sees all": dict(position="relative")}
WAYS = ("calls", "loops")
RIGHT = 0.9  # from here on a way counts as one that answers


@torch.no_grad()
def answer_by_calls(model, task, tokens, loops):
    """The answers (B,) to questions (B, 1 + hops), PART hops a call."""
    place = tokens[:, :1]
    for relations in tokens[:, 1:].split(PART, dim=1):
        place = model(torch.cat((place, relations), dim=1), loops)[:, -1:].argmax(-1)
    return place[:, 0]


def measure(lab):
    for name, flags in MODELS.items():
        model, task, _ = lab.train(name, task="multihop", **flags)
        val = lab.by_loop(model, task, PART, 2 * PART, "val")
        enough = val.index(max(val)) + 1
        few = next(loops for loops, right in enumerate(val, 1) if right >= 0.6 * max(val))
        for hops in HOPS:
            batch = task.batch("test", 0, lab.examples, hops)
            for way, loops in {"calls": enough, "hurried calls": few}.items():
                answers = answer_by_calls(model, task, batch.tokens, loops)
                right = (answers == batch.targets[:, -1]).float().mean().item()
                cost = hops // PART * (PART + 1) * loops  # tokens x loops
                yield dict(model=name, hops=hops, way=way, right=right, cost=cost)
            right, loops = lab.best(model, task, hops, hops * 5 // 4 + 8)
            yield dict(model=name, hops=hops, way="loops", right=right, cost=(hops + 1) * loops)


def judge(table):
    parts = []
    for name in MODELS:
        far = dict(model=name, hops=HOPS[-1])
        calls, loops = (table.values("right", **far, way=way) for way in ("calls", "loops"))
        short = table.values("right", model=name, hops=PART, way="loops")
        learned = {f"{name}, {PART} hops,": (short, 0.9)}
        if np.mean(loops) < RIGHT:  # too long for one call
            answered = f"{name}, calls answer"
            parts.append(reaches(answered, calls, RIGHT, weak=loops, learned=learned))
        else:  # one call is enough: what it costs
            cost, of_one = (np.array(table.values("cost", **far, way=way)) for way in WAYS)
            cheap = f"{name}, calls cost less"
            parts.append(more(cheap, of_one, cost, learned=learned, questions=0))

    ours = table.tell(["model", "way"], dict(right=2, cost=0), hops=HOPS[-1], way=WAYS)
    hurried = [f"{HOPS[-1]} hops, cost in tokens x loops: {ours}"]
    for name in MODELS:
        where = dict(model=name, way="hurried calls")
        once, four = (table.said("right", **where, hops=hops) for hops in (PART, 4 * PART))
        expected = np.median([p**4 for p in table.values("right", **where, hops=PART)])
        hurried.append(
            f"{name}: in too few loops a call is right {once}, four in a row {four} "
            f"(p^4 is {expected:.2f})"
        )
    return "; ".join(hurried), parts


def draw(table):
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.8), layout="constrained")
    for name, style in zip(MODELS, ("-", "--")):
        for way, color in {"calls": BLUE, "loops": ORANGE, "hurried calls": GREY}.items():
            where = dict(model=name, way=way)
            label = f"by {way}, {name}"
            table.plot(left, "hops", "right", style, color=color, label=label, **where)
            answered = [hops for hops in HOPS if table.median("right", **where, hops=hops) >= RIGHT]
            if way != "hurried calls":
                cost = [table.median("cost", **where, hops=hops) for hops in answered]
                right.plot(answered, cost, style, marker=".", color=color)
        once = table.median("right", model=name, way="hurried calls", hops=PART)
        label = "p^n" if name == "sees all" else None
        left.plot(HOPS, [once ** (hops / PART) for hops in HOPS], "k:", lw=1, label=label)
    left.set(xlabel="hops", ylabel="accuracy (test)", ylim=(-0.02, 1.02))
    right.set(xlabel=f"hops (where {RIGHT} are right)", ylabel="cost (tokens x loops)")
    right.set_ylim(0, 4000)
    for axis in (left, right):
        axis.set(xscale="log", xlim=(HOPS[0] * 0.9, HOPS[-1] * 1.1))
        axis.set_xticks(HOPS, HOPS)
        axis.minorticks_off()
    left.legend(fontsize=7, loc="lower left")
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
