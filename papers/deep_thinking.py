"""
End-to-end Algorithm Synthesis with Recurrent Networks (Bansal et al. 2022, arXiv 2202.05826)

A net that learns a rule on short questions should answer long ones if it thinks longer. Two things
are in the way. It forgets the question; *recall* shows it the question in every loop, which is what
`injection` does. And it counts: it learns to answer after 20 loops, and later loops spoil the
answer. That is called overthinking. The *progressive loss* lets it think for n loops, cuts the
gradient off, and asks for the answer k loops later, with n and k drawn by chance. So a loop has to
bring any state nearer to the answer, and has to leave an answer alone.

What is different here: the loss, (1 - alpha) times that after all m loops plus alpha times that
after n + k of them.

    python train.py --task prefix_sums --model deep_thinking --sampler fixed --loops 20
    python -m claims.deep_thinking
"""

from dataclasses import dataclass

import torch

from looped import Config, LoopedGPT


@dataclass
class DeepThinkingConfig(Config):
    alpha: float = 1.0  # share of the progressive loss (theirs: prefix sums 1, mazes 0.01)

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha is a share, 0..1, not {self.alpha}")


class DeepThinking(LoopedGPT):
    config_class = DeepThinkingConfig

    def loss(self, tokens, targets, loops=None):
        alpha = self.config.alpha
        if alpha == 0:
            return super().loss(tokens, targets, loops)
        whole = super().loss(tokens, targets, loops)[0] if alpha < 1 else 0.0

        m = torch.as_tensor(self.config.loops if loops is None else loops).expand(len(tokens))
        n = (torch.rand(len(m)) * m).long()  # 0 .. m - 1 loops without a gradient
        k = 1 + (torch.rand(len(m)) * (m - n)).long()  # 1 .. m - n loops with one
        with torch.no_grad():
            h = self.think(tokens, n)
        h = torch.where((n > 0)[:, None, None].to(h.device), h, self.begin(tokens)[0])
        losses, prediction = self.token_losses(self.think(tokens, k, h), targets)
        return (1 - alpha) * whole + alpha * losses.mean(), prediction
