"""
Mano, from Ouro: Scaling Latent Reasoning via Looped Language Models (Zhu et al. 2025, arXiv 2510.25741)

Sums and products mod 7 with the operator in front: little to remember, much to do. Ouro asks with it (and with a test
of how many facts a parameter can hold, which is not tried here) what loops are good for: not for knowing more, but for
doing more with it. k x L is k layers looped L times; if depth is what counts, 2 x 3 beats 2 x 1, which has the same
parameters, and does as well as 6 x 1, which has three times as many and computes as much.

What changes in the loop: nothing.

    python papers/mano.py          4 minutes a seed on one core
"""

from dataclasses import dataclass

import torch
from experiment import Paper, between, draw_bars, median, run_paper

from figures import WIDTH, plt, seeds_text
from tasks import IGNORE, Task

PAPER = Paper(
    name="mano",
    title="Mano, from Ouro (Zhu et al. 2025)",
    arxiv="2510.25741",
    changes="nothing: 2 layers looped 3 times beside 2, and beside 6 different ones",
    claim="where facts have to be combined, 2 looped layers do what a stack as deep does, and 2 layers do not",
    theirs="16 operations mod 23: 2x1 0.08, 2x6 0.96, 12x1 0.94",
    note="4 operations mod 7, depth 6 instead of 12. In minutes nothing but the tables is learnt: 2x3 is at chance "
    "from 3 operations on, also with a curriculum, with every formula's value as a target, or our injection and norm",
)


@dataclass
class Mano(Task):
    """
    Arithmetic mod 7, operators first: nothing to remember, much to do (Allen-Zhu 2025).

        "* + 3 5 2 = -> 2"      (3 + 5) * 2 mod 7, read at "="
    """

    operations: int = 4  # the most operators in training

    unit = "operations"

    def __post_init__(self):
        self.max_difficulty = self.operations
        self.vocab_size, self.block_size = 12, 2 * self.operations + 2  # 0..6, +, -, *, =, padding

    def question(self, generator, difficulty):
        B, T = len(difficulty), 2 * max(self.operations, int(difficulty.max())) + 2
        coin = torch.randint(2, (B, T), generator=generator) == 1
        number, operator = (torch.randint(*span, (B, T), generator=generator) for span in ((0, 7), (7, 10)))
        tokens, left, missing = torch.full((B, T), 11), difficulty.clone(), torch.ones(B, dtype=torch.long)
        for i in range(T):  # `missing` values, `left` operators are still to come
            operates = (left > 0) & ((missing == 1) | coin[:, i])
            tokens[:, i] = torch.where(operates, operator[:, i], number[:, i])
            tokens[:, i] = tokens[:, i].masked_fill(missing == 0, 10).masked_fill(missing < 0, 11)
            left, missing = left - operates.long(), missing + 2 * operates.long() - 1
        return tokens

    def measure(self, tokens):
        return ((tokens >= 7) & (tokens < 10)).sum(1)

    def answer(self, tokens):
        rows, stack = torch.arange(len(tokens)), torch.zeros_like(tokens)
        size = torch.zeros_like(tokens[:, 0])  # of each row's stack; the question is read from its end
        for token in tokens.flip(1).T:
            a, b, kind = stack[rows, size - 1], stack[rows, size - 2], torch.where(token < 7, 10, token)
            values = torch.stack((a + b, a - b, a * b, token))[(kind - 7).clamp(max=3), rows] % 7
            size = size + (token < 7).long() - ((token >= 7) & (token < 10)).long()
            stack[rows, size - 1] = torch.where(token < 10, values, stack[rows, size - 1])
        return stack[:, :1].expand_as(tokens).masked_fill(tokens != 10, IGNORE)

    def belongs(self, tokens, split):
        return super().belongs(tokens, split) | (self.measure(tokens) == 1)  # the tables themselves are in every split

    def show(self, tokens, prediction=None):
        end = tokens.tolist().index(10)
        text = " ".join("0123456+-*="[token] for token in tokens[: end + 1].tolist())
        return text if prediction is None else f"{text} -> {int(prediction[end])}"


# -----------------------------------------------------------------------------
# The claim

MODELS = {"2x1": dict(n_core=2, loops=1), "2x3": dict(n_core=2, loops=3), "6x1": dict(n_core=6, loops=1)}
ALL = dict(task="mano", sampler="fixed", curriculum=False, injection="none", norm="pre", reach=10, steps=1800)


def measure(lab):
    found = {}
    for label, sizes in MODELS.items():
        model, task, _ = lab.train(label, **ALL, **sizes)
        for operations in range(1, task.max_difficulty + 1):
            found[f"{operations}, {label}"] = lab.by_loop(model, task, operations, sizes["loops"])[-1]
    return found


def judge(found):
    hardest = max(int(name.split(",")[0]) for name in found[0] if "," in name)
    few, looped, stack = (median(found, f"{hardest}, {label}") for label in MODELS)
    shown = looped > few + 0.2 and looped > stack - 0.05
    numbers = "; ".join(f"{label} {between(found, f'{hardest}, {label}')}" for label in MODELS)
    verdict = "reproduced" if shown else "not reproduced"
    if max(few, looped, stack) < 0.5:
        verdict += ": no model learns it in these steps"  # which says nothing about loops
    return f"{hardest} operations: {numbers} (chance 0.20)", verdict


def draw(found):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    groups = [name.split(",")[0] for name in found[0] if name.endswith(", 2x1")]
    draw_bars(axis, found, groups, MODELS)
    axis.axhline(0.2, color="k", lw=0.8, ls=":", label="the commonest answer")
    axis.set(xlabel="operations (trained on all of these)", ylabel="accuracy (test)", ylim=(0, 1.05))
    axis.legend(title="layers x loops", loc="upper center", ncols=4, bbox_to_anchor=(0.5, 1.3))
    few, looped, stack = (median(found, f"{groups[-1]}, {label}") for label in MODELS)
    said = f"{groups[-1]} operations: 2 layers {few:.2f}, looped 3 times {looped:.2f}, 6 layers {stack:.2f}"
    figure.suptitle(f"{said} ({seeds_text(len(found))})")
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
