"""
ELT: Elastic Looped Transformers (Goyal et al. 2026, arXiv 2604.09168)

A model that is only ever asked after L loops may say anything before. So, in each step of training,
an earlier loop is drawn, and it learns, too: at first from the truth, later from what the last loop
says (intra-loop self-distillation). The last loop does not pay for that:

    loss = L(last) + lambda L(earlier) + (1 - lambda) L(earlier imitates last)

where lambda falls from 1 to 0 during training. Then any loop should be a usable exit.

What is different here: the loss reads two states. It costs one more readout.

    python train.py --task multihop --model elastic --sampler fixed --loops 8
    python -m claims.elastic
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from looped import IGNORE, Config, LoopedGPT


@dataclass
class ElasticConfig(Config):
    earliest: int = 1  # loops of the earliest exit that is trained
    fade: int = 2500  # steps until the last loop has replaced the truth, as --steps; 0: never


class Elastic(LoopedGPT):
    config_class = ElasticConfig

    def __init__(self, config):
        super().__init__(config)
        steps = torch.zeros((), dtype=torch.long)
        self.register_buffer("calls", steps)  # is saved, so that a resumed run knows its lambda

    def loss(self, tokens, targets, loops=None):
        loops = self.config.loops if loops is None else loops
        loops = torch.as_tensor(loops, device=tokens.device).expand(len(tokens))
        low = self.config.earliest
        chance = torch.rand(len(loops)).to(loops.device)
        earlier = low + (chance * (loops - low).clamp(min=1)).long()  # low .. loops - 1
        states = self.trajectory(tokens, int(loops.max()))  # (loops + 1, B, T, C)
        rows = torch.arange(len(tokens))
        last, early = states[loops, rows], states[earlier.minimum(loops), rows]

        asked = targets != IGNORE
        losses, prediction = self.token_losses(last, targets)
        student = self.readout(early)[asked].float()
        with torch.no_grad():
            teacher = self.readout(last)[asked].float().softmax(-1)
        from_truth = F.cross_entropy(student, targets[asked], reduction="none")
        from_teacher = F.cross_entropy(student, teacher, reduction="none")
        share = self.share_of_truth()
        if self.training:
            self.calls += 1
        losses = losses + share * from_truth + (1 - share) * from_teacher
        return losses.mean(), prediction

    def share_of_truth(self):
        """lambda, by the steps so far."""
        if self.config.fade == 0:
            return 1.0
        return max(0.0, 1 - self.calls.item() / self.config.fade)
