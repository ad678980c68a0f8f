"""
A looped transformer: one small stack of layers, run as many times as you ask for.

    tokens -> embed -> prelude -> e                    read the question once
    h = h_0
    for t in 1..loops:   h = core(inject(h, e))        think: the same weights every time
    h -> coda -> norm -> head -> logits                answer

Depth is no longer a property of the weights but an argument of the call: `model(tokens, loops=32)`. Every looped
transformer of the literature is a setting of this loop; `Config` names them. Read the file top to bottom: the block
(which is nanoGPT's), what enters it again at every loop, the loop itself, and the ways to stop it.
"""

import math
from collections import defaultdict
from dataclasses import dataclass

import torch
import torch.nn as nn
from torch.nn import functional as F


@dataclass
class Config:
    vocab_size: int
    block_size: int  # longest sequence; only position="learned" builds a table of this size
    n_embd: int = 64  # width of the state, C below
    n_head: int = 4  # attention heads
    n_prelude: int = 0  # layers that run once, before the loop
    n_core: int = 1  # layers inside the loop
    n_coda: int = 0  # layers that run once, after the loop
    loops: int = 8  # loops when the call does not say; for an untied model, the loops it has layers for
    tied: bool = True  # False: loops * n_core layers of their own, the control of equal compute
    injection: str = "add"  # how e enters each loop: none | add | concat (Huginn 2025) | diagonal (Parcae 2026)
    norm: str = "post"  # pre (GPT-2) | post (TRM 2025) | sandwich (Huginn 2025); all RMSNorm
    position: str = "relative"  # none | rope (Su 2021) | alibi (Press 2022) | relative (T5 2020) | learned | grid
    reach: int = 4  # position="relative": distances 0, 1, .. and "reach - 1 or more" each get a learned bias
    coordinates: tuple = ()  # position="grid": the (row, column, box) of each cell; a bias for each way to share them
    state_init: str = "embed"  # h_0: embed (e itself) | zeros (Yang 2024) | noise (Huginn 2025: path independence)
    reembed: bool = False  # write the current prediction back as an embedding between loops (DiscoLoop 2026)
    causal: bool = True  # False: every position sees every other, as a Sudoku needs
    backprop_loops: int = 0  # gradient through the last k loops only (Huginn 2025); 0: through all

    def __post_init__(self):
        """Raises ValueError, in one line, for sizes that cannot work."""
        choices = dict(
            injection=("none", "add", "concat", "diagonal"),
            norm=("pre", "post", "sandwich"),
            position=("none", "rope", "alibi", "relative", "learned", "grid"),
            state_init=("embed", "zeros", "noise"),
        )
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown; choose from {', '.join(allowed)}")
        for name in ("vocab_size", "block_size", "n_embd", "n_head", "n_core", "loops", "reach"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("n_prelude", "n_coda", "backprop_loops"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd={self.n_embd} must be divisible by n_head={self.n_head}")
        if self.position == "rope" and (self.n_embd // self.n_head) % 2:
            raise ValueError(
                f"position='rope' rotates pairs: n_embd / n_head = {self.n_embd // self.n_head} must be even"
            )
        if (self.position == "grid") != bool(self.coordinates):
            raise ValueError("position='grid' and coordinates go together")
        if self.injection == "none" and self.state_init != "embed":
            raise ValueError(
                f"injection='none' with state_init={self.state_init!r}: the model would never see its input"
            )


# -----------------------------------------------------------------------------
# The block: attention and an MLP, as in nanoGPT. Nothing here knows that it is looped.


def rotate(x, angles):
    """Rotary positions: turn each pair of channels of x (B, H, T, D) by its position's angles (T, D / 2)."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_head, self.causal = config.n_head, config.causal
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.out = nn.Linear(config.n_embd, config.n_embd, bias=False)

    def forward(self, x, angles, bias, past):
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.n_head, C // self.n_head).permute(2, 0, 3, 1, 4)  # (B, H, T, D) each
        if angles is not None:
            q, k = rotate(q, angles), rotate(k, angles)
        if past is not None:  # generating: the keys and values of earlier tokens, at this layer of this loop
            if past:
                k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
            past[:] = k, v
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=self.causal and bias is None)
        return self.out(y.transpose(1, 2).reshape(B, T, C))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()

        def norm(schemes):
            return nn.RMSNorm(config.n_embd) if config.norm in schemes else nn.Identity()

        self.attention = Attention(config)
        self.mlp = nn.Sequential(
            nn.Linear(config.n_embd, 4 * config.n_embd, bias=False),
            nn.GELU(),
            nn.Linear(4 * config.n_embd, config.n_embd, bias=False),
        )
        self.before = nn.ModuleList(norm(("pre", "sandwich")) for _ in range(2))
        self.after = nn.ModuleList(norm(("post", "sandwich")) for _ in range(2))

    def forward(self, x, angles=None, bias=None, past=None):
        x = self.after[0](x + self.attention(self.before[0](x), angles, bias, past))
        x = self.after[1](x + self.mlp(self.before[1](x)))
        return x


# -----------------------------------------------------------------------------
# Injection: how the question e enters the state h again at every loop. Without it a long think forgets what was
# asked; with it the loop has a fixed point that depends on the input (Bansal 2022, Blayney 2026).


class Injection(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.kind, C = config.injection, config.n_embd
        if self.kind == "concat":
            self.mix = nn.Linear(2 * C, C, bias=False)  # starts as h + e
        if self.kind == "diagonal":
            self.log_a = nn.Parameter(torch.zeros(C))
            self.dt = nn.Parameter(
                torch.full((C,), math.log(math.expm1(0.5 * math.log(5))))
            )  # decay starts at sqrt(1/5)
            self.enter = nn.Linear(C, C, bias=False)  # starts as the identity

    def initialize(self):
        if self.kind == "concat":
            self.mix.weight.data.copy_(torch.eye(self.mix.out_features).repeat(1, 2))
        if self.kind == "diagonal":
            nn.init.eye_(self.enter.weight)

    def decay(self):
        """What a loop keeps of each channel of the state: in (0, 1) whatever the parameters, so h cannot blow up."""
        return torch.exp(-F.softplus(self.dt) * torch.exp(self.log_a))

    def forward(self, h, e):
        if self.kind == "none":
            return h
        if self.kind == "add":
            return h + e
        if self.kind == "concat":
            return self.mix(torch.cat((h, e), dim=-1))
        return self.decay() * h + F.softplus(self.dt) * self.enter(e)


# -----------------------------------------------------------------------------
# The model


class LoopedGPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        C = config.n_embd

        def layers(n):
            return nn.ModuleList(Block(config) for _ in range(n))

        self.embed = nn.Embedding(config.vocab_size, C)  # also the head: a state is read by what embedding it resembles
        self.prelude = layers(config.n_prelude)
        self.prelude_norm = nn.RMSNorm(C)  # e at one scale for all loops: without it, late blow-ups (Parcae 2026)
        self.inject = Injection(config)
        self.core = layers(config.n_core if config.tied else config.n_core * config.loops)
        self.coda = layers(config.n_coda)
        self.norm = nn.RMSNorm(C)
        if config.reembed:
            self.reembed_gate = nn.Parameter(torch.ones(C))
        if config.position == "learned":
            self.place = nn.Embedding(config.block_size, C)
        if config.position == "relative":
            self.bias = nn.Parameter(torch.zeros(config.n_head, config.reach))
        if config.position == "grid":
            cells = torch.tensor(config.coordinates)  # (T, axes)
            shared = (cells[:, None] == cells[None]).long()  # (T, T, axes): which coordinates two cells have in common
            self.register_buffer("kinship", (shared << torch.arange(cells.shape[1])).sum(2), persistent=False)
            self.bias = nn.Parameter(torch.zeros(config.n_head, 2 ** cells.shape[1]))
        self.apply(self.initialize)
        self.inject.initialize()

    @staticmethod
    def initialize(module):
        if isinstance(
            module, nn.Linear
        ):  # keeps the scale of what passes through, so that a loop matters from the start
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    # ---- what surrounds the loop

    def geometry(self, T, start=0):
        """What attention knows of positions: rotary angles (T, D / 2) and a bias (H or 1, T, start + T), or None."""
        config, device = self.config, self.embed.weight.device
        angles = bias = None
        keys = torch.arange(start + T, device=device)
        queries = keys[start:, None]
        if config.position == "rope":
            D = config.n_embd // config.n_head
            angles = queries * 10000.0 ** (-torch.arange(0, D, 2, device=device) / D)
        elif config.position == "alibi":
            slopes = 2.0 ** (-8 * torch.arange(1, config.n_head + 1, device=device) / config.n_head)
            bias = -slopes[:, None, None] * (queries - keys).abs()
        elif config.position == "relative":
            bias = self.bias[:, (queries - keys).abs().clamp(max=config.reach - 1)]
        elif config.position == "grid":
            bias = self.bias[:, self.kinship]
        if config.causal and (bias is not None or start):  # otherwise attention masks by itself
            bias = torch.zeros(1, T, start + T, device=device) if bias is None else bias
            bias = bias.masked_fill(keys > queries, -torch.inf)
        return angles, bias

    def stack(self, name, blocks, x, geometry, cache):
        for i, block in enumerate(blocks):
            x = block(x, *geometry, None if cache is None else cache[name, i])
        return x

    def read(self, tokens, geometry, cache=None, start=0):
        """The question e (B, T, C) of tokens (B, T)."""
        x = self.embed(tokens)
        if self.config.position == "learned":
            if start + tokens.shape[1] > self.config.block_size:
                raise ValueError(f"position='learned' ends at block_size={self.config.block_size}")
            x = x + self.place.weight[start : start + tokens.shape[1]]
        return self.prelude_norm(self.stack("prelude", self.prelude, x, geometry, cache))

    def start(self, e):
        """The state h_0 (B, T, C) before the first loop."""
        if self.config.state_init == "embed":
            return e
        return torch.zeros_like(e) if self.config.state_init == "zeros" else torch.randn_like(e)

    def head(self, h):
        return F.linear(self.norm(h), self.embed.weight)

    def readout(self, state, geometry=None, cache=None):
        """Logits (B, T, vocab_size) of any state (B, T, C) of a trajectory: what would the answer be by now?"""
        geometry = geometry or self.geometry(state.shape[1])
        return self.head(self.stack("coda", self.coda, state, geometry, cache))

    # ---- the loop

    def loop(self, h, e, t, geometry, cache=None):
        """Loop number t = 0, 1, ..: the state (B, T, C) after it."""
        n = self.config.n_core
        first = 0 if self.config.tied else t * n
        h = self.inject(h, e)
        h = self.stack(("core", t), self.core[first : first + n], h, geometry, cache)
        if self.config.reembed:  # embeddings are normalised, not their mixture: an undecided prediction writes little
            h = h + self.reembed_gate * (
                self.head(h).softmax(-1) @ F.normalize(self.embed.weight) * self.config.n_embd**0.5
            )
        return h

    def count(self, loops):
        """`loops` of a call, checked: an int or a (B,) tensor, by default what the config says."""
        loops = self.config.loops if loops is None else loops
        low, high = (int(loops.min()), int(loops.max())) if torch.is_tensor(loops) else (loops, loops)
        if low < 1:
            raise ValueError(f"loops must be at least 1, not {low}")
        if not self.config.tied and high > self.config.loops:
            raise ValueError(
                f"an untied model cannot think longer than it was built: {high} loops, layers for {self.config.loops}"
            )
        return loops

    def think(self, tokens, loops=None):
        """
        The state (B, T, C) after `loops` loops: an int, or a (B,) tensor with a count of its own for each sequence.

        Sequences are sorted by their count, so that at every loop the first rows still think and the others wait: a
        batch costs the sum of its counts, not the largest times B. Gradient flows through the last backprop_loops
        loops of each sequence; what comes before runs without a graph and so without memory.
        """
        geometry = self.geometry(tokens.shape[1])
        e = self.read(tokens, geometry)
        counts, order = torch.as_tensor(self.count(loops)).cpu().expand(len(tokens)).sort(descending=True, stable=True)
        h, e = self.start(e)[order], e[order]
        for t in range(counts[0]):
            thinking = int((counts > t).sum())
            ungraded = int((counts > t + self.config.backprop_loops).sum()) if self.config.backprop_loops else 0
            parts = [h[thinking:]]
            if thinking > ungraded:
                parts.insert(0, self.loop(h[ungraded:thinking], e[ungraded:thinking], t, geometry))
            if ungraded:
                with torch.no_grad():
                    parts.insert(0, self.loop(h[:ungraded], e[:ungraded], t, geometry))
            h = torch.cat(parts)
        return h[order.argsort()]

    def forward(self, tokens, loops=None):
        """Logits (B, T, vocab_size) of tokens (B, T) after `loops` loops (see think)."""
        return self.readout(self.think(tokens, loops))

    def states(self, tokens, loops=None):
        """Yields the state (B, T, C) before the first loop and after each."""
        geometry = self.geometry(tokens.shape[1])
        e = self.read(tokens, geometry)
        h = self.start(e)
        yield h
        for t in range(self.count(loops)):
            h = self.loop(h, e, t, geometry)
            yield h

    def trajectory(self, tokens, loops=None):
        """All states (loops + 1, B, T, C), the one before the first loop included."""
        return torch.stack(list(self.states(tokens, loops)))

    # ---- when to stop

    @torch.no_grad()
    def solve(self, tokens, rule="settle", threshold=0.05, max_loops=64, asked=None):
        """
        Let each sequence stop on its own; returns logits (B, T, vocab_size) and the loops used (B,).

        After every loop a sequence stops if the rule's measure falls below the threshold (None of them is trained for):
            fixed    never: all max_loops loops
            settle   relative movement of the state, |h_t - h_{t-1}| / |h_t|
            kl       KL(p_t, p_{t-1}) of the prediction, the largest over positions (Huginn 2025)
            entropy  entropy of the prediction in nats, the largest over positions
        asked (B, T) bool: the positions whose prediction counts; by default all.
        """
        if rule not in ("fixed", "settle", "kl", "entropy"):
            raise ValueError(f"rule={rule!r} is unknown; choose from fixed, settle, kl, entropy")
        max_loops = self.count(max_loops)
        geometry = self.geometry(tokens.shape[1])
        e = self.read(tokens, geometry)
        h = self.start(e)
        asked = torch.ones_like(tokens, dtype=torch.bool) if asked is None else asked
        answer, loops_used = torch.empty_like(h), torch.full_like(tokens[:, 0], max_loops)
        thinking = torch.arange(len(tokens), device=tokens.device)
        for t in range(max_loops):
            before, h = h, self.loop(h, e, t, geometry)
            if rule == "settle":
                measure = (h - before).flatten(1).norm(dim=1) / h.flatten(1).norm(dim=1)
            elif rule != "fixed":
                p = self.readout(h, geometry).log_softmax(-1)
                q = self.readout(before, geometry).log_softmax(-1) if rule == "kl" else 0
                sign = 1 if rule == "kl" else -1
                measure = (sign * p.exp() * (p - q)).sum(-1).masked_fill(~asked[thinking], -torch.inf).amax(1)
            stops = torch.full_like(thinking, t + 1 == max_loops, dtype=torch.bool)
            if rule != "fixed":
                stops = stops | (measure < threshold)
            answer[thinking[stops]], loops_used[thinking[stops]] = h[stops], t + 1
            h, e, thinking = h[~stops], e[~stops], thinking[~stops]
            if len(thinking) == 0:
                break
        return self.readout(answer, geometry), loops_used

    @torch.no_grad()
    def generate(self, tokens, n, loops=None, temperature=0.0, use_cache=True):
        """
        Append n tokens to tokens (B, T), each after `loops` loops: the likeliest, or sampled at a temperature.

        Every layer of every loop has keys and values of its own, so the cache is indexed by (loop, layer): the state of
        an earlier token at loop t never changes again.
        """
        if not self.config.causal:
            raise ValueError("only a causal model can generate")
        loops = self.count(loops)
        cache = defaultdict(list) if use_cache else None
        for _ in range(n):
            start = tokens.shape[1] - 1 if cache else 0
            geometry = self.geometry(tokens.shape[1] - start, start)
            e = self.read(tokens[:, start:], geometry, cache, start)
            h = self.start(e)
            for t in range(loops):
                h = self.loop(h, e, t, geometry, cache)
            logits = self.readout(h, geometry, cache)[:, -1]
            if temperature > 0:
                following = torch.multinomial((logits / temperature).softmax(-1), 1)
            else:
                following = logits.argmax(-1, keepdim=True)
            tokens = torch.cat((tokens, following), dim=1)
        return tokens
