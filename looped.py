"""
A looped transformer: one small stack of layers, run as many times as you ask for.

    tokens -> embed -> prelude -> norm -> e            read the question once
    h = initial state
    for t in 0..loops-1:   h = core(inject(h, e))      think: the same weights every time
    h -> coda -> norm -> head -> logits                answer

Depth is no longer a property of the weights but an argument of the call: `model(tokens, loops=32)`. Many looped
transformers of the literature are close to a setting of this loop; `Config` names them. Read the file top to bottom:
the block, how the question enters again at every loop, the loop itself, and the ways to stop it.
"""

import math
from collections import defaultdict
from dataclasses import dataclass

import torch
import torch.nn as nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


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
    tied: bool = True  # False: loops * n_core layers of their own, the control of equal depth
    injection: str = "add"  # how e enters each loop: none | add | concat (Huginn 2025) | diagonal (Parcae 2026)
    norm: str = "post"  # pre (GPT-2) | post (TRM 2025) | sandwich (Huginn 2025); all RMSNorm, see Block
    position: str = "relative"  # none | rope (Su 2021) | randomised | alibi | relative (T5 2020) | learned | grid
    reach: int = 4  # position="relative": a learned bias for distance 0, 1, .., reach - 2, and one for all beyond
    coordinates: tuple = ()  # position="grid": (row, column, box) of each cell; a bias for each way to share them
    state_init: str = "embed"  # initial state: embed (e itself) | zeros (Yang 2024) | noise (Huginn 2025)
    reembed: bool = False  # each loop ends by adding what it predicts so far, as an embedding (after DiscoLoop 2026)
    causal: bool = True  # False: every position sees every other, as a Sudoku needs
    backprop_loops: int = 0  # gradient through the last k loops only (Huginn 2025); 0: through all
    checkpoint_loops: int = 0  # keep a state every k loops and compute those between twice (Chen 2016); 0: keep all

    def __post_init__(self):
        """Raises ValueError, in one line, for sizes that cannot work."""
        choices = dict(
            injection=("none", "add", "concat", "diagonal"),
            norm=("pre", "post", "sandwich"),
            position=("none", "rope", "randomised", "alibi", "relative", "learned", "grid"),
            state_init=("embed", "zeros", "noise"),
        )
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown; choose from {', '.join(allowed)}")
        for name in ("vocab_size", "block_size", "n_embd", "n_head", "n_core", "loops", "reach"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("n_prelude", "n_coda", "backprop_loops", "checkpoint_loops"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd={self.n_embd} must be divisible by n_head={self.n_head}")
        if self.position in ("rope", "randomised") and (self.n_embd // self.n_head) % 2:
            raise ValueError(
                f"position={self.position!r} rotates pairs: n_embd / n_head = {self.n_embd // self.n_head} must be even"
            )
        if (self.position == "grid") != bool(self.coordinates):
            raise ValueError("position='grid' and coordinates go together")
        if self.injection == "none" and self.state_init != "embed":
            raise ValueError(
                f"injection='none' with state_init={self.state_init!r}: the model would never see its input"
            )
        if self.injection == "none" and self.backprop_loops:
            raise ValueError("backprop_loops cuts the only way of the gradient to the input if injection='none'")
        if self.checkpoint_loops and self.backprop_loops:
            raise ValueError("backprop_loops and checkpoint_loops both save memory: choose one")


# -----------------------------------------------------------------------------
# The block: attention and an MLP, close to nanoGPT's (no biases, no dropout). It does not know that it is looped.


def rotate(x, cos, sin):
    """Rotary positions: turn the channels (i, i + D / 2) of x (B, H, T, D) by the angle of their position."""
    return x * cos + x.roll(x.shape[-1] // 2, dims=-1) * sin


class RMSNormByHand(torch.autograd.Function):
    """weight * x / sqrt(mean(x^2)). PyTorch's is one kernel on a GPU, but a chain of ten on a CPU: 5 % of a step."""

    @staticmethod
    def forward(ctx, x, weight, eps):
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        scale = scale.add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        x, weight, scale = ctx.saved_tensors
        unit = x * scale
        product = gradient * unit
        along = (product @ weight)[..., None] / x.shape[-1]  # the part along x goes: a longer x has the same result
        return (gradient * weight).addcmul_(unit, along, value=-1).mul_(scale), product.flatten(0, -2).sum(0), None


class RMSNorm(nn.RMSNorm):
    def __init__(self, width):
        super().__init__(width, eps=torch.finfo(torch.float32).eps)

    def forward(self, x):
        exact = x.dtype == self.weight.dtype in (torch.float32, torch.float64)
        if exact and x.device.type == "cpu" and not torch.compiler.is_compiling():
            return RMSNormByHand.apply(x, self.weight, self.eps)
        return super().forward(x)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_head, self.causal = config.n_head, config.causal
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.out = nn.Linear(config.n_embd, config.n_embd, bias=False)

    def forward(self, x, rotation, mask, past):
        B, T, C = x.shape
        q, k, v = self.qkv(x).split(C, dim=2)
        q, k, v = (part.view(B, T, self.n_head, -1).transpose(1, 2) for part in (q, k, v))  # (B, H, T, D) each
        if rotation is not None:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        if past is not None:  # generating: earlier keys and values, [] before the first token, extended in place
            if past:
                k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
            past[:] = k, v
        if mask is not None and mask.requires_grad and not x.is_cuda:  # a learned bias: by hand, faster on a CPU
            y = (q @ k.mT * k.shape[-1] ** -0.5 + mask).softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal and mask is None)
        return self.out(y.transpose(1, 2).reshape(B, T, C))


class Block(nn.Module):
    """
    A loop adds the same two branches to its state again and again. Pre-norm lets that sum grow with the loops;
    post-norm and sandwich (which normalises the input of the branch, too) bring it back to one scale after every
    branch, so that loop 50 looks to the weights like loop 5. That is why post is the default here and pre in a GPT.
    """

    def __init__(self, config):
        super().__init__()

        def norm(schemes):
            return RMSNorm(config.n_embd) if config.norm in schemes else nn.Identity()

        self.attention = Attention(config)
        self.mlp = nn.Sequential(
            nn.Linear(config.n_embd, 4 * config.n_embd, bias=False),
            nn.GELU(),
            nn.Linear(4 * config.n_embd, config.n_embd, bias=False),
        )
        self.before = nn.ModuleList(norm(("pre", "sandwich")) for _ in range(2))
        self.after = nn.ModuleList(norm(("post", "sandwich")) for _ in range(2))

    def forward(self, x, rotation=None, mask=None, past=None):
        x = self.after[0](x + self.attention(self.before[0](x), rotation, mask, past))
        x = self.after[1](x + self.mlp(self.before[1](x)))
        return x


# -----------------------------------------------------------------------------
# Injection: how the question e enters the state h again at every loop. Without it a long think forgets what was
# asked; with it the loop can have a fixed point that depends on the question (Bansal 2022, Blayney 2026).


class Injection(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.kind, C = config.injection, config.n_embd
        if self.kind == "concat":
            self.mix = nn.Linear(2 * C, C, bias=False)
        if self.kind == "diagonal":
            half_log_5 = 0.5 * math.log(5)  # exp(-half_log_5) = sqrt(1/5), the decay that Parcae starts from
            self.log_a = nn.Parameter(torch.zeros(C))
            self.dt = nn.Parameter(torch.full((C,), math.log(math.expm1(half_log_5))))  # softplus of it: half_log_5
            self.enter = nn.Linear(C, C, bias=False)

    def start_as_sum(self):
        if self.kind == "concat":  # exactly h + e; diagonal starts as 0.45 h + 0.80 e
            self.mix.weight.data.copy_(torch.eye(self.mix.out_features).repeat(1, 2))
        if self.kind == "diagonal":
            nn.init.eye_(self.enter.weight)

    def decay(self):
        """What remains of each channel of h: never more than all of it, so this part cannot blow up."""
        return torch.exp(-F.softplus(self.dt) * torch.exp(self.log_a))

    def forward(self, h, e):
        if self.kind == "none":
            return h
        if self.kind == "add":
            return h + e
        if self.kind == "concat":
            return self.mix(torch.cat((h, e), dim=-1)).to(h.dtype)  # under autocast the state keeps its precision
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
        self.prelude_norm = RMSNorm(C)  # keeps e from growing while training goes on (Parcae 2026: late blow-ups)
        self.inject = Injection(config)
        self.core = layers(config.n_core if config.tied else config.n_core * config.loops)
        self.coda = layers(config.n_coda)
        self.norm = RMSNorm(C)
        self.compiled = None
        if config.reembed:
            self.reembed_gate = nn.Parameter(torch.ones(C))
        if config.position == "learned":
            self.place = nn.Embedding(config.block_size, C)
        if config.position == "relative":
            self.bias = nn.Parameter(torch.zeros(config.n_head, config.reach))
        if config.position == "grid":  # which of row, column and box two cells share: a number in binary, 0..7
            cells = torch.tensor(config.coordinates)  # (T, axes)
            shared = (cells[:, None] == cells[None]).long()  # (T, T, axes)
            self.register_buffer("kinship", (shared << torch.arange(cells.shape[1])).sum(2), persistent=False)
            self.bias = nn.Parameter(torch.zeros(config.n_head, 2 ** cells.shape[1]))
        self.apply(self.init_weights)
        self.inject.start_as_sum()  # last, or init_weights would undo it

    @staticmethod
    def init_weights(module):
        if isinstance(module, nn.Linear):  # each layer keeps the scale of its input, so a loop matters from the start
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    # ---- before and after the loop

    def geometry(self, T, offset=0):
        """
        What attention is told of the positions of T tokens that stand behind `offset` cached ones: cosines and sines
        for `rotate`, (T, D) each, or None; and what to add to its scores (H or 1, T, offset + T) or None.
        """
        config, device, dtype = self.config, self.embed.weight.device, self.embed.weight.dtype
        rotation = mask = None
        keys = torch.arange(offset + T, device=device)
        queries = keys[offset:, None]
        distance = (queries - keys).abs()
        if config.position in ("rope", "randomised"):
            D, places = config.n_embd // config.n_head, queries
            learning = self.training and torch.is_grad_enabled()
            if config.position == "randomised" and learning:  # gaps, to meet far places early (Ruoss 2023)
                places = torch.randperm(8 * config.block_size, device=device)[:T].sort().values[:, None]
            angles = places * 10000.0 ** (-torch.arange(0, D, 2, device=device) / D)  # (T, D / 2)
            cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
            rotation = torch.cat((cos, cos), dim=1), torch.cat((-sin, sin), dim=1)
        elif config.position == "alibi":
            slopes = 2.0 ** (-8 * torch.arange(1, config.n_head + 1, device=device) / config.n_head)
            mask = (-slopes[:, None, None] * distance).to(dtype)
        elif config.position == "relative":
            mask = self.bias[:, distance.clamp(max=config.reach - 1)]
        elif config.position == "grid":
            if T != len(self.kinship):
                raise ValueError(f"position='grid' was built for {len(self.kinship)} cells, not {T}")
            mask = self.bias[:, self.kinship]
        elif config.position == "learned" and offset + T > config.block_size:
            raise ValueError(f"position='learned' ends at block_size={config.block_size}")
        if config.causal and (mask is not None or offset):  # otherwise attention hides the future by itself
            mask = torch.zeros(1, T, offset + T, device=device, dtype=dtype) if mask is None else mask
            mask = mask.masked_fill(keys > queries, -torch.inf)
        return rotation, mask

    def stack(self, name, blocks, x, geometry, cache=None):
        for i, block in enumerate(blocks):
            x = block(x, *geometry, None if cache is None else cache[name, i])
        return x

    def begin(self, tokens, cache=None, offset=0):
        """Read tokens (B, T): the initial state and the question, (B, T, C) each, and the geometry."""
        geometry = self.geometry(tokens.shape[1], offset)
        x = self.embed(tokens)
        if self.config.position == "learned":
            x = x + self.place.weight[offset : offset + tokens.shape[1]]
        e = self.prelude_norm(self.stack("prelude", self.prelude, x, geometry, cache))
        if self.config.state_init == "zeros":
            return torch.zeros_like(e), e, geometry
        return (torch.randn_like(e) if self.config.state_init == "noise" else e), e, geometry

    def head(self, h):
        return F.linear(self.norm(h), self.embed.weight)

    def readout(self, state, geometry=None, cache=None, asked=None):
        """
        Logits (B, T, vocab_size) of any state (B, T, C) of a trajectory: what would the answer be by now? With a mask
        `asked` (B, T) bool only of the N positions asked for, (N, vocab_size).
        """
        geometry = geometry or self.geometry(state.shape[1])
        state = self.stack("coda", self.coda, state, geometry, cache)
        return self.head(state if asked is None else state[asked])

    # ---- the loop

    def loop(self, h, e, t, geometry, cache=None):
        """Loop t = 0, 1, ..: from the state h (B, T, C) and the question e to the next state."""
        if self.compiled and cache is None and len(h) > 1:  # a single row would be compiled apart
            return self.compiled(self, h, e, 0, geometry)  # tied, without a cache: t makes no difference
        return self.one_loop(h, e, t, geometry, cache)

    def one_loop(self, h, e, t, geometry, cache=None):
        n = self.config.n_core
        layers = self.core if self.config.tied else self.core[t * n : (t + 1) * n]
        h = self.stack(("core", t), layers, self.inject(h, e), geometry, cache)
        if self.config.reembed:  # embeddings are normalised, not their mixture: an undecided prediction adds little
            mixture = self.head(h).softmax(-1) @ F.normalize(self.embed.weight)
            h = h + self.reembed_gate * (mixture * self.config.n_embd**0.5)
        return h

    def compile_loop(self):
        """
        Compile one pass of the loop, and each layer around it. The loop itself stays Python, so that another loop
        count, or fewer rows in the last loops, run the same machine code (as in Huginn 2025 and Parcae 2026).
        """
        for block in (*self.prelude, *self.coda, *(() if self.config.tied else self.core)):
            block.compile(dynamic=True)
        if self.config.tied:
            self.compiled = torch.compile(LoopedGPT.one_loop, dynamic=True)

    def states(self, tokens, loops=None):
        """Yields the state (B, T, C) before the first loop and after each of `loops` loops."""
        loops = self.check_loops(loops)
        h, e, geometry = self.begin(tokens)
        yield h
        for t in range(loops):
            h = self.loop(h, e, t, geometry)
            yield h

    def trajectory(self, tokens, loops=None):
        """All states (loops + 1, B, T, C), the one before the first loop included."""
        return torch.stack(list(self.states(tokens, loops)))

    def think(self, tokens, loops=None):
        """
        The last state (B, T, C): the same loop, for training. `loops` is an int, or a (B,) tensor with a count for each
        sequence: a model that always thought equally long would be lost at any other count (Parcae 2026).

        Rows are sorted, longest think first, so that a batch costs the sum of its counts and not the largest times B.
        """
        h, e, geometry = self.begin(tokens)
        loops = torch.as_tensor(self.check_loops(loops, per_sequence=True)).cpu().expand(len(tokens))
        loops, order = loops.sort(descending=True, stable=True)
        h, e, longest = h[order], e[order], int(loops[0])
        if self.config.checkpoint_loops and torch.is_grad_enabled():
            for first in range(0, longest, self.config.checkpoint_loops):
                chunk = range(first, min(first + self.config.checkpoint_loops, longest))
                h = checkpoint(self.advance, h, e, loops, chunk, geometry, use_reentrant=False)
        else:
            h = self.advance(h, e, loops, range(longest), geometry)
        return h[order.argsort()]

    def advance(self, h, e, loops, chunk, geometry):
        """
        The loops of a range. Row i has loops[i] of them in all, the first row the most; rows that are done step aside.
        Rows with more than backprop_loops loops to go, the first ones, run free of a graph, which saves their memory
        (the gradient of the last loops is nearly as good as that of all, Parcae 2026). The question keeps its graph, so
        every loop with a gradient trains the prelude.
        """
        done = []
        for t in chunk:
            active = int((loops > t).sum())
            free = int((loops > t + self.config.backprop_loops).sum()) if self.config.backprop_loops else 0
            if active < len(h):
                h, ready = h.split((active, len(h) - active))
                e, done = e[:active], [ready, *done]  # who stops later stood before, and is put there at the end
            parts = []
            if free:
                with torch.no_grad():
                    parts.append(self.loop(h[:free], e[:free], t, geometry))
            if free < active:
                parts.append(self.loop(h[free:], e[free:], t, geometry))
            h = torch.cat(parts) if free else parts[0]
        return torch.cat((h, *done)) if done else h

    def forward(self, tokens, loops=None):
        """Logits (B, T, vocab_size) of tokens (B, T) after `loops` loops: an int, or a count for each sequence (B,)."""
        return self.readout(self.think(tokens, loops))

    def check_loops(self, loops, per_sequence=False):
        """The loops of a call, by default the config's; ValueError if there cannot be so many."""
        loops = self.config.loops if loops is None else loops
        if torch.is_tensor(loops) and not per_sequence:
            raise ValueError("only forward and think take a loop count for each sequence")
        low, high = (int(loops.min()), int(loops.max())) if torch.is_tensor(loops) else (loops, loops)
        if low < 1:
            raise ValueError(f"loops must be at least 1, not {low}")
        if high > self.config.loops and not self.config.tied:
            raise ValueError(f"an untied model has layers for {self.config.loops} loops, not for {high}")
        return loops

    # ---- when to stop

    @torch.no_grad()
    def solve(self, tokens, rule="settle", threshold=None, max_loops=None, asked=None):
        """
        Let each sequence stop on its own; returns logits (B, T, vocab_size) and the loops used (B,).

        A tied loop is a fixed map of the state: once the state stands still, more loops change nothing. That makes
        the answer final, not right. A sequence stops when the measure of the rule falls below the threshold:

            fixed    never, all max_loops loops
            settle   |h_t - h_{t-1}| / |h_t|, over all positions                    default 0.05
            kl       KL(p_t, p_{t-1}) of two successive predictions (Kohli 2026)    default 0.001 nats
            entropy  entropy of the prediction                                      default 0.1 nats

        The last two take the largest value over the positions `asked` (B, T) bool, by default all. max_loops: by
        default 64, or what an untied model has. The model is not trained for any of these rules, and norm="pre" may let
        the state grow for ever, so that `settle` measures its length.
        """
        defaults = dict(fixed=-math.inf, settle=0.05, kl=0.001, entropy=0.1)
        if rule not in defaults:
            raise ValueError(f"rule={rule!r} is unknown; choose from {', '.join(defaults)}")
        threshold = defaults[rule] if threshold is None else threshold
        max_loops = self.check_loops(
            (64 if self.config.tied else self.config.loops) if max_loops is None else max_loops
        )
        asked = torch.ones_like(tokens, dtype=torch.bool) if asked is None else asked
        h, e, geometry = self.begin(tokens)
        answer, loops_used = torch.empty_like(h), torch.empty_like(tokens[:, 0])
        rows = torch.arange(len(tokens), device=tokens.device)  # those that still think
        for t in range(max_loops):
            before, h = h, self.loop(h, e, t, geometry)
            measure = torch.full_like(h[:, 0, 0], math.inf)
            if rule == "settle":
                measure = (h - before).flatten(1).norm(dim=1) / h.flatten(1).norm(dim=1)
            if rule in ("kl", "entropy"):
                log_p = self.readout(h, geometry).log_softmax(-1)
                surprise = log_p - self.readout(before, geometry).log_softmax(-1) if rule == "kl" else -log_p
                measure = (log_p.exp() * surprise).sum(-1).masked_fill(~asked[rows], -math.inf).amax(1)
            stops = (measure < threshold) | (t + 1 == max_loops)
            if stops.any():  # who is done leaves the batch
                answer[rows[stops]], loops_used[rows[stops]] = h[stops], t + 1
                h, e, rows = h[~stops], e[~stops], rows[~stops]
            if len(rows) == 0:
                break
        return self.readout(answer, geometry), loops_used

    @torch.no_grad()
    def decode(self, tokens, cache, offset=0, loops=None, share="none"):
        """
        Logits (B, T, vocab_size) of tokens (B, T) that stand behind `offset` tokens in the cache, which is extended by
        them: a defaultdict(list), empty at first. The state of an earlier token at loop t never changes again, so its
        keys and values are kept, (("core", t), layer) -> [keys, values], and a new token looks at them in its loop t.
        To keep those of one loop only, share="first" or "last" lets every loop look at them, as Huginn (2025) and
        Mixture-of-Recursions (2025) do; the model was not trained for it.
        """
        if share not in ("none", "first", "last"):
            raise ValueError(f"share={share!r} is unknown; choose from none, first, last")
        if not self.config.causal:
            raise ValueError("only a causal model can read or generate token by token")
        loops = self.check_loops(loops)
        h, e, geometry = self.begin(tokens, cache, offset)
        kept = ("core", loops - 1 if share == "last" else 0)
        earlier = [list(cache[kept, i]) for i in range(self.config.n_core)]  # the tokens before these
        for t in range(loops):
            borrowed = {
                (("core", t), i): list(past) for i, past in enumerate(earlier)
            }  # copies: attention extends them
            h = self.loop(h, e, t, geometry, cache if share == "none" or kept == ("core", t) else borrowed)
        return self.readout(h, geometry, cache)

    @torch.no_grad()
    def generate(self, tokens, n, loops=None, temperature=0.0, use_cache=True, share="none"):
        """
        Append n tokens to tokens (B, T), each after `loops` loops: the likeliest, or sampled at a temperature. The
        cache changes the speed only, unless loops share it, see decode. (With state_init="noise" it also keeps the
        noise that a token began with.)
        """
        cache = defaultdict(list)
        for i in range(n):
            offset = tokens.shape[1] - 1 if use_cache and i > 0 else 0
            logits = self.decode(tokens[:, offset:], cache if use_cache else defaultdict(list), offset, loops, share)
            logits = logits[:, -1]
            if temperature > 0:
                following = torch.multinomial((logits / temperature).softmax(-1), 1)
            else:
                following = logits.argmax(-1, keepdim=True)
            tokens = torch.cat((tokens, following), dim=1)
        return tokens
