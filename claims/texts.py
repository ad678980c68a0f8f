"""
The task of parallel_sampler.py: texts that are written token by token.

    python train.py --task texts
"""

from dataclasses import dataclass

import torch

from support.hashing import in_split, stream
from tasks import IGNORE, Task


@dataclass
class Texts(Task):
    """
    Each token that is written is where some relations lead, which have to be known by heart.

        chain    "r2 r0  r1 r3  c" -> "f a"      c r2 r1 -> f, and on: f r0 r3 -> a
        star     "r2 r0  r1 r3  c d" -> "f e"    c r2 r1 -> f, and d r0 r3 -> e

    In a chain a token needs the one before, in a star it does not. First stand the first relations
    of all tokens, then the second ones, so that those of a token stand at the same distance from
    the place where it is asked for. The difficulty is the hops for each token; unused relations are
    padding. Tokens as in `multihop`: entities, relations, padding.
    """

    hops: int = 2  # the most hops for a token
    written: int = 10  # tokens to be written
    chain: bool = True  # does a token need the one before?
    entities: int = 16  # entities of the world
    relations: int = 4  # relations, each a permutation of the entities

    grows, unit = False, "hops a token"

    def __post_init__(self):
        self.max_difficulty = self.hops
        self.pad = self.entities + self.relations
        self.vocab_size = self.pad + 1
        self.asked = self.hops * self.written + (1 if self.chain else self.written)  # tokens
        world = torch.Generator().manual_seed(stream("texts", self.seed))
        facts = [torch.randperm(self.entities, generator=world) for _ in range(self.relations)]
        self.facts = torch.stack([*facts, torch.arange(self.entities)])  # padding leads nowhere

    def question(self, generator, difficulty):
        shape = (len(difficulty), self.hops, self.written)
        relations = self.entities + torch.randint(self.relations, shape, generator=generator)
        beyond = torch.arange(self.hops)[:, None] >= difficulty[:, None, None]
        relations = relations.masked_fill(beyond, self.pad).flatten(1)
        starts = self.asked - relations.shape[1]
        starts = torch.randint(self.entities, (len(difficulty), starts), generator=generator)
        prompt = torch.cat((relations, starts), dim=1)
        return torch.cat((prompt, self.text(prompt)[:, :-1]), dim=1)

    def text(self, tokens):
        """The tokens (B, written) that belong behind a prompt."""
        facts, after = self.facts.to(tokens.device), []
        rows = tokens[:, : self.hops * self.written].view(-1, self.hops, self.written)
        place = tokens[:, self.hops * self.written]
        for i in range(self.written):
            if not self.chain:
                place = tokens[:, self.hops * self.written + i]
            for hop in range(self.hops):
                place = facts[rows[:, hop, i] - self.entities, place]
            after.append(place)
        return torch.stack(after, dim=1)

    def answer(self, tokens):
        targets = torch.full_like(tokens, IGNORE)
        targets[:, self.asked - 1 :] = self.text(tokens)
        return targets

    def measure(self, tokens):
        return (tokens[:, : self.hops * self.written : self.written] != self.pad).sum(1)

    def belongs(self, tokens, split):
        return in_split(tokens[:, : self.asked] + 1, split, self.salt)

    def name(self, token):
        if token == self.pad:
            return "."
        return f"r{token - self.entities}" if token >= self.entities else chr(ord("a") + token)
