"""
The task of capo.py, after Allen-Zhu and Li (2024): facts, of which none follows from another.

    python train.py --task facts --no-curriculum --sampler fixed
"""

from dataclasses import dataclass

import torch

from support.hashing import stream
from tasks import IGNORE, Task


@dataclass
class Facts(Task):
    """
    What is known of a name? Nothing can be worked out, all has to be remembered.

        "3 17 33 -> 41"      the attribute 33 of the name 3 17 has the value 41; read at the 33

    Values are drawn at random. Every split asks for all facts. Difficulty: always 1.
    """

    letters: int = 32  # a name has two
    attributes: int = 4  # of each name
    values: int = 64  # that an attribute can have

    counts_steps, grows, unit = False, False, "facts"

    def __post_init__(self):
        self.vocab_size = max(self.letters + self.attributes, self.values)
        self.max_difficulty = 1
        world = torch.Generator().manual_seed(stream("facts", self.seed))
        shape = (self.letters, self.letters, self.attributes)
        self.known = torch.randint(self.values, shape, generator=world)

    def question(self, generator, difficulty):
        names = torch.randint(self.letters, (len(difficulty), 2), generator=generator)
        attributes = torch.randint(self.attributes, (len(difficulty), 1), generator=generator)
        return torch.cat((names, self.letters + attributes), dim=1)

    def all(self):
        """All questions, (facts, 3)."""
        names = torch.arange(self.letters)
        return torch.cartesian_prod(names, names, self.letters + torch.arange(self.attributes))

    def answer(self, tokens):
        first, second, attribute = tokens.cpu().unbind(1)
        targets = torch.full_like(tokens, IGNORE)
        targets[:, 2] = self.known[first, second, attribute - self.letters].to(tokens.device)
        return targets

    def measure(self, tokens):
        return torch.ones(len(tokens), dtype=torch.long)

    def belongs(self, tokens, split):
        return torch.ones(len(tokens), dtype=torch.bool)
