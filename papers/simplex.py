"""
Reasoning on the Simplex: Geometric Fixed-Point Models (Daulbaev et al. 2026, arXiv 2609.33540)

The state of a loop is usually a vector that means nothing before it is read. Here it is the
prediction itself: p, at each position the probabilities of all tokens. Beside the tokens stand
registers, symbols that no answer reads, in which a position may remember something else. A loop
reads p beside the question e, says new probabilities q, and goes a share of the way to them:

    q = softmax(cap(W layers(V p + e))),    p <- p + step (q - p)          cap(x) = 15 tanh(x / 15)

Where the answer is given, as in a cell with a digit, p is pinned to it. So p never leaves its set:
the numbers are at least 0, and at each position their sum is 1. A continuous map of such a set into
itself has a fixed point, whatever the weights are (Brouwer). Whether the loop gets there is up to
training; the loss also asks q to be near p. How far p moves is how far the answer moves, so "rest"
halts once it moves by less than 0.005 at every position (half the sum of all changes there).

What is different here: the state, the step, and what the loss adds. (Theirs runs the layers a few
times in each loop, and each time reads the softmax of the time before, too; it starts a quarter of
the batches from random p instead of equal ones, and has a loss on registers that hold much. Its
loss begins behind a random number of loops, 32 on average, without a gradient to them, and asks q
to be near what is given as well. On Sudoku it halts after two still loops in a row. Here the rest
of the training is that of looped.py. How many registers theirs has on Sudoku, and how V and W
start, is not known to us. Ours make p as wide as the state of the plain loop, and a sure p is read
as loudly as e.)

    python train.py --task sudoku --model simplex --pinned
    model.solve(tokens, rule="rest")
    python -m claims.simplex
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from looped import Config, LoopedGPT

CAP = 15  # of the logits, so that no probability becomes 0
NEAR = 0.005  # how far a prediction at rest moves at most


@dataclass
class SimplexConfig(Config):
    step: float = 0.7  # which share of the way to q a loop goes
    still: float = 0.02  # weight in the loss of |q - p|^2, the mean over positions and loops
    registers: bool = True  # as many as make p n_embd wide; False: none, p is the prediction alone
    pinned: bool = False  # tokens other than 0 are their own answers, as on a board

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.step <= 1 or self.still < 0:
            raise ValueError("step must be above 0 and at most 1, and still not negative")
        if self.registers and self.n_embd < self.vocab_size:
            raise ValueError(f"n_embd={self.n_embd} has no room for {self.vocab_size} tokens")
        if self.n_coda or self.reembed or self.state_init != "embed":
            raise ValueError("the state is the prediction: no coda, reembed or state_init")


def rest(model, before, p, answer_mask, last):
    """An exit rule: the total variation at the position that moves the most, (B,)."""
    return (p - before).abs().sum(-1).amax(1) / 2


class Simplex(LoopedGPT):
    """The state p has the tokens first, then the registers. Behind e stands what is given, or 0."""

    config_class = SimplexConfig
    exit_rules = LoopedGPT.exit_rules | {"rest": (rest, NEAR)}

    def __init__(self, config):
        super().__init__(config)
        self.width = config.n_embd if config.registers else config.vocab_size
        self.read = nn.Linear(self.width, config.n_embd, bias=False)  # V
        self.say = nn.Linear(config.n_embd, self.width, bias=False)  # W
        nn.init.normal_(self.read.weight)
        nn.init.normal_(self.say.weight, std=config.n_embd**-0.5)

    def begin(self, tokens):
        _, e, positions = super().begin(tokens)
        given = F.one_hot(tokens, self.width).to(e.dtype)
        given = given * ((tokens != 0) & self.config.pinned)[..., None]
        equal = torch.full_like(given, 1 / self.width)
        return pin(equal, given), torch.cat((e, given), dim=-1), positions

    def loop(self, p, e, t, positions):
        e, given = e.split((self.config.n_embd, self.width), dim=-1)
        x = super().loop(self.read(p), e, t, positions)
        q = (CAP * (self.say(self.norm(x)) / CAP).tanh()).softmax(-1)
        return p + self.config.step * (pin(q, given) - p)

    def readout(self, p):
        """Logits: their softmax is p without the registers, divided by its sum."""
        return p[..., : self.config.vocab_size].clamp(min=1e-30).log()

    def loss(self, tokens, targets, loops=None):
        states = list(self.states(tokens, loops))
        losses = []
        for p in states[1:] if self.config.loss == "every" else states[-1:]:
            losses_of_state, prediction = self.token_losses(p, targets)
            losses.append(losses_of_state)
        left = torch.stack(states).diff(dim=0) / self.config.step  # q - p in each loop
        still = self.config.still * left.pow(2).sum(-1).mean()
        return torch.stack(losses).mean() + still, prediction


def pin(p, given):
    """p, and where something is given, that."""
    return torch.where(given.any(-1, keepdim=True), given, p)
