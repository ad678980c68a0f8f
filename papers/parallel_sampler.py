"""
Efficient Parallel Samplers for Recurrent-Depth Models and Their Connection to Diffusion Language
Models (Geiping, Yang, Su 2025, arXiv 2510.14961)

A looped model writes slowly: the first token waits for all of its loops, then the second for all of
its own. But after a loop or two there is a guess, and the next token can begin with that. So each
pass refines the states of all unfinished tokens at once, reads their guesses anew, and begins one
more token. A token whose state has come to rest is finished. A wrong guess costs little: once it is
corrected, the state behind it moves on from where it is.

    pass      1  2  3  4  5         a number counts the loops of a state;
    token 1   1  2  3  4  .         "." is a finished token, to which the others attend as it is
    token 2      1  2  3  4
    token 3         1  2  3

Nothing is trained for it. Models of diffusion write in the same order if later tokens carry more
noise ("diffusion forcing").

What is different here: `write`, beside `generate`. The core runs `inner` times between two new
tokens, and at most `wavefront` tokens are unfinished; with a wavefront of one it is the usual
order, with an exit. In the authors' code a token that comes to rest finishes all before it. Here it
waits for them, and its own token must have stayed the same. `stir` is the noise that they mix into
the states, if the model starts from noise. A running mean of the embeddings is left out, and so is
a cache, so that only passes are saved.

    python train.py --task multihop --model parallel_sampler
    text, passes = model.write(prompt, 20)
    python -m claims.parallel_sampler
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from looped import Config, LoopedGPT


@dataclass
class SamplerConfig(Config):
    inner: int = 1  # passes of the core between two new tokens
    wavefront: int = 64  # the most unfinished tokens
    rest: float = 0.05  # a state rests when `inner` passes move it by less than this share
    stir: float = 0.0  # so much of a fresh start is mixed into each unfinished state

    def __post_init__(self):
        super().__post_init__()
        if not (self.tied and self.causal):
            raise ValueError("parallel_sampler is for a tied, causal model")
        if self.inner < 1 or self.wavefront < 1 or not 0 <= self.stir < 1:
            raise ValueError("inner and wavefront must be at least 1, and stir from 0 to below 1")


class ParallelSampler(LoopedGPT):
    config_class = SamplerConfig

    @torch.no_grad()
    def write(self, tokens, n, loops=None, wavefront=None, rest=None, most=64):
        """
        Append n tokens, each the likeliest, to tokens (B, T), whose states take `loops` loops as
        usual. Returns the text (B, T + n) and the passes (B,) of the core that each took beyond
        those for the prompt. A token is finished after `most` passes at the latest.
        """
        wavefront = self.config.wavefront if wavefront is None else wavefront
        rest = self.config.rest if rest is None else rest
        B, T = tokens.shape
        h = self.think(tokens, loops)
        finished = torch.full((B, 1), T, device=h.device)  # states, from the left, that stay
        passes, age = torch.zeros_like(finished), torch.full_like(tokens, most)
        text = self.read_again(h, tokens, finished)
        while (writing := finished < T + n - 1).any():
            first, e, positions = self.begin(text)
            new = text.shape[1] - h.shape[1]
            h, age = F.pad(h, (0, 0, 0, new)), F.pad(age, (0, new))
            h = torch.where((age == 0)[..., None], first, h)  # with the guess of today
            place = torch.arange(text.shape[1], device=h.device)
            active = (place >= finished) & (place < finished + wavefront)
            before = h
            h = torch.where(active[..., None], h + self.config.stir * (first - h), h)
            for _ in range(self.config.inner):
                h = torch.where(active[..., None], self.loop(h, e, 0, positions), h)
            age = age + self.config.inner * active
            passes = passes + self.config.inner * writing

            again = self.read_again(h, text, finished)
            same = again[:, : text.shape[1]] == text
            moved = (h - before).norm(dim=2) / h.norm(dim=2)
            rests = active & same & ((moved < rest) | (age >= most))
            stays = (place < finished) | rests
            finished = stays.long().cumprod(1).sum(1, keepdim=True)
            text = again[:, : T + n]
        return text, passes[:, 0]

    def read_again(self, h, text, finished):
        """The tokens whose states before them are not finished, read anew; and one more behind."""
        guesses = F.pad(self.readout(h).argmax(-1), (1, 0))  # (B, T + 1): of the places 0 .. T
        place = torch.arange(guesses.shape[1], device=text.device)
        known = (place <= finished) & (place < text.shape[1])
        return torch.where(known, F.pad(text, (0, 1)), guesses)
