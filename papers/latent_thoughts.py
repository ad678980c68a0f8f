"""
Reasoning with Latent Thoughts: On the Power of Looped Transformers
(Saunshi et al. 2025, arXiv 2502.17416)

The paper changes nothing in the loop: it compares one layer that is looped L times with L layers,
and with one layer that runs once. This model is a control beside it, after Goyal et al. 2024: each
token is followed by pauses, so that one layer that runs once spends as much as one that is looped,
but side by side instead of one after the other. A pause of theirs is a learned vector and nothing
else; here the token is added to it, for in a text without positions a pause would not know whose it
is.

What is different here: `begin` puts the pauses in, and the answer is read at the last pause.

    python train.py --task multihop --model latent_thoughts --sampler fixed --loops 1 --pauses 3
    python -m claims.latent_thoughts
"""

from dataclasses import dataclass

import torch
from torch import nn

from looped import Config, LoopedGPT


@dataclass
class PauseConfig(Config):
    pauses: int = 3  # behind each token

    def __post_init__(self):
        super().__post_init__()
        if self.state_init != "embed":
            raise ValueError("latent_thoughts begins with the embedding: state_init='embed'")


class PauseGPT(LoopedGPT):
    config_class = PauseConfig

    def __init__(self, config):
        super().__init__(config)
        self.pauses = nn.Parameter(torch.randn(config.pauses, config.n_embd) * 0.02)

    def begin(self, tokens):
        """The state is (B, (1 + pauses) T, C)."""
        x = self.embed(tokens)[:, :, None]  # (B, T, 1, C)
        x = torch.cat((x, x + self.pauses), dim=2).flatten(1, 2)
        positions = self.positions(x)
        for block in self.prelude:
            x = block(x, positions)
        e = self.prelude_norm(x)
        return e, e, positions

    def readout(self, h):
        return super().readout(h[:, self.config.pauses :: 1 + self.config.pauses])
