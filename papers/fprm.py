"""
FPRM, Fixed-Point Reasoners: Stable and Adaptive Deep Looped Transformers (Movahedi et al. 2026,
arXiv 2606.18206)

A loop with pre-norm adds to its state without end, and one with post-norm weakens the gradient in
every layer. FPRM has pre-norm and scales what is kept and what is added, with a in 0..1 for each
channel, the same for all layers of the loop, and c in 0..1 at its entry:

    h <- c h + d e,    then for each branch    h <- a h + b branch(norm(h))

Of N branches d = 1 - c a^N and b = d (1 - a) / (1 - a^N), so that a loop keeps c a^N of its state,
and the rest of it is new. Such a state can come to rest, and that is when FPRM halts: once no
position moves by more than a tenth, in the channel that moves the most. Where a state does not get
nearer to rest for five loops, it is about to swing, and its steps become smaller.

What is different here: the scales in the loop, the step, and an exit rule "rest". (Theirs halts in
training as well and learns from a loss after every six loops, as tiny_recursive_model.py does; it
starts from noise, has a convolution in the loop, and damps by 0.9 in training. Here the loss is
that of looped.py.)

    python train.py --task sudoku --model fprm
    model.solve(tokens, rule="rest")
    python -m claims.fprm
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import nn

from looped import Config, LoopedGPT

NEAR = 0.1  # how far a state at rest moves at most
PATIENCE = 5  # loops without progress before a step becomes smaller


@dataclass
class FixedPointConfig(Config):
    norm: Literal["pre", "post", "sandwich"] = "pre"
    keep_layer: float = 0.75  # a at the start
    keep_loop: float = 0.25  # c at the start
    damping: float = 0.99  # what a step is multiplied by if there is no progress; 1: never

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.keep_layer < 1 or not 0 < self.keep_loop < 1 or not 0 < self.damping <= 1:
            raise ValueError("keep_layer, keep_loop and damping are shares between 0 and 1")
        if self.norm != "pre" or self.injection != "add" or not self.tied:
            raise ValueError("fprm has pre-norm, an injection of its own, and one loop")


class Parts(NamedTuple):
    h: torch.Tensor  # (B, T, C)
    moved: torch.Tensor  # (B, T, 1), the same for all T, as those below: how far, in this loop
    least: torch.Tensor  # (B, T, 1), the least of these so far
    patience: torch.Tensor  # (B, T, 1), loops without progress that are left
    step: torch.Tensor  # (B, T, 1), which share of the way a loop goes


def rest(model, before, state, answer_mask, last):
    """An exit rule: how far the loop would move the position that moves the most, (B,)."""
    return model.parts(state).moved[:, 0, 0]


class FixedPointReasoner(LoopedGPT):
    config_class = FixedPointConfig
    exit_rules = LoopedGPT.exit_rules | {"rest": (rest, NEAR)}

    def __init__(self, config):
        super().__init__(config)
        for name in ("keep_layer", "keep_loop"):
            share = getattr(config, name)
            logits = torch.full((config.n_embd,), math.log(share / (1 - share)))
            setattr(self, name, nn.Parameter(logits))

    def parts(self, state):
        return Parts(*state.split((self.config.n_embd, 1, 1, 1, 1), dim=-1))

    def proper_state(self, state):
        return self.parts(state).h

    def readout(self, state):
        return super().readout(self.proper_state(state))

    def begin(self, tokens):
        h, e, positions = super().begin(tokens)
        one = torch.ones_like(h[..., :1])
        never = torch.full_like(one, math.inf)
        return torch.cat((h, never, never, PATIENCE * one, one), dim=-1), e, positions

    def loop(self, state, e, t, positions):
        h, _, least, patience, step = self.parts(state)
        z = self.scaled_loop(h, e, positions)
        with torch.no_grad():
            moved = (z - h).abs().amax(-1) / z.abs().amax(-1)  # (B, T)
            moved = moved.amax(1)[:, None, None].expand_as(least)
            patience = torch.where(moved < least, PATIENCE, patience - 1)
            stuck = (patience <= 0) & (moved >= NEAR)
            patience = torch.where(stuck, PATIENCE, patience)
            smaller = torch.where(stuck, self.config.damping * step, step)
        h = h + step * (z - h)
        return torch.cat((h, moved, least.minimum(moved), patience, smaller), dim=-1)

    def scaled_loop(self, h, e, positions):
        a, c = self.keep_layer.sigmoid(), self.keep_loop.sigmoid()
        branches = 2 * self.config.n_core
        d = 1 - c * a**branches
        b = d * (1 - a) / (1 - a**branches)
        h = c * h + d * e
        for block in self.core:
            h = a * h + b * block.attention(block.before_attention(h), positions)
            h = a * h + b * block.mlp(block.before_mlp(h))
        return self.reembed(h) if self.config.reembed else h
