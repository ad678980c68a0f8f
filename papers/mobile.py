"""
MobileLLM: Optimizing Sub-billion Parameter Language Models for On-Device Use Cases
(Liu et al. 2024, arXiv 2402.14905)

A phone spends its time on fetching weights from memory, not on multiplying them. If a layer is to
be used more than once, it is better used at once, while its weights are in the cache: A A B B. A
loop around both layers, A B A B, multiplies as much and fetches each layer again. The paper says
that the order hardly matters for what the model learns.

What is different here: each layer of the core runs `repeats` times in a row. With equally many
applications of each layer, loops=4 and repeats=1 is A B A B A B A B, 2 and 2 is A A B B A A B B,
and 1 and 4 is A A A A B B B B.

    python train.py --task multihop --model mobile --n_core 2 --sampler fixed --loops 2 --repeats 2
    python -m claims.mobile
"""

from dataclasses import dataclass

from looped import Config, LoopedGPT


@dataclass
class MobileConfig(Config):
    repeats: int = 1  # how often each layer of the core runs in a row

    def __post_init__(self):
        super().__post_init__()
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, not {self.repeats}")


class MobileGPT(LoopedGPT):
    config_class = MobileConfig

    def core_of(self, t):
        """[A, A, B, B] for the layers A and B, and repeats=2."""
        return [block for block in super().core_of(t) for _ in range(self.config.repeats)]
