"""
Recursive Language Models (Zhang, Kraska and Khattab 2025, arXiv 2512.24601)

A question that is too long for a model can be taken apart by a program, which calls the model on
each part and joins the answers. Here the program is three lines: walk 6 hops, start the next 6
where those ended, and so on. That is a loop, too, but one around the model: what goes from one turn
to the next is a word, not a state. A word drops what was not quite right in the state; but an error
stays: if a call is right with probability p, n calls in a row are right with p^n. So parts that are
longer than the questions of training cost something else than time.

In the loop nothing changes. Two models walk by loops: the recipe of multi-hop, which sees three
tokens at a time and can walk 48 hops in one call, and one that sees all of them and cannot.

    python -m claims.recursive_calls --seeds 40 41 42 43 44    4 to 7 minutes a seed on one core
"""

import torch

from claims.experiment import Claim, mean, run_claim
from claims.parts import reaches
from support.figures import BLUE, ORANGE, WIDTH, plt

TRAINED = 6  # hops at most in training
LONG = 48  # hops of the question that is taken apart
PARTS = (4, 6, 8, 12, 24, LONG)  # hops in a call; the last is one call for all
CLAIM = Claim(
    name="recursive_calls",
    title="Recursive Language Models (Zhang et al. 2025)",
    arxiv="2512.24601",
    changes="nothing: a program calls the model on parts of the question",
    claim="calls on parts answer questions that are too long for one call",
    theirs="inputs up to a hundred times longer than the context, at comparable cost (in its first "
    "version: or less)",
    falls="eight calls in a row are right less often than 0.9 where one call fails. A call of the "
    "trained length is right nearly always, so this is a demonstration; what it costs is told "
    "beside",
    tried="one setting, that of the task's recipe. With re-embedding, which was in the recipe then "
    "(seeds 20 to 22), calls of 6 hops were right 1.00 in both models, one call 1.00 and 0.03",
    note=f"multi-hop, trained to {TRAINED} hops; a question of {LONG} hops. The program is given, "
    "theirs the model writes",
)
MODELS = {"sees 3 tokens": {}, "sees all": dict(position="relative")}
RIGHT = 0.9


@torch.no_grad()
def answer_by_calls(model, tokens, part, loops):
    """The answers (B,) to questions (B, 1 + hops), so many hops a call."""
    place = tokens[:, :1]
    for relations in tokens[:, 1:].split(part, dim=1):
        place = model(torch.cat((place, relations), dim=1), loops)[:, -1:].argmax(-1)
    return place[:, 0]


def measure(lab):
    for name, flags in MODELS.items():
        model, task, _ = lab.train(name, task="multihop", **flags)
        batch = task.batch("test", 0, lab.examples, LONG)
        for part in PARTS:
            once, loops = lab.best(model, task, part, part * 5 // 4 + 8)
            answers = answer_by_calls(model, batch.tokens, part, loops)
            right = mean(answers == batch.targets[:, -1])
            calls = LONG // part
            cost = calls * (part + 1) * loops  # tokens x loops
            row = dict(model=name, hops=part, right=right, once=once)
            yield row | dict(expected=once**calls, cost=cost)


def judge(table):
    name = "sees all"
    right = {part: table.values("right", model=name, hops=part) for part in PARTS}
    once = table.values("once", model=name, hops=TRAINED)
    learned = {f"{name}, {TRAINED} hops,": (once, 0.9)}
    to = dict(weak=right[LONG], learned=learned)
    parts = [reaches("calls answer where one call fails", right[TRAINED], RIGHT, **to)]
    ours = table.tell(["model", "hops"], dict(right=2, once=2, expected=2, cost=0))
    head = f"{LONG} hops right, by hops in a call (once: a call, p; expected: p^n; cost: tokens x"
    return f"{head} loops): {ours}", parts


def draw(table):
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.8), layout="constrained")
    for name, color in zip(MODELS, (BLUE, ORANGE)):
        table.plot(left, "hops", "right", color=color, label=name, model=name)
        expected = [table.median("expected", model=name, hops=part) for part in PARTS]
        left.plot(PARTS, expected, ":", color=color, label=f"p^n, {name}")
        table.plot(right, "hops", "cost", color=color, label=name, model=name)
    left.set(ylabel=f"{LONG} hops right (test)", ylim=(-0.02, 1.02))
    right.set(ylabel="cost (tokens x loops)", ylim=(0, None))
    for axis in (left, right):
        axis.set(xscale="log", xlabel=f"hops in a call (training: up to {TRAINED})")
        axis.set_xticks(PARTS, PARTS)
        axis.minorticks_off()
    left.legend(fontsize="small")
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
