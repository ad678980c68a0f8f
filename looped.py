"""
A looped transformer: one small stack of layers, run as many times as you ask for.

    tokens -> embed -> prelude -> norm -> e            read the question once
    h = initial state
    for t in 0..loops-1:   h = core(inject(h, e))      think: the same weights every time
    h -> coda -> norm -> head -> logits                answer

Depth is no longer a property of the weights but an argument of the call, `model(tokens, loops=32)`: a few layers do the
work of many, and harder questions can be given more loops than training ever used. Read top to bottom: the settings,
the loop, when to stop it, text; then its parts: the block, injection, exit rules. Shapes: B sequences of T tokens,
states of C = n_embd channels. "The question" is what the tokens say, whatever that is. RESULTS.md lists the papers.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from attention import Attention, Cache, Positions, RMSNorm, init_weights
from checks import check_cache, check_config, check_tokens, find_rule, loop_counts, one_count

IGNORE = -100  # the target where no answer is asked (PyTorch's ignore_index)


@dataclass
class Config:
    vocab_size: int  # different tokens
    block_size: int  # tokens of the longest sequence in training; the model itself takes any length
    n_embd: int = 64  # width of the state, C below
    n_head: int = 4  # attention heads
    n_prelude: int = 0  # layers that run once, before the loop
    n_core: int = 1  # layers inside the loop
    n_coda: int = 0  # layers that run once, after the loop
    loops: int = 8  # loops when the call does not say; for an untied model, the loops it has layers for
    tied: bool = True  # all loops share the core; False: loops * n_core different layers, a stack to compare with
    injection: str = "add"  # how e enters each loop: none | add | concat (Huginn 2025) | diagonal (Parcae 2026)
    norm: str = "post"  # pre (GPT-2) | post (TRM 2025) | sandwich (Huginn 2025); all RMSNorm, see Block
    position: str = "relative"  # none | rope (Su 2021) | alibi (Press 2022) | relative (T5 2020) | window | grid
    reach: int = 4  # a head's biases, for distance 0, 1, ..; beyond: relative: the last one, window: not seen
    coordinates: tuple = ()  # position="grid": (row, column, box) of each cell
    state_init: str = "embed"  # initial state: embed (e itself) | zeros (Yang 2024) | noise, anew a call (Huginn 2025)
    reembed: bool = False  # each loop ends by adding what it predicts so far, as an embedding (after DiscoLoop 2026)
    causal: bool = True  # False: every position sees every other, as a Sudoku needs
    loss: str = "final"  # which loops learn to answer: final | every (the mean over all loops)
    backprop_loops: int = 0  # gradient through the last k loops only (Huginn 2025); 0: all, as loss="every" needs

    def __post_init__(self):
        check_config(self)


class LoopedGPT(nn.Module):
    config_class = Config  # a subclass that adds settings adds them to a subclass of Config, and names it here
    exit_rules = {}  # rules of a subclass, beside those of EXIT_RULES below

    def __init__(self, config):
        super().__init__()
        self.config = config
        C = config.n_embd
        self.positions = Positions(config)
        self.embed = nn.Embedding(config.vocab_size, C)  # also the head: a state is read by what embedding it resembles
        self.prelude = nn.ModuleList(self.new_block() for _ in range(config.n_prelude))
        self.prelude_norm = RMSNorm(C)  # keeps e from growing while training goes on (Parcae 2026: late blow-ups)
        self.inject = Injection(config.injection, C)
        self.core = nn.ModuleList(self.new_block() for _ in range(config.n_core * (1 if config.tied else config.loops)))
        self.coda = nn.ModuleList(self.new_block() for _ in range(config.n_coda))
        self.norm = RMSNorm(C)
        if config.reembed:
            self.reembed_gate = nn.Parameter(torch.ones(C))
        self.apply(init_weights)

    def new_block(self):
        return Block(self.config)

    # ---- the loop. It runs in four places: `states` yields every state; `think` gives the last, maybe with a count for
    # each sequence; `solve` lets each sequence stop on its own; `decode` reads token by token, with a cache.

    def begin(self, tokens, cache=None):
        """The initial state h and the question e, (B, T, C) each; and `where`, what attention is told of positions."""
        check_tokens(tokens, self.config)
        x = self.embed(tokens)
        where = self.positions(x, 0 if cache is None else cache.length)
        e = self.prelude_norm(self.run_layers(self.prelude, x, where, cache, "prelude"))
        h = e  # so the first loop of injection="add" sees e + e
        if self.config.state_init == "zeros":
            h = torch.zeros_like(e)
        if self.config.state_init == "noise":
            h = torch.randn_like(e)
        return h, e, where

    def loop(self, h, e, t, where, cache=None):
        """
        One loop, t = 0, 1, ..: from the state h (B, T, C) and the question e to the next state. `where` (see Where in
        attention.py) has no batch. A subclass may act on t, or widen the state from `begin` to `readout`.
        """
        h = self.core_pass(self.inject(h, e), t, where, cache)
        if self.config.reembed:  # the expected embedding, each of length sqrt(C): long if the prediction is decided
            mixture = self.head(h).softmax(-1) @ F.normalize(self.embed.weight)
            h = h + self.reembed_gate * (mixture * self.config.n_embd**0.5)
        return h

    def core_pass(self, h, t, where, cache=None):
        n = self.config.n_core
        layers = self.core if self.config.tied else self.core[t * n : (t + 1) * n]
        return self.run_layers(layers, h, where, cache, "core", t)

    def run_layers(self, layers, h, where, cache=None, part="core", t=0):
        for i, block in enumerate(layers):
            h = block(h, where, cache, (part, t, i))  # the key under which this layer, in this loop, uses the cache
        return h

    def readout(self, h, answer_mask=None, where=None, cache=None):
        """What would the answer be by now? Logits (B, T, vocab_size), or where answer_mask is true (N, vocab_size)."""
        if self.coda:
            h = self.run_layers(self.coda, h, self.positions(h) if where is None else where, cache, "coda")
        return self.head(h if answer_mask is None else h[answer_mask])

    def head(self, h):
        return F.linear(self.norm(h), self.embed.weight)

    def forward(self, tokens, loops=None):
        """Logits (B, T, vocab_size) of tokens (B, T) after `loops` loops: an int, or a count for each sequence (B,)."""
        return self.readout(self.think(tokens, loops))

    def states(self, tokens, loops=None, h=None):
        """Yields the state before the first and after each of `loops` loops. It starts from h, if given, and t = 0."""
        start, e, where = self.begin(tokens)
        h = start if h is None else h
        yield h
        for t in range(one_count(loops, self.config)):
            h = self.loop(h, e, t, where)
            yield h

    def trajectory(self, tokens, loops=None, h=None):
        """All states (loops + 1, B, T, C), the one before the first loop included."""
        return torch.stack(list(self.states(tokens, loops, h)))

    def think(self, tokens, loops=None, h=None):
        """
        The last state (B, T, C) alone. Here `loops` may be a count for each sequence, (B,), as training wants it: a
        model that always looped equally often would be lost at any other count (Parcae 2026).

            row 0, 6 loops    o o o x x x      x: a loop with a gradient, the last 3 if backprop_loops = 3
            row 1, 4 loops    o x x x          o: a loop without; what the backward pass would need is not kept
            row 2, 1 loop     x                rows are sorted; who is done leaves: a batch costs the sum of its counts

        Where h is cut off from its past, e is not: injected, it trains the embedding in every loop with a gradient.
        """
        start, e, where = self.begin(tokens)
        counts = loop_counts(loops, self.config, len(tokens))  # (B,) on the CPU
        counts, order = counts.sort(descending=True, stable=True)
        h = start if h is None else h
        most = max(counts.tolist(), default=0)
        h = self.advance(h[order], e[order], range(most), counts, where)
        return h[order.argsort()]  # back in the order of the tokens

    def advance(self, h, e, span, counts, where):
        """The loops t of a span, for sorted rows: row i takes counts[i] in all. (fast.py calls it in pieces.)"""
        done, k = [], self.config.backprop_loops
        for t in span:
            active = int((counts > t).sum())  # rows [0:active] have a loop to go
            untracked = int((counts > t + k).sum()) if k else 0  # rows [0:untracked] more than k: no gradient here
            if active < len(h):
                done = [h[active:], *done]
                h, e = h[:active], e[:active]
            parts = []
            if untracked:
                with torch.no_grad():
                    parts.append(self.loop(h[:untracked], e[:untracked], t, where))
            if untracked < active:
                parts.append(self.loop(h[untracked:], e[untracked:], t, where))
            h = torch.cat(parts) if untracked else parts[0]
        return torch.cat((h, *done)) if done else h

    def loss(self, tokens, targets, loops=None):
        """
        The mean cross-entropy (nats) of the answers, with config.loss="every" also over the loops (and one count for
        all sequences); and the prediction (B, T) of the last loop. See token_losses.
        """
        if self.config.loss == "every":
            states = list(self.states(tokens, loops))[1:]
        else:
            states = [self.think(tokens, loops)]
        losses = []
        for h in states:
            loss, prediction = self.token_losses(h, targets)
            losses.append(loss)
        losses = torch.stack(losses)  # (loops, N) or (1, N)
        return losses.sum() / max(1, losses.numel()), prediction  # a batch without an answer has no loss

    def token_losses(self, h, targets):
        """Where targets (B, T) are not IGNORE: cross-entropy (N,) in nats; prediction (B, T), IGNORE elsewhere."""
        answer_mask = targets != IGNORE
        logits = self.readout(h, answer_mask)  # (N, vocab_size)
        prediction = torch.full_like(targets, IGNORE)
        prediction[answer_mask] = logits.argmax(-1)
        return F.cross_entropy(logits.float(), targets[answer_mask], reduction="none"), prediction

    # ---- without training: when to stop, and text

    @torch.no_grad()
    def solve(self, tokens, rule="settle", threshold=None, max_loops=64, answer_mask=None):
        """
        Let each sequence stop on its own: logits (B, T, vocab_size) and the loops used (B,). A tied loop is a fixed map
        of the state: once that stands still, more loops change nothing. This makes the answer final, not right.
        A sequence stops when what its rule measures falls under the threshold (EXIT_RULES, below; the model is trained
        for none of them), at the latest after max_loops. Predictions are measured where answer_mask (B, T) is true.
        """
        measure, threshold = find_rule(rule, {**EXIT_RULES, **self.exit_rules}, threshold)
        max_loops = one_count(max_loops if self.config.tied else min(max_loops, self.config.loops), self.config)
        h, e, where = self.begin(tokens)
        answer_mask = torch.ones_like(tokens, dtype=torch.bool) if answer_mask is None else answer_mask
        final, loops_used = torch.zeros_like(h), torch.zeros(len(h), dtype=torch.long, device=h.device)
        rows = torch.arange(len(h), device=h.device)  # those that still loop
        measured = torch.full((len(h),), math.inf, device=h.device)
        for t in range(max_loops):
            before, h = h, self.loop(h, e, t, where)
            measured = measure(self, before, h, answer_mask[rows], measured)
            stops = (measured < threshold) | (t + 1 == max_loops)
            if stops.any():  # who is done leaves the batch
                final[rows[stops]] = h[stops]
                loops_used[rows[stops]] = t + 1
                h, e, rows, measured = h[~stops], e[~stops], rows[~stops], measured[~stops]
            if len(rows) == 0:
                break
        return self.readout(final), loops_used

    @torch.no_grad()
    def decode(self, tokens, cache, loops=None):
        """
        Logits (B, T, vocab_size) of tokens (B, T) that stand behind those in the Cache, which takes these in. In loop t
        a new token looks at the earlier ones as they were in loop t: twice the loops make a cache twice as large.
        """
        loops = one_count(loops, self.config)
        check_cache(cache, loops, self.config)
        h, e, where = self.begin(tokens, cache)
        for t in range(loops):
            h = self.loop(h, e, t, where, cache)
        logits = self.readout(h, where=where, cache=cache)
        cache.length += tokens.shape[1]
        return logits

    @torch.no_grad()
    def generate(self, tokens, n, loops=None, temperature=0.0):
        """Append n tokens to tokens (B, T), each after `loops` loops: the likeliest, or sampled at a temperature."""
        cache, new = Cache(), tokens
        for _ in range(n):
            logits = self.decode(new, cache, loops)[:, -1]
            if temperature > 0:
                new = torch.multinomial((logits / temperature).softmax(-1), 1)
            else:
                new = logits.argmax(-1, keepdim=True)
            tokens = torch.cat((tokens, new), dim=1)
        return tokens


# -----------------------------------------------------------------------------
# The block: attention and an MLP, close to nanoGPT's (no biases, no dropout). It makes no use of being looped.


class Block(nn.Module):
    """
    A loop adds the same two branches to its state again and again. Pre-norm lets that sum grow with the loops;
    post-norm and sandwich (which normalises the input of the branch, too) bring it back to one scale after every
    branch, so that loop 50 looks to the weights like loop 5. That is why post is the default here and pre in a GPT.
    """

    def __init__(self, config):
        super().__init__()
        C = config.n_embd
        before, after = config.norm in ("pre", "sandwich"), config.norm in ("post", "sandwich")
        self.attention = Attention(config)
        self.mlp = nn.Sequential(nn.Linear(C, 4 * C, bias=False), nn.GELU(), nn.Linear(4 * C, C, bias=False))
        self.before_attention = RMSNorm(C) if before else nn.Identity()
        self.before_mlp = RMSNorm(C) if before else nn.Identity()
        self.after_attention = RMSNorm(C) if after else nn.Identity()
        self.after_mlp = RMSNorm(C) if after else nn.Identity()

    def forward(self, x, where, cache=None, key=None):
        x = self.after_attention(x + self.attention(self.before_attention(x), where, cache, key))
        x = self.after_mlp(x + self.mlp(self.before_mlp(x)))
        return x


# -----------------------------------------------------------------------------
# Injection: how the question e enters the state h again at every loop. Without it a long run of loops forgets the
# question; with it the loop can have a fixed point that depends on the question (Bansal 2022, Blayney 2026).


class Injection(nn.Module):
    """
    none        h
    add         h + e
    concat      W [h; e]        starts as h + e
    diagonal    a h + dt W e    for each channel a step dt = softplus(raw_dt) and a decay a = exp(-dt exp(log_rate))
                                between 0 and 1; starts as 0.45 h + 0.80 e: a = sqrt(1/5), dt = log sqrt 5 (Parcae)
    """

    def __init__(self, kind, C):
        super().__init__()
        self.kind = kind
        if kind == "concat":
            self.weight = nn.Parameter(torch.eye(C).repeat(1, 2))  # no nn.Linear, which init_weights would draw anew
        if kind == "diagonal":
            self.weight = nn.Parameter(torch.eye(C))
            self.raw_dt = nn.Parameter(torch.full((C,), math.log(math.sqrt(5) - 1)))  # softplus(log(x - 1)) = log x
            self.log_rate = nn.Parameter(torch.zeros(C))

    def decay(self):
        """a: what remains of each channel of h, never more than all of it, so this part cannot blow up."""
        return torch.exp(-F.softplus(self.raw_dt) * torch.exp(self.log_rate))

    def forward(self, h, e):
        if self.kind == "none":
            return h
        if self.kind == "add":
            return h + e
        if self.kind == "concat":
            return F.linear(torch.cat((h, e), dim=-1), self.weight).to(h.dtype)  # also under autocast
        return self.decay() * h + F.softplus(self.raw_dt) * F.linear(e, self.weight)


# -----------------------------------------------------------------------------
# Exit rules: what solve measures after a loop, (B,), given the states (B, T, C) before and after it, the answer mask,
# and what it measured last (inf at first), for rules that add up. EXIT_RULES has the usual thresholds; fixed: never.


def settle(model, before, h, answer_mask, last):
    """How far the loop moved the state, over all positions: |h_t - h_(t-1)| / |h_t|."""
    return (h - before).flatten(1).norm(dim=1) / h.flatten(1).norm(dim=1)


def kl(model, before, h, answer_mask, last):
    """How far it moved the prediction: KL(p_t, p_(t-1)) in nats, the largest at an answer (Kohli 2026)."""
    log_p, log_q = model.readout(h).log_softmax(-1), model.readout(before).log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).masked_fill(~answer_mask, -math.inf).amax(1)


def entropy(model, before, h, answer_mask, last):
    """How undecided the prediction is: its entropy in nats, the largest at an answer."""
    log_p = model.readout(h).log_softmax(-1)
    return (log_p.exp() * -log_p).sum(-1).masked_fill(~answer_mask, -math.inf).amax(1)


EXIT_RULES = dict(fixed=(settle, -math.inf), settle=(settle, 0.05), kl=(kl, 0.001), entropy=(entropy, 0.1))
MODELS = {"looped": LoopedGPT}  # what `train.py --model` can name, beside the files in papers/
