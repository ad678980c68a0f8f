"""
A looped transformer: one small stack of layers, run as many times as you ask for.

    tokens -> embed -> prelude -> norm -> e            read the question, once
    h = e                                              the state before the first loop
    for t in 0 .. loops - 1:   h = core(inject(h, e))  think, each time with the same weights
    h -> coda -> norm -> head -> logits                answer

The depth of this network is not a property of its weights but an argument of the call. A few layers
can do the work of many, and a harder question can be given more loops than training ever used.
Whether that helps depends on the task and on the training (see `states`), and has to be measured:

    model = LoopedGPT(Config(vocab_size=29))
    loops = torch.randint(4, 9, (len(tokens),))  # 4 to 8 loops, drawn for each sequence
    loss, prediction = model.loss(tokens, targets, loops)
    loss.backward()  # .. and a step of any optimizer
    logits = model(tokens, loops=32)  # later, with more loops
    logits, loops_used = model.solve(tokens)  # or until the state of each sequence settles

This file needs PyTorch and nothing else. Read it from top to bottom: the settings, the model, its
training, when to stop, and then its parts: the injection, and those of any GPT. Shapes: B sequences
of T tokens; C = n_embd channels; H heads of D = C / H channels each. "The question" means the
tokens of a sequence, whatever they are about.

Papers named below: Press 2022 (arXiv 2108.12409), Raffel 2020 (1910.10683), Su 2021 (2104.09864)
and, about loops, Bansal 2022 (2202.05826), Yang 2024 (2311.12424), Huginn 2025
(2502.05171), TRM 2025 (2510.04871), Parcae 2026 (2604.12946), DiscoLoop 2026 (2607.00341).
"""

import math
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple, get_args, get_origin, get_type_hints

import torch
from torch import nn
from torch.nn import functional as F

IGNORE = -100  # the target at positions where no answer is asked (PyTorch's ignore_index)
Position = Literal["none", "rope", "alibi", "relative", "window", "grid"]


@dataclass
class Config:
    # The defaults are the model. The other choices can be skipped at first.
    vocab_size: int  # how many different tokens there are
    n_embd: int = 64  # width of the state, C
    n_head: int = 4  # attention heads, H
    n_prelude: int = 0  # layers that run once, before the loop
    n_core: int = 1  # layers inside the loop
    n_coda: int = 0  # layers that run once, after the loop
    loops: int = 8  # the number of loops where a call gives none; untied: also the most there are
    tied: bool = True  # all loops share one core; False: untied, each loop has a core of its own
    injection: Literal["none", "add", "concat"] = "add"  # how e enters each loop (class Injection)
    norm: Literal["pre", "post", "sandwich"] = "post"  # post keeps the state at one scale (Block)
    position: Position = "relative"  # where tokens stand (class Positions); for text take "rope"
    reach: int = 4  # relative: distances 0, 1, 2 are told apart, and "further"; window: 0 to 3 seen
    coordinates: tuple = ()  # grid: a tuple for each cell of the board, such as (row, column, box)
    state_init: Literal["embed", "zeros", "noise"] = "embed"  # h before the first loop (embed: e)
    reembed: bool = False  # each loop adds the embedding of its prediction (method `reembed`)
    causal: bool = True  # a position sees itself and those before it; False: all (for a board)
    loss: Literal["final", "every"] = "final"  # after the last loop alone, or the mean over all
    backprop_loops: int = 0  # k: only the last k loops get a gradient (Huginn 2025); 0: all of them

    def __post_init__(self):
        check(self)  # at the end of the file


class LoopedGPT(nn.Module):
    config_class = Config  # for train.py; a subclass with more settings has its own
    exit_rules = {}  # for `solve`; filled in below `settle`

    def __init__(self, config):
        super().__init__()
        C = config.n_embd
        self.config = config
        self.positions = Positions(config)
        self.embed = nn.Embedding(config.vocab_size, C)  # also the output matrix, see `head`
        self.prelude = nn.ModuleList(self.new_block() for _ in range(config.n_prelude))
        self.prelude_norm = RMSNorm(C)  # else e may grow throughout training (Parcae 2026)
        self.inject = Injection(config)
        # untied: the layers of loop 0 come first, then those of loop 1, ..
        n_layers = config.n_core if config.tied else config.n_core * config.loops
        self.core = nn.ModuleList(self.new_block() for _ in range(n_layers))
        self.coda = nn.ModuleList(self.new_block() for _ in range(config.n_coda))
        self.norm = RMSNorm(C)
        if config.reembed:
            self.reembed_gate = nn.Parameter(torch.ones(C))
        self.apply(init_weights)

    def new_block(self):  # a subclass may use only self.config here: __init__ calls it early
        return Block(self.config)

    # ---- the model: begin, loop, loop, .., readout

    def forward(self, tokens, loops=None):
        """
        Logits (B, T, vocab_size) of tokens (B, T) after `loops` loops. (To train, call `loss`.)

        `loops` is an int (by default config.loops), or a tensor (B,), a number for each sequence.
        With an int the gradient flows through all loops. With a tensor `think` (below) runs them,
        and config.backprop_loops cuts the gradient; `loss` cuts it in both cases.
        """
        if torch.is_tensor(loops):
            return self.readout(self.think(tokens, loops))
        h, e, positions = self.begin(tokens)
        for t in range(self.config.loops if loops is None else loops):
            h = self.loop(h, e, t, positions)
        return self.readout(h)

    def begin(self, tokens):
        """
        Read the tokens (B, T). Returns the state h before the first loop and the question e, both
        (B, T, C); and `positions`, which tell attention where the tokens stand (see Positions).
        """
        x = self.embed(tokens)
        positions = self.positions(x)
        for block in self.prelude:
            x = block(x, positions)
        e = self.prelude_norm(x)
        h = e
        if self.config.state_init == "zeros":  # Yang 2024
            h = torch.zeros_like(e)
        if self.config.state_init == "noise":  # Huginn 2025: a new start in each call
            h = torch.randn_like(e)
        return h, e, positions

    def loop(self, h, e, t, positions):
        """
        One loop, from a state (B, T, C) to the next. If the model is tied, it is the same function
        at every t = 0, 1, .., also beyond config.loops; an untied model has no layers beyond. A
        subclass may make use of t. What it keeps for each sequence has to be a part of h or of e:
        `solve` drops the rows of sequences that are done.
        """
        h = self.inject(h, e)
        for block in self.core_of(t):
            h = block(h, positions)
        return self.reembed(h) if self.config.reembed else h

    def core_of(self, t):
        """The layers of loop t, functions (h, positions) -> h: in a tied model always the same."""
        if self.config.tied:
            return self.core
        if t >= self.config.loops:
            raise ValueError(f"this untied model has layers for {self.config.loops} loops, no more")
        return self.core[t * self.config.n_core : (t + 1) * self.config.n_core]

    def readout(self, h):
        """What would the answer be by now? Logits (B, T, vocab_size) of a state after any loop."""
        if self.coda:
            positions = self.positions(h)  # once more, so that a readout needs nothing but a state
            for block in self.coda:
                h = block(h, positions)
        return self.head(h)

    def head(self, h):
        return F.linear(self.norm(h), self.embed.weight)  # how much h resembles each embedding

    def reembed(self, h):
        """
        Add the embedding of the prediction so far (after DiscoLoop 2026), so that the next loop
        reads the result of this one as it would read a token:

            h + gate * sqrt(C) * sum over tokens v of p(v) E(v) / |E(v)|

        p is the prediction at a position, as probabilities, read without the coda. E(v) / |E(v)|
        is the embedding of token v at length 1. If p is sure of one token, the sum has length 1; if
        it is spread over several, whose directions differ, the sum is shorter. The factor sqrt(C)
        is the length of a normalised state (with gains of 1). The gate (C,) learns how much each
        channel takes. This is the last step of a loop, so the readout sees it, too.
        """
        p = self.head(h).softmax(-1)  # (B, T, vocab_size)
        directions = F.normalize(self.embed.weight)  # (vocab_size, C)
        return h + self.reembed_gate * (p @ directions * self.config.n_embd**0.5)

    # ---- training: loop counts that differ, a gradient that ends, and the loss
    #
    # The loop stands in this class three times: plainly in `forward`; in `states`, with the two
    # things that training adds; and in `solve`, where sequences leave when they are done. `loss`
    # takes the last of the states from `think` (with loss="every", one after each loop);
    # `trajectory` stacks them all, for those who want to watch.

    def states(self, tokens, loops=None, h=None):
        """
        Yields the state (B, T, C) before the first loop and after each. Two things differ from
        `forward`. Each sequence may have its own number of loops, (B,), so that a batch can mix
        several (Parcae 2026). And with backprop_loops = k, the gradient flows only through the last
        k loops of each sequence. The embedding and the prelude still learn, since e enters each of
        these loops.

            sequence 0, 6 loops    o o o x x x    x: a loop with a gradient, here with k = 3
            sequence 1, 4 loops    o x x x . .    o: a loop whose gradient is cut off
            sequence 2, 1 loop     x . . . . .    .: a sequence that is done keeps its state

        To go on from where an earlier call stopped, give its last state as h (detached, if no
        gradient shall flow into that call). It is yielded again, and t starts again at 0, which
        matters only to models that are untied, or make use of t in another way.
        """
        first, e, positions = self.begin(tokens)
        h = first if h is None else h
        yield h
        loops = torch.as_tensor(self.config.loops if loops is None else loops, device=h.device)
        loops_left = loops.expand(len(h))[:, None, None]  # (B, 1, 1), beside a state (B, T, C)
        for t in range(int(loops.max())):
            # not at t = 0: there is no loop yet to cut off, and e has a gradient as the first h
            if self.config.backprop_loops and t > 0:
                h = torch.where(loops_left == self.config.backprop_loops, h.detach(), h)
            h = torch.where(loops_left > 0, self.loop(h, e, t, positions), h)
            loops_left = loops_left - 1
            yield h

    def think(self, tokens, loops=None, h=None):
        """
        The last of the `states`. This is simple but wasteful: it computes the loops marked ".",
        and it computes gradients, all zero, for those marked "o". In this repository train.py puts
        fast_think (support/fast.py) in its place, which calls the same `begin` and `loop` without
        this waste. (A subclass with its own `states` or `think` keeps them.)
        """
        for state in self.states(tokens, loops, h):
            pass
        return state

    def trajectory(self, tokens, loops=None, h=None):
        """All of these states, (loops + 1, B, T, C)."""
        return torch.stack(list(self.states(tokens, loops, h)))

    def loss(self, tokens, targets, loops=None):
        """
        The mean cross-entropy in nats over all positions that have a target, and the prediction
        (B, T) after the last loop. targets (B, T) has what the logits at the same position should
        predict, or IGNORE. Nothing is shifted here; for text: loss(text[:, :-1], text[:, 1:]).
        Shorter sequences are padded behind with any token, where the target is IGNORE. A causal
        model never looks there; one that is not causal does, so give it sequences of equal length.
        With config.loss = "every" the states after each loop count alike; a sequence that is done
        counts again with its last state, so that its weight does not depend on its loops.
        """
        if self.config.loss == "every":
            states = list(self.states(tokens, loops))[1:]  # without the one before the first loop
        else:
            states = [self.think(tokens, loops)]
        losses = []
        for h in states:
            losses_of_state, prediction = self.token_losses(h, targets)
            losses.append(losses_of_state)
        return torch.stack(losses).mean(), prediction  # (the prediction of the last state)

    def token_losses(self, h, targets):
        """
        How well a state (B, T, C) would answer: the cross-entropy (N,) in nats at the N positions
        whose target is not IGNORE; and the prediction (B, T).
        """
        logits = self.readout(h)
        asked = targets != IGNORE
        losses = F.cross_entropy(logits[asked].float(), targets[asked], reduction="none")
        return losses, logits.argmax(-1)

    # ---- use: when to stop, and text

    def proper_state(self, h):
        """
        The part of h that `settle`, below, compares: here all of it. A subclass may append channels
        to h for its bookkeeping, such as the loops that each token took; it returns h without them.
        """
        return h

    @torch.no_grad()
    def solve(self, tokens, rule="settle", threshold=None, max_loops=64, answer_mask=None):
        """
        Let each sequence stop on its own: logits (B, T, vocab_size) and the loops it took (B,).

        A sequence stops when the number that the exit rule measures falls below the threshold, at
        the latest after max_loops. `rule` is a name in exit_rules (below `settle`), where each has
        a default threshold, or a function like `settle`; with a function, give the threshold, too.
        answer_mask (B, T) says where answers are read (by default, everywhere), for rules that look
        at answers; analyses/exits.py has some. `settle` looks at the whole state.
        """
        measure = rule
        if isinstance(rule, str):
            if rule not in self.exit_rules:
                raise ValueError(f"rule={rule!r} is not one of {', '.join(self.exit_rules)}")
            measure, default = self.exit_rules[rule]
            threshold = default if threshold is None else threshold
        check_threshold(threshold)  # at the end of the file
        if not self.config.tied:
            max_loops = min(max_loops, self.config.loops)
        h, e, positions = self.begin(tokens)
        if answer_mask is None:
            answer_mask = torch.ones_like(tokens)
        answer_mask = answer_mask.bool()
        final, loops_used = h.clone(), torch.zeros_like(tokens[:, 0])
        rows = torch.arange(len(h), device=h.device)  # the sequences that still loop
        measured = torch.full((len(h),), math.inf, device=h.device)
        for t in range(max_loops):
            before, h = h, self.loop(h, e, t, positions)
            measured = measure(self, before, h, answer_mask[rows], measured)
            final[rows], loops_used[rows] = h, t + 1
            going = ~(measured < threshold)  # not >=: where the measure is nan, the loop goes on
            h, e, rows, measured = h[going], e[going], rows[going], measured[going]
            if len(rows) == 0:
                break
        return self.readout(final), loops_used

    @torch.no_grad()
    def generate(self, tokens, n, loops=None, temperature=0.0):
        """
        Append n tokens to tokens (B, T): each the likeliest, or drawn at a temperature above 0.
        The whole text is computed again for every new token (analyses/cache.py avoids that).
        """
        check_text(tokens, n, temperature)  # at the end of the file
        for _ in range(n):
            logits = self(tokens, loops)[:, -1]
            if temperature > 0:
                new = torch.multinomial((logits / temperature).softmax(-1), 1)
            else:
                new = logits.argmax(-1, keepdim=True)
            tokens = torch.cat((tokens, new), dim=1)
        return tokens


def settle(model, before, h, answer_mask, last):
    """
    An exit rule: how far the loop moved the state of each sequence, |h - before| / |h|, (B,). All
    positions count, those of a padding, too.

    Every loop of a tied model is the same map. When it no longer moves the state, further loops
    change nothing, so the answer is final; it need not be right. (The default threshold, 0.05, is a
    guess: a state that moves by 5 % may still change its answer. And with norm="pre" the state may
    grow for ever, so that each loop moves it by a smaller share though nothing comes to rest.)

    All rules have these arguments: the states before and after a loop, (B, T, C) each; where
    answers stand (B, T), for a rule that compares answers; and `last` (B,), what the same rule
    returned one loop earlier (infinity in the first), which is all that a rule can remember.
    """
    before, h = model.proper_state(before), model.proper_state(h)
    return (h - before).flatten(1).norm(dim=1) / h.flatten(1).norm(dim=1)


# {name: (rule, default threshold)}. Nothing moves by less than 0, so "fixed" takes max_loops. A
# subclass adds its own: exit_rules = LoopedGPT.exit_rules | {"gate": (gate, 0.5)}.
LoopedGPT.exit_rules = {"settle": (settle, 0.05), "fixed": (settle, 0.0)}


# --------------------------------------------------------------------------------------------------
# The parts. The block and its attention are those of any GPT and are not told that they loop.


class Block(nn.Module):
    """
    Attention and an MLP, without biases and dropout.

    A loop adds these two branches to its state again and again. With norm="pre", which GPT-2 has,
    that sum grows with every loop. "post" (TRM 2025) brings the sum back to one scale after every
    branch, so that the state of loop 50 looks to the weights like that of loop 5. "sandwich"
    (Huginn 2025) does so, too, and also normalises what a branch reads. "post" is the default
    because it keeps the scale with the fewest norms. It is meant for loops: a deep stack of
    different layers wants "pre".
    """

    def __init__(self, config):
        super().__init__()
        C = config.n_embd
        before, after = config.norm in ("pre", "sandwich"), config.norm in ("post", "sandwich")
        self.attention = Attention(config)
        self.mlp = nn.Sequential(
            nn.Linear(C, 4 * C, bias=False), nn.GELU(), nn.Linear(4 * C, C, bias=False)
        )
        self.before_attention = RMSNorm(C) if before else nn.Identity()
        self.before_mlp = RMSNorm(C) if before else nn.Identity()
        self.after_attention = RMSNorm(C) if after else nn.Identity()
        self.after_mlp = RMSNorm(C) if after else nn.Identity()

    def forward(self, x, positions):
        x = self.after_attention(x + self.attention(self.before_attention(x), positions))
        x = self.after_mlp(x + self.mlp(self.before_mlp(x)))
        return x


class Injection(nn.Module):
    """
    The question e enters the state h at every loop. Without it ("none") a long run of loops may
    forget the question; with it the state can come to rest at a point that depends on the question
    (Bansal 2022).

        none      h
        add       h + e
        concat    W [h; e] (Huginn 2025); W (C, 2C) starts as [I I], so at first as h + e
    """

    def __init__(self, config):
        super().__init__()
        self.kind = config.injection
        if self.kind == "concat":  # not an nn.Linear: init_weights would draw its start at random
            self.weight = nn.Parameter(torch.eye(config.n_embd).repeat(1, 2))

    def forward(self, h, e):
        if self.kind == "none":
            return h
        if self.kind == "add":
            return h + e
        mixed = F.linear(torch.cat((h, e), dim=-1), self.weight)
        return mixed.to(h.dtype)  # under autocast the product is bfloat16; the state stays float32


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_head, self.causal = config.n_head, config.causal
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.out = nn.Linear(config.n_embd, config.n_embd, bias=False)

    def forward(self, x, positions):
        B, T, C = x.shape
        q, k, v = self.qkv(x).split(C, dim=2)
        shape = (B, T, self.n_head, C // self.n_head)
        q, k, v = (part.view(shape).transpose(1, 2) for part in (q, k, v))  # (B, H, T, D) each
        if positions.rotation is not None:
            q, k = rotate(q, *positions.rotation), rotate(k, *positions.rotation)
        y = self.attend(q, k, v, positions.bias)
        return self.out(y.transpose(1, 2).reshape(B, T, C))

    def attend(self, q, k, v, bias):
        hide_future = self.causal and bias is None  # a bias already hides it, with -inf
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=hide_future)


def rotate(x, cos, sin):
    """Turn the channels (i, i + D/2) of x (B, H, T, D) by the angle of their position."""
    swapped = x.roll(x.shape[-1] // 2, dims=-1)  # channel i + D/2 comes to i, and i to i + D/2
    return x * cos + swapped * sin  # the first half of `sin` is negative, see Positions


class PositionTerms(NamedTuple):
    """The `positions` that every layer is given: the same for all sequences, layers and loops."""

    rotation: tuple | None  # cosines and sines (T, D), by which queries and keys are turned
    bias: torch.Tensor | None  # (H, T, T), added to the attention scores; -inf hides a key


class Positions(nn.Module):
    """
    none      nothing: attention sees which tokens there are, not where they stand. (In a causal
              model the mask tells later loops something of the order.)
    rope      rotary: queries and keys are turned by angles that grow with the position (Su 2021)
    alibi     a fixed penalty that grows with the distance (Press 2022)
    relative  a learned bias for each of the distances 0 .. reach - 2, and one for all beyond, so
              that no sequence is too long for it (after T5, Raffel 2020). Far tokens have no
              order; for text take rope
    window    a learned bias for each of the distances 0 .. reach - 1, and nothing beyond is seen:
              each layer of each loop looks reach - 1 places further back, and far tokens cannot
              disturb attention
    grid      boards: a learned bias for each way in which two cells can share their coordinates,
              such as the same row, another column and another box

    A model that is not causal can tell left from right by rope, relative and window only; relative
    and window then have learned biases for keys ahead, too.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        if config.position in ("relative", "window"):
            ahead = 0 if config.causal else config.reach - 1  # for keys ahead of the query
            self.bias = nn.Parameter(torch.zeros(config.n_head, ahead + config.reach))
        if config.position == "grid":
            cells = torch.tensor(config.coordinates)  # (T, axes)
            same = (cells[:, None] == cells[None]).long()  # (T, T, axes): 1 if they share row, ..
            bits = same * 2 ** torch.arange(cells.shape[1])
            ways = bits.sum(2)  # (T, T): what two cells share, as one number, bit by bit
            self.register_buffer("shared", ways, persistent=False)
            self.bias = nn.Parameter(torch.zeros(config.n_head, 2 ** cells.shape[1]))

    def forward(self, x):
        """Of x (B, T, C) only the shape, the device and the type matter."""
        T, kind, reach, H = x.shape[1], self.config.position, self.config.reach, self.config.n_head
        place = torch.arange(T, device=x.device)
        distance = place[:, None] - place  # (T, T): how far behind the query a key stands
        rotation = bias = None
        if kind == "rope":
            D = x.shape[2] // H
            frequency = 10000.0 ** (-torch.arange(0, D, 2, device=x.device) / D)  # (D/2,)
            angle = place[:, None] * frequency  # (T, D/2)
            cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
            rotation = torch.cat((cos, cos), dim=1), torch.cat((-sin, sin), dim=1)
        if kind == "alibi":
            slope = 2.0 ** (-8 * torch.arange(1, H + 1, device=x.device) / H)  # (H,)
            bias = (-slope[:, None, None] * distance.abs()).to(x.dtype)
        if kind in ("relative", "window"):
            ahead = self.bias.shape[1] - reach  # 0 in a causal model
            bias = self.bias[:, distance.clamp(-ahead, reach - 1) + ahead]
        if kind == "window":
            bias = bias.masked_fill(distance.abs() >= reach, -math.inf)
        if kind == "grid":
            if T != len(self.shared):
                raise ValueError(f"this model is for boards of {len(self.shared)} cells, not {T}")
            bias = self.bias[:, self.shared]
        if self.config.causal and bias is not None:
            bias = bias.masked_fill(distance < 0, -math.inf)
        return PositionTerms(rotation, bias)


def RMSNorm(width):
    # By default eps is that of the type, in bfloat16 0.008. To the mean square of a new embedding,
    # 0.0004, that would be much: its norm would come out too small.
    return nn.RMSNorm(width, eps=torch.finfo(torch.float32).eps)


def init_weights(module):
    # A layer keeps the scale of what it is given. With GPT-2's 0.02 the first loop of a post-norm
    # model of the default width would move h by 3 % only, and `settle` would stop there.
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)  # as GPT-2; prelude_norm scales what comes of it


def check(config):
    """ValueError, in one line, for settings that cannot work."""
    kinds = get_type_hints(type(config))
    least = dict(vocab_size=1, n_embd=1, n_head=1, n_core=1, loops=1, reach=1)  # of others 0
    for field in fields(config):
        name, kind, value = field.name, kinds[field.name], getattr(config, field.name)
        if get_origin(kind) is Literal and value not in get_args(kind):
            choices = ", ".join(get_args(kind))
            raise ValueError(f"{name}={value!r} is unknown; choose from {choices}")
        if kind is int and value < least.get(name, 0):
            raise ValueError(f"{name} must be at least {least.get(name, 0)}")
    if config.n_embd % config.n_head:
        raise ValueError(f"n_embd={config.n_embd} must be divisible by n_head={config.n_head}")
    if config.position == "rope" and config.n_embd // config.n_head % 2:
        raise ValueError("position='rope' rotates pairs of channels: n_embd / n_head must be even")
    if (config.position == "grid") != bool(config.coordinates):
        raise ValueError("position='grid' and coordinates go together")
    if config.injection == "none" and config.state_init != "embed":
        raise ValueError(
            f"injection='none' and state_init={config.state_init!r}: the loop never sees the input"
        )
    if config.injection == "none" and config.backprop_loops:
        raise ValueError("injection='none' and backprop_loops: hardly a gradient for the prelude")
    if not config.tied and config.backprop_loops:
        raise ValueError("tied=False and backprop_loops: the layers of early loops hardly learn")
    if config.loss == "every" and config.backprop_loops:
        raise ValueError("loss='every' needs the gradient of every loop: leave out backprop_loops")


def check_text(tokens, n, temperature):
    if not (tokens.shape[1] > 0 and isinstance(n, int) and n >= 0 and temperature >= 0):
        given = f"{tokens.shape[1]} tokens, n={n!r}, temperature={temperature!r}"
        raise ValueError(f"generate wants tokens, a whole n >= 0, a temperature >= 0, not {given}")


def check_threshold(threshold):
    if threshold is None or isinstance(threshold, str) or math.isnan(threshold):
        raise ValueError(f"threshold={threshold!r} is no number; only a named rule has a default")
