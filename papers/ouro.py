"""
Ouro: Scaling Latent Reasoning via Looped Language Models (Zhu et al. 2025, arXiv 2510.25741)

After each loop t a gate says how likely it is that the model should stop now, lambda_t. Then

    p_t = lambda_t (1 - lambda_1) .. (1 - lambda_(t-1))

is the chance to answer after loop t; the last loop takes what is left. Every loop answers, and its
loss counts with the weight p_t. The entropy H(p), times beta, is subtracted from the loss: it keeps
all loops in play while the model learns. This is stage I of the paper. Dynamic Computation (2026,
arXiv 2610.09013) takes the entropy of the mean p of a batch instead, so that each answer may be
sure of its loop as long as all together are spread.

What is different here: the loss reads every state, and `solve` has a rule "gate". The loop itself
is that of looped.py. Stage II, which trains the gate alone, is in claims/ouro.py.

    python train.py --task multihop --model ouro --sampler fixed --loops 8
    model.solve(tokens, rule="gate", max_loops=8)
    python -m claims.ouro
"""

from dataclasses import dataclass

import torch
from torch import nn

from looped import IGNORE, Config, LoopedGPT


@dataclass
class OuroConfig(Config):
    beta: float = 0.1  # what a nat of the entropy of p is worth, in nats of loss; 0: p may collapse
    batch_prior: bool = False  # the entropy of the mean p of a batch (Dynamic Computation, 2026)


def gate(model, before, h, answer_mask, last):
    """An exit rule: the chance not to have stopped by now, at the answer that is least willing."""
    goes_on = (1 - model.stop(h)).masked_fill(~answer_mask, 0).amax(1)
    return last.clamp(max=1) * goes_on


class Ouro(LoopedGPT):
    config_class = OuroConfig
    exit_rules = LoopedGPT.exit_rules | {"gate": (gate, 0.5)}

    def __init__(self, config):
        super().__init__(config)
        self.gate = nn.Linear(config.n_embd, 1)

    def stop(self, h):
        """lambda (..) of states (.., C)."""
        return self.gate(self.norm(h))[..., 0].sigmoid()

    def loss(self, tokens, targets, loops=None):
        loops = self.config.loops if loops is None else loops
        loops = torch.as_tensor(loops, device=tokens.device).expand(len(tokens))
        asked = targets != IGNORE
        loops_asked = loops[:, None].expand_as(targets)[asked]  # (N,), one for each answer
        left = 1.0  # the chance not to have stopped before
        expected = 0.0
        for t, h in enumerate(self.states(tokens, int(loops.max()))):
            if t == 0:  # the state before the first loop
                continue
            losses, prediction = self.token_losses(h, targets)
            stop = self.stop(h[asked]).masked_fill(loops_asked <= t, 1)
            p = left * stop
            left = left * (1 - stop)
            spread = p.mean() if self.config.batch_prior else p  # over the loops
            entropy = -spread * spread.clamp(min=1e-9).log()
            expected = expected + p * losses - self.config.beta * entropy
        return expected.mean(), prediction
