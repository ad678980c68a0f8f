"""
PTRM: Probabilistic Tiny Recursive Model (Sghaier, Parviz, Jolicoeur-Martineau 2026, arXiv
2605.19943)

A tiny recursive model that went astray goes on in circles, since nothing in it is left to chance.
PTRM needs no training of its own: it takes a trained model, adds noise to its latent state before
every segment, and runs each question several times. One of the runs finds the way out. Which one?
The model has a head q that was trained to say whether the answer is right by now; it was made to
end the training on a question early. The run with the largest q gives the answer.

What is different here: the head of the tiny recursive model, its term in the loss (both are in the
paper of 2025, but not in tiny_recursive_model.py), and `explore`. (The head reads the mean of y
over all positions, theirs a position of its own. The latent state is z in descriptions of the paper
and in most code of its readers; here the noise enters y, as in one of them,
github.com/JerMa88/PTRM, so that a model without z can have it. Their own code we have not seen.)

    python train.py --task sudoku --model ptrm --loops 6 --segments 3
    answers = model.best_of(tokens, runs=16, segments=16, noise=0.3)
    python -m claims.ptrm
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from looped import IGNORE
from papers.tiny_recursive_model import RecursiveConfig, TinyRecursiveModel


@dataclass
class ProbabilisticConfig(RecursiveConfig):
    q_weight: float = 0.5  # of the head's term in the loss


class ProbabilisticTRM(TinyRecursiveModel):
    config_class = ProbabilisticConfig

    def __init__(self, config):
        super().__init__(config)
        self.q = nn.Linear(config.n_embd, 1)
        nn.init.zeros_(self.q.weight)
        nn.init.constant_(self.q.bias, -5.0)  # at first no answer is right

    def confidence(self, h):
        """The logit of the chance that the whole answer is right by now, (B,)."""
        y, _ = h.chunk(2, dim=-1)
        return self.q(y.mean(1))[:, 0]

    def token_losses(self, h, targets):
        """Those of the answer, (N,), each with the same term for the head."""
        losses, prediction = super().token_losses(h, targets)
        right = ((prediction == targets) | (targets == IGNORE)).all(1)
        of_head = F.binary_cross_entropy_with_logits(self.confidence(h), right.float())
        return losses + self.config.q_weight * of_head, prediction

    @torch.no_grad()
    def explore(self, tokens, runs, segments, noise):
        """
        Independent runs of `segments` segments, each of which begins with noise of this standard
        deviation: the answers (runs, B, T), and the confidence in each (runs, B).
        """
        loops = -(-self.config.loops // self.config.segments)  # of a segment, as in training
        first, e, positions = self.begin(tokens)
        answers, confidence = [], []
        for _ in range(runs):
            h = first
            for t in range(segments * loops):
                if t % loops == 0:
                    y, z = h.chunk(2, dim=-1)
                    h = torch.cat((y + noise * torch.randn_like(y), z), dim=-1)
                h = self.loop(h, e, t, positions)
            answers.append(self.readout(h).argmax(-1))
            confidence.append(self.confidence(h))
        return torch.stack(answers), torch.stack(confidence)

    def best_of(self, tokens, runs, segments, noise):
        """The answers (B, T) in which the head has the most confidence."""
        answers, confidence = self.explore(tokens, runs, segments, noise)
        return answers[confidence.argmax(0), torch.arange(len(tokens), device=tokens.device)]
