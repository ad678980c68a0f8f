"""
Addition read digit by digit, with a cache for each loop or one that loops share

A causal model can read a question token by token if it keeps the keys and values of the tokens
before: a cache. A looped model makes new ones in every loop, so its cache is as large as that of an
untied stack as deep. Huginn (2025) lets all loops look at what the last loop kept of earlier
tokens, Mixture-of-Recursions (2025) at what the first one did. Our models were not trained for
that: what does it cost? The first loop's keys and values come before any thought. The last loop's
are those of a state at rest, and if loops rest in a fixed point, all late loops keep the same.

This file is also the place to see how a looped model is decoded with a cache: Cache, decode and
generate below.
"""

import copy
import math
from contextlib import contextmanager

import torch
from tqdm import tqdm

from analyses.common import add_examples, add_loops, load_looped
from analyses.cost import forward_of, race
from looped import Attention, LoopedGPT, PositionTerms
from support.figures import BLUE, GREEN, ORANGE, WIDTH, label_ends, plt, seeds_text, write
from support.processes import fail

MANY = True
POLICIES = {  # which cache: its name in the picture, its style and its colour
    "none": ("one for each loop", "o-", BLUE),
    "last": ("the last loop's, for all", "s--", ORANGE),
    "first": ("the first loop's, for all", "^:", GREEN),
}


def add_flags(parser):
    add_loops(parser, "loops of each token (default: as the run says, the most in training)")
    add_examples(parser)


# --------------------------------------------------------------------------------------------------
# A looped model with a cache


class Cache:
    """
    The keys and values of earlier tokens.

    In a causal model the state of an earlier token in loop t never changes again. So each layer
    keeps its keys and values of each loop, and a new token looks at those of its own loop t. Layers
    outside the loop run once and keep theirs once.
    """

    def __init__(self):
        self.length = 0  # how many tokens it holds
        self.loops = None  # how often each of them was looped
        self.loop = None  # the loop that runs now; None before the first and after the last
        self.kept = {}  # {(layer, loop): (keys, values)}, (B, H, length, D) each
        self.where = None  # what Positions says of so many tokens, or more

    def extend(self, layer, k, v):
        """Put the keys and values (B, H, T, D) of new tokens behind those kept; returns all."""
        key = layer, self.loop
        if key in self.kept:
            earlier_k, earlier_v = self.kept[key]
            if earlier_k.shape[2] != self.length:
                raise ValueError(f"{layer} runs twice in a loop, and this cache has room for one")
            k, v = torch.cat((earlier_k, k), dim=2), torch.cat((earlier_v, v), dim=2)
        self.kept[key] = k, v
        return k, v

    def positions_behind(self, positions, x):
        """
        What attention is told of new tokens x (B, T, C), which stand behind those in the cache: the
        rows of the new tokens in what `positions` says of all. It is asked about twice as many
        tokens as there are, so that it need not be asked again for every new one.
        """
        first, end = self.length, self.length + x.shape[1]
        if self.where is None or end > self.where.bias.shape[1]:
            self.where = positions_of_all(positions, x, 2 * end)
        rotation, bias = self.where
        if rotation is not None:
            rotation = tuple(part[first:end] for part in rotation)
        return PositionTerms(rotation, bias[:, first:end, :end])

    def copy(self):
        """A cache that can be extended apart. Both share their tensors, which nobody changes."""
        twin = copy.copy(self)
        twin.kept = dict(self.kept)
        return twin


def positions_of_all(positions, x, length):
    """What Positions, in looped.py, says of `length` tokens like those of x; always with a bias."""
    alike = x.new_empty(1, length, x.shape[2])  # only its sizes, its device and its type matter
    rotation, bias = type(positions).forward(positions, alike)
    if bias is None:  # attention hides the future by itself only if all tokens are new
        place = torch.arange(length, device=x.device)
        future = place > place[:, None]  # (length, length)
        bias = alike.new_zeros(1, length, length).masked_fill(future, -math.inf)
    return PositionTerms(rotation, bias)


@torch.no_grad()
def decode(model, tokens, cache, loops=None):
    """
    Logits (B, T, vocab_size) of tokens (B, T) that stand behind those in the cache, which takes
    them in. They are the logits that model(text, loops) has at these places of the whole text.
    """
    loops = model.config.loops if loops is None else loops
    if not model.config.causal:
        raise ValueError("only a causal model can read token by token")
    if cache.loops not in (None, loops):
        raise ValueError(f"the tokens in this cache took {cache.loops} loops each, not {loops}")
    cache.loops = loops
    with attention_to(cache, model):
        h, e, positions = model.begin(tokens)
        for t in range(loops):
            cache.loop = t
            h = model.loop(h, e, t, positions)
        cache.loop = None
        logits = model.readout(h)
    cache.length += tokens.shape[1]
    return logits


@contextmanager
def attention_to(cache, model):
    """
    As long as this lasts, each attention of the model puts its keys and values into the cache and
    looks at all that are there. And positions are those of tokens behind the ones in the cache.
    """

    def attend_to_cache(attention, layer):
        def attend(q, k, v, bias):
            k, v = cache.extend(layer, k, v)
            return type(attention).attend(attention, q, k, v, bias)

        return attend

    layers = {name: part for name, part in model.named_modules() if isinstance(part, Attention)}
    for name, attention in layers.items():  # a function in an object hides the method of its class
        attention.attend = attend_to_cache(attention, name)
    model.positions.forward = lambda x: cache.positions_behind(model.positions, x)
    try:
        yield
    finally:
        for attention in layers.values():
            del attention.attend
        del model.positions.forward


def generate(model, tokens, n, loops=None):
    """model.generate at temperature 0, in which every new token reads only the one before it."""
    cache, new = Cache(), tokens
    for _ in range(n):
        new = decode(model, new, cache, loops)[:, -1].argmax(-1, keepdim=True)
        tokens = torch.cat((tokens, new), dim=1)
    return tokens


class SharedCache(Cache):
    """All loops look at what one of them, the keeper, kept of earlier tokens."""

    def __init__(self, keeper):
        super().__init__()
        self.keeper = keeper  # a loop, 0, 1, ..

    def extend(self, layer, k, v):
        if self.loop is None or self.loop == self.keeper:
            return super().extend(layer, k, v)
        kept = self.kept.get((layer, self.keeper))
        if kept is None:
            return k, v
        # the keeper may have had its turn already, so only what it kept of earlier tokens counts
        earlier_k, earlier_v = (each[:, :, : self.length] for each in kept)
        return torch.cat((earlier_k, k), dim=2), torch.cat((earlier_v, v), dim=2)


def new_cache(policy, loops):
    """An empty cache: for each loop its own ("none"), or one that all share ("first", "last")."""
    if policy == "none":
        return Cache()
    return SharedCache(keeper=0 if policy == "first" else loops - 1)


# --------------------------------------------------------------------------------------------------
# Measure


def read_token_by_token(model, tokens, loops, policy):
    """Logits (B, T, vocab_size) of a model that sees one token and the cache at a time."""
    cache = new_cache(policy, loops)
    parts = [decode(model, token, cache, loops) for token in tokens.split(1, dim=1)]
    return torch.cat(parts, dim=1)


@torch.no_grad()
def can_be_cached(model, tokens, loops):
    """
    Does a model say the same with and without a cache? One of your own need not: its loop may look
    at other tokens in a way that this file does not know, or count the places of the tokens.
    """
    model = copy.deepcopy(model).double()
    cached = read_token_by_token(model, tokens, loops, "none")
    return torch.allclose(cached, model(tokens, loops), rtol=1e-3, atol=1e-3)


def measure_cache(model, task, difficulties, loops, examples, policy):
    """Accuracy at each difficulty, on the first test batch."""
    row = []
    for difficulty in difficulties:
        batch = task.batch("test", 0, examples, difficulty)
        answer = read_token_by_token(model, batch.tokens, loops, policy).argmax(-1)
        row.append(task.check(batch, answer).float().mean().item())
    return row


def measure_generation(model, loops, lengths, repeats):
    """
    Milliseconds of one more token behind texts of some lengths, {policy or "no cache": [ms]}.
    (For bench.py.)
    """
    found, device = {policy: [] for policy in (*POLICIES, "no cache")}, model.embed.weight.device
    for length in lengths:
        text = torch.randint(model.config.vocab_size, (1, length + 1), device=device)
        jobs = {"no cache": forward_of(model, text, loops)}
        for policy in POLICIES:
            cache = new_cache(policy, loops)
            decode(model, text[:, :-1], cache, loops)
            jobs[policy] = one_more_token(model, text[:, -1:], cache, loops)
        for name, ms in race(jobs, repeats).items():
            found[name].append(ms)
    return found


def one_more_token(model, token, cache, loops):
    return lambda: decode(model, token, cache.copy(), loops)


# --------------------------------------------------------------------------------------------------
# Draw


def draw_cache(numbers):
    """Accuracy over difficulty, one curve for each policy."""
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    places = range(len(numbers["difficulty"]))  # at equal distances, because difficulties double
    ends = []
    for policy, (name, style, color) in POLICIES.items():
        axis.plot(places, numbers[policy], style, color=color, lw=2.2)
        ends.append((numbers[policy][-1], name, color))
    axis.set(xlabel=f"difficulty ({numbers['unit']})", ylabel="accuracy (test)", ylim=(-0.03, 1.05))
    axis.set_xticks(places, numbers["difficulty"])
    label_ends(axis, ends, gap=0.08)
    lost, can = {}, {}
    for policy in ("last", "first"):
        pairs = zip(numbers["none"], numbers[policy])
        lost[policy] = max(exact - shared for exact, shared in pairs)
        can[policy] = "can" if lost[policy] < 0.05 else "cannot"
    title = f"The last loop's cache {can['last']} be shared (-{lost['last']:.2f}), "
    title += f"the first's {can['first']} (-{lost['first']:.2f})\n(in brackets the most accuracy "
    task = f"{numbers['task']}, " if "task" in numbers else ""
    title += f"lost; {task}{numbers['loops']} loops, {seeds_text(numbers['seeds'])})"
    figure.suptitle(title)
    return figure


# --------------------------------------------------------------------------------------------------
# Say


def main(runs, args):
    loaded = load_looped(runs, args.device, needs=("begin", "loop", "readout", "positions"))
    model, task, flags = loaded[0]
    if not task.causal:
        fail(f"--task {flags.task} is not causal: nothing of it can be cached")
    top = task.max_difficulty
    difficulties = [d for d in sorted({1, top // 4, top // 2, top, 2 * top}) if d > 0]
    loops = args.loops or flags.loops
    if type(model) is not LoopedGPT:
        tokens = task.batch("val", 0, 8, top).tokens
        if not can_be_cached(model, tokens, loops):
            fail(f"--model {flags.model} answers otherwise when it reads token by token")
    numbers = dict(task=flags.task, difficulty=difficulties, unit=task.unit, loops=loops)
    numbers["seeds"] = [flags.seed for _, _, flags in loaded]
    for policy in tqdm(POLICIES, desc="cache", leave=False, disable=None):
        rows = []
        for model, task, _ in loaded:
            row = measure_cache(model, task, difficulties, loops, args.examples, policy)
            rows.append(row)
        numbers[policy] = torch.tensor(rows).mean(0).tolist()
        numbers[f"{policy}_by_run"] = rows
    print(f"\n{task.unit:>26}  " + "  ".join(f"{d:>5}" for d in difficulties))
    for policy, (name, _, _) in POLICIES.items():
        print(f"{name:>26}  " + "  ".join(f"{accuracy:.3f}" for accuracy in numbers[policy]))
    write(runs[0], "cache", draw_cache(numbers), numbers)
