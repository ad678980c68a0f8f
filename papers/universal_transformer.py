"""
Universal Transformers (Dehghani et al. 2019, arXiv 1807.03819)

The first looped transformer. Sines, added to the state, tell every loop where and when it is. Each
position halts on its own (adaptive computation time, Graves 2016): after a loop it halts with the
chance p = sigmoid(w h + b). Once the sum of its p is almost 1, its state stays as it is. The answer
is read from the average of its states, each weighted by its p; the last state gets what the p leave
of 1. Each loop has a price, `ponder`, in the loss. Sapunov 2026 (2604.21999) starts b at -3.

What is different here: the loop knows t, and the state carries more than h (see Parts).

    python train.py --task multihop --model universal_transformer
    model.solve(tokens, rule="halt")
    python -m claims.universal_transformer
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from looped import Config, LoopedGPT

ALMOST = 0.99  # a position halts when the sum of its p is larger


@dataclass
class UniversalConfig(Config):
    signals: bool = True  # tell every loop the position and its own number
    act: bool = True  # halt each position on its own and average; False: read the last state
    halt_bias: float = -3.0  # b at the start: -3 halts late, 0 after two loops
    ponder: float = 0.01  # what a loop costs, in nats


class Parts(NamedTuple):
    h: torch.Tensor  # (B, T, C)
    total: torch.Tensor  # (B, T, C), the sum of p h over the loops before the last
    spent: torch.Tensor  # (B, T, 1), the sum of these p
    loops: torch.Tensor  # (B, T, 1), the loops that this position took


def halt(model, before, state, answer_mask, last):
    """An exit rule: how much is left of 1 at the answer that halts last."""
    left = 1 - model.parts(state).spent - model.p(state)
    return left[..., 0].masked_fill(~answer_mask, -1).amax(1)


def sines(x, width):
    """Numbers (..) as sines and cosines of wave lengths 2 pi to 20000 pi, (.., width)."""
    angle = x[..., None] / 10000 ** (torch.arange(0, width, 2, device=x.device) / width)
    return torch.cat((angle.sin(), angle.cos()), dim=-1)[..., :width]


class UniversalTransformer(LoopedGPT):
    config_class = UniversalConfig
    exit_rules = LoopedGPT.exit_rules | {"halt": (halt, 1 - ALMOST)}

    def __init__(self, config):
        super().__init__(config)
        self.halt = nn.Linear(config.n_embd, 1)
        nn.init.constant_(self.halt.bias, config.halt_bias)

    def parts(self, state):
        C = self.config.n_embd
        return Parts(*state.split((C, C, 1, 1), dim=-1))

    def proper_state(self, state):
        return self.parts(state).h

    def p(self, state):
        """The chance to halt (B, T, 1); none before the first loop, and none without ACT."""
        h, _, _, loops = self.parts(state)
        halts = (loops > 0) if self.config.act else torch.zeros_like(loops)
        return self.halt(h).sigmoid() * halts

    def begin(self, tokens):
        h, e, positions = super().begin(tokens)
        counters = torch.zeros_like(h[..., :2])
        return torch.cat((h, torch.zeros_like(h), counters), dim=-1), e, positions

    def loop(self, state, e, t, positions):
        h, total, spent, loops = self.parts(state)
        p = self.p(state)
        told = h
        if self.config.signals:
            place = torch.arange(h.shape[1], device=h.device)
            now = torch.full_like(place, t + 1)
            told = h + sines(place, h.shape[-1]) + sines(now, h.shape[-1])
        after = super().loop(told, e, t, positions)
        after = torch.cat((after, total + p * h, spent + p, loops + 1), dim=-1)
        return torch.where(spent + p <= ALMOST, after, state)

    def readout(self, state):
        h, total, spent, _ = self.parts(state)
        return super().readout(total + (1 - spent) * h)

    def loss(self, tokens, targets, loops=None):
        state = self.think(tokens, loops)
        losses, prediction = self.token_losses(state, targets)
        loss = losses.mean()
        if self.config.act:
            _, _, spent, loops_taken = self.parts(state)
            loss = loss + self.config.ponder * (loops_taken + 1 - spent).mean()
        return loss, prediction
