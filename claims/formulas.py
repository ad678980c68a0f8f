"""
The task of mano.py, after Allen-Zhu (2025): arithmetic with the operators in front.

    python train.py --task formulas
"""

from dataclasses import dataclass

import torch

from tasks import IGNORE, Task


@dataclass
class Formulas(Task):
    """
    Sums, differences and products mod 3: nothing to remember, much to do.

        "* + 2 0 2 = -> 1"      (2 + 0) * 2 mod 3, read at "="

    Training needs the steps between, too: at the last token of a formula its value is asked for (of
    the longest formula that ends there; here 2 at the 0, 1 at the last 2).
    """

    operations: int = 3  # the most operators in training
    modulus: int = 3  # values are 0..modulus - 1
    subformulas: bool = True  # ask for the values of the formulas inside, too

    unit = "operations"

    def __post_init__(self):
        self.max_difficulty = self.operations
        self.vocab_size = self.modulus + 5  # values, +, -, *, =, padding
        self.equals, self.padding = self.modulus + 3, self.modulus + 4

    def is_operator(self, tokens):
        return (tokens >= self.modulus) & (tokens < self.equals)

    def question(self, generator, difficulty):
        B, T = len(difficulty), 2 * max(self.operations, int(difficulty.max())) + 2
        coin = torch.randint(2, (B, T), generator=generator) == 1
        number = torch.randint(self.modulus, (B, T), generator=generator)
        operator = torch.randint(self.modulus, self.equals, (B, T), generator=generator)
        tokens = torch.full((B, T), self.padding)
        left = difficulty.clone()  # operators still to come
        missing = torch.ones(B, dtype=torch.long)  # values still to come
        for i in range(T):
            operates = (left > 0) & ((missing == 1) | coin[:, i])
            tokens[:, i] = torch.where(operates, operator[:, i], number[:, i])
            tokens[missing == 0, i] = self.equals
            tokens[missing < 0, i] = self.padding
            left = left - operates.long()
            missing = missing + 2 * operates.long() - 1
        return tokens

    def measure(self, tokens):
        return self.is_operator(tokens).sum(1)

    def answer(self, tokens):
        """Read from its end, each operator finds its two values on a stack."""
        targets = torch.full_like(tokens, IGNORE)
        rows = torch.arange(len(tokens))
        size = torch.zeros_like(tokens[:, 0])  # of each row's stack
        values = torch.zeros_like(tokens)  # of the formulas on the stack, the last one on top
        ends = torch.zeros_like(tokens)  # where these formulas end
        for i in reversed(range(tokens.shape[1])):
            token = tokens[:, i]
            number, operates = token < self.modulus, self.is_operator(token)
            a, b, end = values[rows, size - 1], values[rows, size - 2], ends[rows, size - 2]
            operator = (token - self.modulus).clamp(0, 2)
            results = torch.stack((a + b, a - b, a * b))[operator, rows] % self.modulus
            size = size + number.long() - operates.long()
            new = number | operates
            top = rows[new], size[new] - 1
            values[top] = torch.where(operates, results, token)[new]
            ends[top] = torch.where(operates, end, i)[new]
            if self.subformulas:
                targets[rows[operates], end[operates]] = results[operates]
        return torch.where(tokens == self.equals, values[:, :1], targets)

    def belongs(self, tokens, split):
        is_table = self.measure(tokens) == 1  # the tables of +, - and * are in every split
        return super().belongs(tokens, split) | is_table

    def show(self, tokens, prediction=None):
        end = tokens.tolist().index(self.equals)
        text = " ".join(self.name(token) for token in tokens[: end + 1].tolist())
        return text if prediction is None else f"{text} -> {int(prediction[end])}"

    def name(self, token):
        return str(token) if token < self.modulus else "+-*=."[token - self.modulus]
