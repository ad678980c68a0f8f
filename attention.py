"""
Attention, as in any GPT: the layer, the cache, and the positions that it is told. Nothing here knows of loops, and who
knows nanoGPT may skip it: looped.py asks Positions once a call, and all layers of all loops are told the same.
Shapes: B sequences, T tokens, C channels, H heads of D = C / H channels each.
"""

import math
from typing import NamedTuple

import torch
import torch.nn as nn
from torch.nn import functional as F


def RMSNorm(width):
    return nn.RMSNorm(width, eps=torch.finfo(torch.float32).eps)  # in bfloat16, too


def init_weights(module):
    if isinstance(module, nn.Linear):  # each layer keeps the scale of its input, so a loop matters from the start
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_head, self.causal = config.n_head, config.causal
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.out = nn.Linear(config.n_embd, config.n_embd, bias=False)

    def forward(self, x, where, cache=None, key=None):
        B, T, C = x.shape
        q, k, v = self.qkv(x).split(C, dim=2)
        D = C // self.n_head
        q, k, v = (part.view(B, T, self.n_head, D).transpose(1, 2) for part in (q, k, v))  # (B, H, T, D) each
        if where.rotation is not None:
            q, k = rotate(q, *where.rotation), rotate(k, *where.rotation)
        if cache is not None:
            k, v = cache.extend(key, k, v)  # (B, H, earlier tokens + T, D)
        y = self.attend(q, k, v, where.bias)
        return self.out(y.transpose(1, 2).reshape(B, T, C))

    def attend(self, q, k, v, bias):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=self.causal and bias is None)


# -----------------------------------------------------------------------------
# The cache


class Cache:
    """
    The keys and values of earlier tokens. The state of an earlier token in loop t never changes again, so each layer
    keeps a pair for each loop, and a new token looks at it in its own loop t.
    """

    def __init__(self):
        self.length = 0  # tokens taken in so far
        self.loops = None  # how often each of them was looped
        self.kept = {}  # key, such as ("core", loop, layer): keys and values (B, H, length, D)

    def extend(self, key, k, v):
        """Put the keys and values (B, H, T, D) of new tokens behind those kept at a key; returns all of them."""
        if key in self.kept:
            earlier_k, earlier_v = self.kept[key]
            k, v = torch.cat((earlier_k, k), dim=2), torch.cat((earlier_v, v), dim=2)
        self.kept[key] = k, v
        return k, v


# -----------------------------------------------------------------------------
# Positions


class Where(NamedTuple):
    """Where T new tokens stand, `offset` cached ones before them."""

    rotation: tuple | None  # cosines and sines (T, D) for `rotate`, if positions are rotary
    bias: torch.Tensor | None  # what is added to the attention scores (H or 1, T, offset + T); -inf hides


def rotate(x, cos, sin):
    """Turn the channels (i, i + D/2) of x (B, H, T, D) by the angle of their position."""
    return x * cos + x.roll(x.shape[-1] // 2, dims=-1) * sin  # the minus sign of a rotation is in `sin`


class Positions(nn.Module):
    """
    none      attention cannot tell keys apart, but for the causal mask
    rope      rotary: queries and keys are turned by angles that grow with the position (Su 2021)
    alibi     a fixed penalty that grows with the distance (Press 2022)
    relative  a learned bias for the distances 0, 1, .., reach - 2 and one for all beyond, so that no sequence is too
              long for it (after T5, Raffel 2020)
    window    the same for the distances 0, 1, .., reach - 1, and nothing beyond is seen: attention cannot leak to far
              tokens, and each loop looks (reach - 1) places further back
    grid      boards: a learned bias for each way in which two cells can share their coordinates, such as the row alone
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        if config.position in ("relative", "window"):
            self.bias = nn.Parameter(torch.zeros(config.n_head, config.reach))
        if config.position == "grid":
            cells = torch.tensor(config.coordinates)  # (T, axes)
            same = (cells[:, None] == cells[None]).long()  # (T, T, axes): do two cells share row, column, box?
            binary = (same << torch.arange(cells.shape[1])).sum(2)  # (T, T): the three answers as a number, 0..7
            self.register_buffer("shared", binary, persistent=False)
            self.bias = nn.Parameter(torch.zeros(config.n_head, 2 ** cells.shape[1]))

    def forward(self, x, offset=0):
        """Where the T tokens of x (B, T, C) stand that follow `offset` cached ones."""
        T, kind = x.shape[1], self.config.position
        keys = torch.arange(offset + T, device=x.device)
        queries = keys[offset:, None]
        distance = (queries - keys).abs()
        rotation = bias = None
        if kind == "rope":
            D = self.config.n_embd // self.config.n_head
            angles = queries * 10000.0 ** (-torch.arange(0, D, 2, device=x.device) / D)  # (T, D/2)
            cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
            rotation = torch.cat((cos, cos), dim=1), torch.cat((-sin, sin), dim=1)
        if kind == "alibi":
            slopes = 2.0 ** (-8 * torch.arange(1, self.config.n_head + 1, device=x.device) / self.config.n_head)
            bias = (-slopes[:, None, None] * distance).to(x.dtype)
        if kind in ("relative", "window"):
            bias = self.bias[:, distance.clamp(max=self.config.reach - 1)]
        if kind == "window":
            bias = bias.masked_fill(distance >= self.config.reach, -math.inf)
        if kind == "grid":
            if T != len(self.shared):
                raise ValueError(f"position='grid' was built for {len(self.shared)} cells, not {T}")
            bias = self.bias[:, self.shared]
        if self.config.causal and (bias is not None or offset):  # otherwise attention hides the future by itself
            bias = torch.zeros(1, T, offset + T, device=x.device, dtype=x.dtype) if bias is None else bias
            bias = bias.masked_fill(keys > queries, -math.inf)
        return Where(rotation, bias)
