"""
Solve the Loop: Attractor Models (Fein-Ashley, Rashidinejad 2026, arXiv 2605.12466), after Deep
Equilibrium Models (Bai, Kolter, Koltun 2019, arXiv 1909.01377)

A loop f that comes to rest ends at a state h with h = f(h), whatever the way there. So the way need
not be remembered. The loop runs without a gradient until it moves the state by less than
`tolerance`. The gradient is then that of the equation. Let g be the gradient of the loss at the
state at rest, and J = df/dh. The weights get

    u df/dweights    with u = g + u J, that is u = g + g J + g J J + ..

A term of this sum is the one before it, sent backwards through one loop. So training keeps two
loops in memory, whether the state took 10 loops to come to rest or 1,000. If the sum is cut off
after k terms, the gradient is that through the last k loops of a loop at rest. One step is the
first term in the paper of 2026, and the first two in the code of its authors. All of it is true
only at rest, and the sum has a limit only where the loop brings states nearer to each other. A term
that is longer than the one before it is therefore cut to its length, for each sequence.

In the attractor model the prelude proposes the state. A loop takes the proposal e, and adds what
its branches find in h + e, times a gate that starts small. So the loop brings states nearer to each
other, at least at first.

What is different here: the loop, h <- e + gate * branches(h + e), and the gradient of its last
state. (The paper of 2019 solves both equations with Broyden's method, that of 2026 with Anderson
acceleration; here loops are simply repeated. Theirs has a gate in each branch, which in a
configuration for Sudoku starts at 0.5 and is at most 0.75. The model for Sudoku that the paper
describes is another: a tiny recursive model, papers/tiny_recursive_model.py, without gates and with
a penalty on J, whose gradient goes through a few more loops at rest. The code of its authors cuts
only the second term.)

    python train.py --task sudoku --model attractor --n_prelude 1 --loops 24
    python -m claims.attractor
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from looped import Config, LoopedGPT, settle


@dataclass
class AttractorConfig(Config):
    norm: Literal["pre", "post", "sandwich"] = "pre"
    gate_start: float = 0.25  # share of what the branches find, at the start, in each channel
    tolerance: float = 0.01  # the state rests if |f(h) - h| / |h| is less; the sum ends likewise
    terms: int = 12  # the most terms of the sum u; 0: a gradient through all loops

    def __post_init__(self):
        self.loss = "final"  # a state on the way has no gradient
        super().__post_init__()
        if not 0 < self.gate_start < 1 or self.terms < 0 or self.tolerance < 0:
            raise ValueError("gate_start is in 0..1; terms and tolerance are not negative")
        if self.norm != "pre" or self.injection != "add":
            raise ValueError("an attractor has pre-norm, and its own way to add e")
        if self.backprop_loops or not self.tied:
            raise ValueError("an attractor has one loop, and no backprop_loops: see terms")


class Attractor(LoopedGPT):
    config_class = AttractorConfig

    def __init__(self, config):
        super().__init__(config)
        logits = torch.full((config.n_embd,), math.log(config.gate_start / (1 - config.gate_start)))
        self.gate = nn.Parameter(logits)

    def loop(self, h, e, t, positions):
        found = super().loop(h, e, t, positions) - (h + e)  # with pre-norm: the sum of the branches
        return e + self.gate.sigmoid() * found

    def think(self, tokens, loops=None, h=None):
        """The state at rest, or after `loops` loops if it does not come to rest before."""
        if self.config.terms == 0:
            return super().think(tokens, loops, h)
        with torch.no_grad():
            h = self.rest(tokens, loops, h)
        if not torch.is_grad_enabled():
            return h
        _, e, positions = self.begin(tokens)
        last = self.loop(h, e, 0, positions)
        last.register_hook(self.sum_of_terms(h, e.detach(), positions))
        return last

    def rest(self, tokens, loops, h):
        before = None
        for h in self.states(tokens, loops, h):
            if before is not None:
                moved = settle(self, before, h, None, None)
                if (moved < self.config.tolerance).all():
                    break
            before = h
        return h

    def sum_of_terms(self, h, e, positions):
        """A function that makes u of the gradient g at the state h; all are (B, T, C)."""
        h = h.detach().requires_grad_()
        after = self.loop(h, e, 0, positions)

        def from_gradient(g):
            u = term = g
            for _ in range(self.config.terms - 1):
                (longer,) = torch.autograd.grad(after, h, term, retain_graph=True)
                term = cut(longer, to=term)
                u = u + term
                if term.norm() < self.config.tolerance * u.norm():
                    break
            return u

        return from_gradient


def cut(term, to):
    """A term (B, T, C), but for no sequence longer than another one."""
    length, most = (each.flatten(1).norm(dim=1) for each in (term, to))
    share = (most / length.clamp(min=1e-30)).clamp(max=1)
    return term * share[:, None, None]
