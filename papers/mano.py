"""
Mano, from Ouro: Scaling Latent Reasoning via Looped Language Models (Zhu et al. 2025, arXiv 2510.25741)

Sums and products mod 3 with the operator in front: little to remember, much to do. Ouro asks with it (and with a test
of how many facts a parameter can hold, which is capo.py) what loops are good for: not for knowing more, but for doing
more with it. k x L is k layers looped L times; if depth is what counts, 2 x 3 beats 2 x 1, which has the same
parameters, and does as well as 6 x 1, which has three times as many and computes as much.

What changes in the loop: nothing.

    python papers/mano.py          10 minutes a seed on one core
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
    note="3 operations mod 3, depth 6 instead of 12, and the values of the formulas inside are targets, too. Without "
    "these, 3 operations mod 5: 2x1 0.50, 2x3 0.46, 6x1 0.54; with them, 4 operations mod 3: 0.59, 0.75, 0.42, "
    "3 operations mod 5: 0.42, 0.33, 0.53 (seed 0, val). Three times "
    "the steps show it: of 5 operations 2x1 then has 0.65, 2x3 0.99 (20,000 steps, 20 minutes; 6x1 not run)",
)


@dataclass
class Mano(Task):
    """
    Arithmetic mod 3, operators first: nothing to remember, much to do (Allen-Zhu 2025).

        "* + 2 0 2 = -> 1"      (2 + 0) * 2 mod 3, read at "="

    Training needs the steps between, too: at the last token of a formula its value is asked for (of the longest that
    ends there; here 2 at the 0, 1 at the last 2).
    """

    operations: int = 3  # the most operators in training
    modulus: int = 3  # values are 0..modulus - 1
    subformulas: bool = True  # ask for the values of the formulas inside, too

    unit = "operations"

    def __post_init__(self):
        self.max_difficulty = self.operations
        self.vocab_size, self.block_size = self.modulus + 5, 2 * self.operations + 2  # values, +, -, *, =, padding
        self.equals, self.padding = self.modulus + 3, self.modulus + 4

    def is_operator(self, tokens):
        return (tokens >= self.modulus) & (tokens < self.equals)

    def question(self, generator, difficulty):
        B, T = len(difficulty), 2 * max(self.operations, int(difficulty.max())) + 2
        coin = torch.randint(2, (B, T), generator=generator) == 1
        number = torch.randint(self.modulus, (B, T), generator=generator)
        operator = torch.randint(self.modulus, self.equals, (B, T), generator=generator)
        tokens = torch.full((B, T), self.padding)
        left, missing = difficulty.clone(), torch.ones(B, dtype=torch.long)
        for i in range(T):  # `missing` values, `left` operators are still to come
            operates = (left > 0) & ((missing == 1) | coin[:, i])
            tokens[:, i] = torch.where(operates, operator[:, i], number[:, i])
            tokens[missing == 0, i], tokens[missing < 0, i] = self.equals, self.padding
            left, missing = left - operates.long(), missing + 2 * operates.long() - 1
        return tokens

    def measure(self, tokens):
        return self.is_operator(tokens).sum(1)

    def answer(self, tokens):
        targets = torch.full_like(tokens, IGNORE)
        rows, size = torch.arange(len(tokens)), torch.zeros_like(tokens[:, 0])  # the size of each row's stack
        values, ends = torch.zeros_like(tokens), torch.zeros_like(tokens)  # of the formulas on it, the last one on top
        for i in reversed(range(tokens.shape[1])):  # read from its end, each operator finds its two values on the stack
            token, number = tokens[:, i], tokens[:, i] < self.modulus
            operates = self.is_operator(token)
            a, b, end = values[rows, size - 1], values[rows, size - 2], ends[rows, size - 2]
            results = torch.stack((a + b, a - b, a * b))[(token - self.modulus).clamp(0, 2), rows] % self.modulus
            size = size + number.long() - operates.long()
            top = rows[number | operates], size[number | operates] - 1
            values[top] = torch.where(operates, results, token)[number | operates]
            ends[top] = torch.where(operates, end, i)[number | operates]
            if self.subformulas:
                targets[rows[operates], end[operates]] = results[operates]
        return torch.where(tokens == self.equals, values[:, :1], targets)

    def belongs(self, tokens, split):
        return super().belongs(tokens, split) | (self.measure(tokens) == 1)  # the tables themselves are in every split

    def show(self, tokens, prediction=None):
        end = tokens.tolist().index(self.equals)
        text = " ".join(map(self.name, tokens[: end + 1].tolist()))
        return text if prediction is None else f"{text} -> {int(prediction[end])}"

    def name(self, token):
        return str(token) if token < self.modulus else "+-*=."[token - self.modulus]


# -----------------------------------------------------------------------------
# The claim

MODELS = {"2x1": dict(n_core=2, loops=1), "2x3": dict(n_core=2, loops=3), "6x1": dict(n_core=6, loops=1)}
ALL = dict(task="mano", sampler="fixed", curriculum=False, injection="none", norm="pre", reach=8, lr=2e-3, steps=6500)


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
    if not shown and max(looped, stack) < 0.8:
        verdict += ": no model learns it in these steps"  # which says nothing about loops
    return f"{hardest} operations, every value right: {numbers}", verdict


def draw(found):
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    groups = [name.split(",")[0] for name in found[0] if name.endswith(", 2x1")]
    draw_bars(axis, found, groups, MODELS)
    axis.set(xlabel="operations (trained on all of these)", ylabel="every value right (test)")
    axis.set_ylim(0, 1.05)
    axis.legend(title="layers x loops", loc="upper center", ncols=3, bbox_to_anchor=(0.5, 1.3))
    few, looped, stack = (median(found, f"{groups[-1]}, {label}") for label in MODELS)
    said = f"{groups[-1]} operations: 2 layers {few:.2f}, looped 3 times {looped:.2f}, 6 layers {stack:.2f}"
    figure.suptitle(f"{said} ({seeds_text(len(found))})")
    return figure


if __name__ == "__main__":
    run_paper(PAPER, measure, judge, draw)
