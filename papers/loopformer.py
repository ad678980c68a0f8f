"""
LoopFormer: Elastic-Depth Looped Transformers for Latent Reasoning via Shortcut Modulation
(Jeddi, Ciccone, Taati 2026, arXiv 2602.11451)

Think of the loops as a way from time 0 to time 1. The long route takes it in L small steps, a short
route in fewer and larger ones. Each loop is told the time and the size of its step, so that the
same weights can take either. Training takes two routes in every step: the long one, and a short one
drawn at random, which learns the truth and imitates where the long one ended:

    loss = L(long) + 0.1 L(short) + 0.1 |end of the short route - end of the long one|^2

The long route does not pay for the imitation. At test one names a budget of M <= L loops. (ELT,
papers/elastic.py, takes the first M loops of the long route instead.)

What is different here: each norm of the core is scaled and each branch gated by what the loop is
told, and the loss takes two routes. As in the authors' code, the core is pre-norm and the question
enters only at the start. It is ours that the steps of a budget differ by at most 1 / L, the larger
ones first, and that all gates start at exactly zero.

    python train.py --task multihop --model loopformer --sampler fixed --loops 8
    python -m claims.loopformer
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from looped import Block, Config, LoopedGPT, init_weights


@dataclass
class LoopFormerConfig(Config):
    injection: Literal["none", "add", "concat"] = "none"
    norm: Literal["pre", "post", "sandwich"] = "pre"
    told: bool = True  # tell each loop its time and step; False: loops differ in nothing
    short: float = 0.1  # weight of the loss of the short route, and of its imitation

    def __post_init__(self):
        super().__post_init__()
        if not self.tied or self.norm != "pre":
            raise ValueError("loopformer has one core, with pre-norm: leave out tied and norm")


class ModulatedBlock(Block):
    """A block whose norms are scaled, and whose branches are gated, by a signal (B, C)."""

    def __init__(self, config):
        super().__init__(config)
        self.modulate = nn.Linear(config.n_embd, 4 * config.n_embd)

    def forward(self, x, positions, signal):
        parts = self.modulate(F.silu(signal))[:, None].chunk(4, dim=2)  # (B, 1, C) each
        gate_attention, gate_mlp, scale_attention, scale_mlp = parts
        seen = self.before_attention(x) * (1 + scale_attention)
        x = x + gate_attention * self.attention(seen, positions)
        return x + gate_mlp * self.mlp(self.before_mlp(x) * (1 + scale_mlp))


class Clock(nn.Module):
    """Numbers (B,) between 0 and 1 as vectors (B, C): sines and cosines, and a small net."""

    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, number):
        angle = number[:, None] * 10000 ** (-torch.arange(128, device=number.device) / 128)
        return self.net(torch.cat((angle.cos(), angle.sin()), dim=1))


class LoopFormer(LoopedGPT):
    config_class = LoopFormerConfig

    def __init__(self, config):
        super().__init__(config)
        self.time, self.step = Clock(config.n_embd), Clock(config.n_embd)
        self.core = nn.ModuleList(ModulatedBlock(config) for _ in range(config.n_core))
        for part in (self.time, self.step, self.core):
            part.apply(init_weights)
        for block in self.core:  # at first a loop changes nothing
            nn.init.zeros_(block.modulate.weight)
            nn.init.zeros_(block.modulate.bias)

    def loop(self, h, e, t, positions):
        """Loop t of the long route."""
        full = torch.ones(len(h), device=h.device) / self.config.loops
        return self.move(h, e, t * full, full, positions)

    def move(self, h, e, time, step, positions):
        """One loop from `time` to time + step, (B,) each."""
        h = self.inject(h, e)
        if not self.config.told:
            time, step = torch.zeros_like(time), torch.zeros_like(step)
        signal = self.time(time) + self.step(step)
        for block in self.core:
            h = block(h, positions, signal)
        return h

    def forward(self, tokens, loops=None):
        return self.readout(self.think(tokens, loops))

    def states(self, tokens, loops=None, h=None):
        """The states on the way of a budget, which may differ from sequence to sequence."""
        loops = torch.as_tensor(self.config.loops if loops is None else loops)
        return self.travel(tokens, self.route(loops.expand(len(tokens))), h)

    def route(self, budgets):
        """
        Steps (B, most) of 0 to L units of 1 / L, for budgets (B,) of loops. With L = 8, a budget of
        3 is 3 3 2, and one of 10, which training never saw, goes on beyond the time 1.
        """
        L, number = self.config.loops, torch.arange(int(budgets.max()))
        budgets = budgets.cpu()[:, None]
        units = L // budgets + (number < L % budgets).long()
        return units.clamp(min=1) * (number < budgets)

    def travel(self, tokens, route, h=None):
        """The states before and after each step of a route (B, steps); steps of 0 are left out."""
        first, e, positions = self.begin(tokens)
        h = first if h is None else h
        yield h
        time = torch.zeros(len(h), device=h.device)
        for units in route.to(h.device).T:
            step = units / self.config.loops
            after = self.move(h, e, time, step, positions)
            h = torch.where(step[:, None, None] > 0, after, h)
            time = time + step
            yield h

    def loss(self, tokens, targets, loops=None):
        long = self.think(tokens, loops)
        losses, prediction = self.token_losses(long, targets)
        if self.config.loops == 1 or not self.config.short:
            return losses.mean(), prediction
        route = shortcut(self.config.loops).expand(len(tokens), -1)
        *_, short = self.travel(tokens, route)
        from_truth, _ = self.token_losses(short, targets)
        imitation = F.mse_loss(self.norm(short), self.norm(long).detach())
        extra = from_truth.mean() + imitation
        return losses.mean() + self.config.short * extra, prediction


def shortcut(L):
    """A route of 1 to L - 1 steps, drawn step by step as the authors draw it, (steps,)."""
    left = int(torch.randint(1, L, ()))  # steps
    route, way = [], L
    while left > 1:
        route.append(int(torch.randint(1, way - left + 2, ())))  # leaves 1 unit for each step
        way, left = way - route[-1], left - 1
    return torch.tensor([*route, way])
