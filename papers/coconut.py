"""
Coconut: Reasoning in a Continuous Latent Space (Hao et al. 2024, arXiv 2412.06769)

A model that writes its steps commits to one word at each. Coconut does not decode: the last state
is put behind the text as if it were the embedding of the next word, a few times, and then the
answer is read. Such a thought could hold several places at once. It is a loop of one token: the
text is read once, and a thought costs as much as one more token.

Nobody tells a thought what to be, and the answer alone teaches too little. So in training a random
number of the first steps are thoughts, and those behind them are written.

What is different here: the last places of the text are filled one by one, each with the state of
the place before it. Keys and values of earlier places are kept while this is done.

    python train.py --task reach --model coconut --thoughts 3 --sampler fixed --loops 1
    python -m claims.coconut
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from looped import IGNORE, Attention, Config, LoopedGPT, PositionTerms


@dataclass
class CoconutConfig(Config):
    thoughts: int = 3  # the last places of the text, whose tokens are not read
    feedback: bool = True  # a thought is the state before it; False: a learned vector, a pause


class CachedAttention(Attention):
    kept = None  # the keys and values of earlier places, while a text is read in parts

    def attend(self, q, k, v, bias):
        if self.kept is not None:
            self.kept.append((k, v))
            k = torch.cat([key for key, _ in self.kept], dim=2)
            v = torch.cat([value for _, value in self.kept], dim=2)
        return super().attend(q, k, v, bias)


class Coconut(LoopedGPT):
    config_class = CoconutConfig

    def __init__(self, config):
        super().__init__(config)
        pauses = torch.zeros(config.thoughts, config.n_embd)
        self.pauses = pauses if config.feedback else nn.Parameter(torch.randn_like(pauses))
        self.now = config.thoughts  # how many are thoughts now; the places behind these are read

    def new_block(self):
        block = super().new_block()
        block.attention.__class__ = CachedAttention  # with the weights that it has
        return block

    def places(self, T):
        """Where the first thought is, and the end of the last."""
        first = T - self.config.thoughts
        if first < 1:
            raise ValueError(f"a text of {T} tokens has no room for {T - first} thoughts and more")
        return first, first + self.now

    def begin(self, tokens):
        _, e, positions = super().begin(tokens)
        first, end = self.places(tokens.shape[1])
        pauses = self.pauses[: self.now].to(e).expand(len(e), -1, -1)
        e = torch.cat((e[:, :first], pauses, e[:, end:]), dim=1)
        return e, e, positions

    def loop(self, h, e, t, positions):
        """The question is read; each thought sees all before it; then what stands behind them."""
        if not self.config.feedback:
            return super().loop(h, e, t, positions)
        x = self.inject(h, e)
        T = x.shape[1]
        first, end = self.places(T)
        for block in self.core_of(t):
            block.attention.kept = []
        done = [self.read(x[:, :first], 0, t, positions)]
        for place in range(first, end):
            thought = done[-1][:, -1:]
            done.append(self.read(thought, place, t, positions))
        if end < T:
            done.append(self.read(x[:, end:], end, t, positions))
        for block in self.core_of(t):
            block.attention.kept = None
        return torch.cat(done, dim=1)

    def read(self, x, first, t, positions):
        """The next state of the places x, from place `first` on, which see all places before."""
        end = first + x.shape[1]
        rotation, bias = positions
        if bias is None:
            place = torch.arange(end, device=x.device)
            bias = torch.zeros(1, end, end, device=x.device, dtype=x.dtype)
            bias = bias.masked_fill(place > place[:, None], -math.inf)
        if rotation is not None:
            rotation = tuple(each[first:end] for each in rotation)
        positions = PositionTerms(rotation, bias[:, first:end, :end])
        for block in self.core_of(t):
            x = block(x, positions)
        return x

    def loss(self, tokens, targets, loops=None):
        """Some of the first steps are thoughts; what a thought would have been is not asked."""
        self.now = int(torch.randint(self.config.thoughts + 1, ()))
        first, end = self.places(tokens.shape[1])
        asked = targets.clone()
        asked[:, first - 1 : end - 1] = IGNORE
        result = super().loss(tokens, asked, loops)
        self.now = self.config.thoughts
        return result
