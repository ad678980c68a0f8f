"""
CoTFormer: A Chain-of-Thought Driven Architecture with Budget-Adaptive Computation Cost at Inference
(Mohtashami, Pagliardini, Jaggi 2023, arXiv 2310.10845)

In a plain loop a token sees the others as the loop before left them; what they were in earlier
loops is gone. In a chain of thought each thought is a token of its own, and later ones see all of
them. So here a token also sees what all earlier loops made of the tokens up to its own, itself
included:

    loop 0    the keys and values of loop 0
    loop 1    those of loops 0 and 1, in one softmax
    loop 2    those of loops 0, 1 and 2, ..

No weights are added. A key tells where its token stands, not from which loop it is. Attention takes
more time, because loop t has t + 1 times as many keys. To read token by token takes no more memory,
because the plain loop also has to keep the keys and values of every loop.

What is different here: the state also carries the keys and values that each layer of the core made
in each loop, and the layer sees them all, as in the authors' code. (Their LN-CoTFormer has a norm
after each loop, where our norm="post" has one after each branch, and layers outside the loop, which
are --n_prelude and --n_coda. Their router, with which tokens stop early, is not built. Loops beyond
those of training forget the oldest, which is our choice.)

    python train.py --task multihop --model cotformer --sampler fixed --loops 4
    python -m claims.cotformer
"""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from looped import Attention, LoopedGPT, init_weights, rotate


@dataclass
class Memory:
    """In the place of `positions`, for one layer in one loop: these, and what the layer keeps."""

    rotation: tuple | None
    bias: torch.Tensor  # (H or 1, T, T)
    t: int  # the loop, 0, 1, ..
    kept: torch.Tensor  # (B, T, room); the layer puts there what it wants to keep


class RecallingAttention(Attention):
    def __init__(self, config):
        super().__init__(config)
        self.room = config.loops * 2 * config.n_embd  # the numbers that it keeps of a token

    def forward(self, x, memory):
        """As in looped.py, but `recall` says which keys and values are seen."""
        q, k, v = (self.heads(part) for part in self.queries_keys_values(x, memory))
        if memory.rotation is not None:
            q, k = rotate(q, *memory.rotation), rotate(k, *memory.rotation)
        y = self.attend(q, *self.recall(k, v, memory))
        return self.out(y.transpose(1, 2).flatten(2))

    def queries_keys_values(self, x, memory):
        return self.qkv(x).split(x.shape[2], dim=2)

    def heads(self, x):
        return x.unflatten(2, (self.n_head, -1)).transpose(1, 2)  # (B, H, T, D)

    def recall(self, k, v, memory):
        """Those of all loops so far, (B, H, loops * T, D) each, and their bias."""
        now = torch.cat((k, v), dim=3).transpose(1, 2).flatten(2)  # (B, T, 2 C)
        memory.kept = torch.cat((now, memory.kept), dim=2)[..., : self.room]  # the newest first
        filled = memory.kept[..., : (memory.t + 1) * now.shape[2]]
        loops = filled.unflatten(2, (-1, self.n_head, 2 * k.shape[3]))  # (B, T, loops, H, 2 D)
        k, v = loops.permute(0, 3, 2, 1, 4).flatten(2, 3).chunk(2, dim=3)
        return k, v, memory.bias.repeat(1, 1, loops.shape[2])


class CoTFormer(LoopedGPT):
    """The state is [h; what each layer of the core keeps]."""

    attention = RecallingAttention

    def __init__(self, config):
        super().__init__(config)
        for block in self.core:
            block.attention = self.attention(config)
        self.core.apply(init_weights)

    def begin(self, tokens):
        h, e, positions = super().begin(tokens)
        if positions.bias is None:  # `attend` knows how to hide the future of one loop only
            bias = h.new_zeros(1, h.shape[1], h.shape[1])
            if self.config.causal:
                bias = bias.masked_fill(torch.ones_like(bias).triu(1).bool(), -math.inf)
            positions = positions._replace(bias=bias)
        return F.pad(h, (0, sum(self.rooms()))), e, positions

    def rooms(self):
        return [block.attention.room for block in self.core_of(0)]

    def loop(self, state, e, t, positions):
        h, *kept = state.split([self.config.n_embd, *self.rooms()], dim=2)
        h = self.inject(h, e)
        for i, block in enumerate(self.core_of(t)):
            memory = Memory(*positions, t, kept[i])
            h = block(h, memory)
            kept[i] = memory.kept
        h = self.reembed(h) if self.config.reembed else h
        return torch.cat((h, *kept), dim=2)

    def readout(self, state):
        return super().readout(self.proper_state(state))

    def proper_state(self, state):
        return state[..., : self.config.n_embd]
