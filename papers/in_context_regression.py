"""
Looped Transformers are Better at Learning Learning Algorithms (Yang et al. 2024, arXiv 2311.12424)

A prompt holds examples (x, y) of a linear function that the model has never seen, y = w x, and then
some x alone: what is their y? One layer, looped, can learn to be a step of gradient descent. Then
it does what a stack of as many different layers does, and stays where it is if it is looped longer.

What is different here: the state starts at zero, z <- f(z + x), and the loss is the mean over the
last T of b loops. Loops before these have no gradient. So the loop learns to come to rest at the
answer, and not to be there at loop b alone. Tokens are real vectors, (x, y, 0) for an example and
(x, 0, 1) for a question: (B, T, d + 2) instead of whole numbers. No task of train.py has such
tokens; claims/regression.py makes them and trains this model.

    python -m claims.in_context_regression --seeds 23 24 25
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from looped import Config, LoopedGPT, init_weights


@dataclass
class RegressionConfig(Config):
    vocab_size: int = 1  # not used: there are no tokens
    dimensions: int = 4  # numbers in x
    loops: int = 12  # b
    last: int = 8  # T; 0: the loss is that of loop b alone, with the gradient through all
    state_init: str = "zeros"
    position: str = "none"
    causal: bool = False


class RegressionGPT(LoopedGPT):
    config_class = RegressionConfig

    def __init__(self, config):
        super().__init__(config)
        if config.vocab_size > 1:
            raise ValueError("this model reads vectors, and no task of train.py has them")
        self.embed = nn.Linear(config.dimensions + 2, config.n_embd, bias=False)
        self.prelude_norm = nn.Identity()  # a norm would hide how large x and y are
        self.out = nn.Linear(config.n_embd, 1, bias=False)
        self.apply(init_weights)

    def head(self, h):
        return self.out(self.norm(h))[..., 0]

    def loss(self, tokens, targets, loops=None):
        """
        The mean squared error of the questions, of tokens (B, T, d + 2) and targets (B, T); and the
        predictions (B, T).
        """
        loops = self.config.loops if loops is None else loops
        cut, last = self.config.last > 0, max(1, self.config.last)
        asked = tokens[..., -1] == 1
        h, e, positions = self.begin(tokens)
        losses = []
        for t in range(loops):
            with torch.set_grad_enabled(t >= loops - last or not cut):
                h = self.loop(h, e, t, positions)
            if t >= loops - last:
                losses.append(F.mse_loss(self.readout(h)[asked], targets[asked]))
        return torch.stack(losses).mean(), self.readout(h)
