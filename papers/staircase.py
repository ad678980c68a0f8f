"""
Staircase Attention for Recurrent Processing of Sequences (Ju et al. 2021, arXiv 2106.04279)

Two ways to let every token pass the same layer N times. The ladder is the plain loop: N passes over
the whole text, N steps in a row, however long the text is. The staircase lets one more chunk of the
text in at each step, and works on the last N chunks, which see each other as the step before left
them:

    step 0   A           step 1   A B         step 2   A B C       step 3     B C D    (N = 3)

Each token costs as much as on the ladder, but there are as many steps as chunks, and what a chunk
knows goes to the next one: a recurrence in time. So it should follow things through a text of any
length, where the ladder has N steps only.

What is different here: a loop works on the last N chunks that have entered. In loop t these are the
chunks t - N + 1 .. t, so all have passed after chunks + N - 1 loops. Nothing is kept of chunks that
have left, which is the paper's plain variant.

    python train.py --task places --model staircase --sampler fixed --loops 20
    python -m claims.staircase
"""

from dataclasses import dataclass

import torch

from looped import Config, LoopedGPT


@dataclass
class StaircaseConfig(Config):
    chunk: int = 2  # tokens that enter at each step
    passes: int = 4  # N, of each token through the core


class Staircase(LoopedGPT):
    config_class = StaircaseConfig

    def loop(self, h, e, t, positions):
        chunk, passes = self.config.chunk, self.config.passes
        first = chunk * max(0, t + 1 - passes)
        end = chunk * (t + 1)
        if first >= h.shape[1]:  # every token has had its passes
            return h
        seen, question = h[:, first:end], e[:, first:end]
        seen = super().loop(seen, question, t, self.positions(seen))
        return torch.cat((h[:, :first], seen, h[:, end:]), dim=1)
