"""
Looped Diffusion Language Models, LoopMDM (Lee et al. 2026, arXiv 2605.26106)

Masked diffusion learns to fill in blanks. In training a random share of the answer is shown, and
the rest is asked, all of it at once. To answer, the model starts from blanks, keeps the predictions
of which it is surest, and is asked again with these in place: a denoising step. So there are two
ways to think longer: more denoising steps, which commit to what they wrote down, and more loops in
each step, which only change the state. Both cost the same.

What is different here: the loss, and how an answer is made, `denoise`. It is for tasks whose
questions leave blanks (token 0) where the answer goes, so for Sudoku.

    python train.py --task sudoku --model looped_diffusion --loss final
    denoise(model, tokens, steps=6, loops=6)
    python -m claims.looped_diffusion
"""

import torch

from looped import IGNORE, LoopedGPT

BLANK = 0


class MaskedDiffusion(LoopedGPT):
    def __init__(self, config):
        super().__init__(config)
        if config.causal:
            raise ValueError("looped_diffusion needs a task that is not causal, as --task sudoku")

    def loss(self, tokens, targets, loops=None):
        """A random share of each answer is shown; the loss is that of the others."""
        share = torch.rand(len(tokens), 1, device=tokens.device)
        shown = (targets != IGNORE) & (torch.rand(tokens.shape, device=tokens.device) < share)
        tokens = torch.where(shown, targets, tokens)
        loss, prediction = super().loss(tokens, targets.masked_fill(shown, IGNORE), loops)
        return loss, torch.where(shown, targets, prediction)


@torch.no_grad()
def denoise(model, tokens, steps, loops):
    """Fill in the blanks of tokens (B, T): in each step an equal part of them, the surest first."""
    for steps_left in range(steps, 0, -1):
        probability, digit = model(tokens, loops)[..., BLANK + 1 :].softmax(-1).max(-1)
        blank = tokens == BLANK
        order = probability.masked_fill(~blank, -1).argsort(1, descending=True)
        rank = order.argsort(1)  # 0: the surest blank of all
        now = blank & (rank < (blank.sum(1, keepdim=True) / steps_left).ceil())
        tokens = torch.where(now, digit + BLANK + 1, tokens)
    return tokens
