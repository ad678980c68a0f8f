"""The task of grokking: facts in the weights, of which a tenth is never composed in training."""

from dataclasses import dataclass, field

import torch

from support.hashing import SPLITS, salted, stream, tenth
from tasks import MultiHop


@dataclass
class Composition(MultiHop):
    """
    Compose two facts, also such that training never composed (Wang et al. 2024, Kohli et al. 2026).

        "e7 r2 . -> e40"      a fact
        "e7 r2 r0 -> e3"      a composition of two facts

    Each relation leads from each entity to a random one. Training shows every fact by itself. A
    tenth of the facts is `alone`: no composition of the training set has one of them as a part. In
    a small world:

        facts                 a r0 -> c    c r1 -> e    b r0 -> d (alone)    d r1 -> a (alone)
        train, val or test    a r0 r1 -> e    a composition of two facts that are not alone
        no split              a composition of an alone fact and another
        alone, alone_test     b r0 r1 -> a    both facts are trained, but never as parts

    So val and test ask for generalisation in distribution (ID); the two splits of alone facts ask
    for systematic generalisation (out of distribution, OOD). Training reports "alone", and
    "alone_test" is kept for the end. A hash of the question decides between train, val and test,
    and between the last two. Of the training compositions a share `composed` is shown. Every fact
    by itself is in train, val and test.
    """

    entities: int = 64  # entities of the world
    relations: int = 10  # relations, each leading from each entity to a random one
    alone: float = 0.1  # the share of the facts that training never composes
    composed: float = 1.0  # the share of the training compositions that are shown
    hops: int = field(default=2, init=False)
    pause: int = field(default=0, init=False)

    grows = False
    splits = ("train", "val", "alone")
    more_splits = ("alone_test",)

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.alone < 1:
            raise ValueError(f"alone={self.alone} is a share: it must be over 0 and under 1")
        if not 0 < self.composed <= 1:
            raise ValueError(f"composed={self.composed} is a share: it must be over 0, at most 1")
        entities, relations = self.entities, self.relations
        world = torch.Generator().manual_seed(salted(stream(self.seed, "world"), self.salt))
        self.facts = torch.randint(entities, (relations, entities), generator=world)
        is_alone = torch.rand(relations, entities, generator=world) < self.alone

        # all questions of two hops, in the order of their tokens
        start, first, second = torch.cartesian_prod(
            torch.arange(entities), torch.arange(relations), torch.arange(relations)
        ).T
        tokens = torch.stack((start, entities + first, entities + second), dim=1)
        one_hop = tokens[second == 0].index_fill(1, torch.tensor(2), self.pad)
        first_alone = is_alone[first, start]
        second_alone = is_alone[second, self.facts[first, start]]
        composed = ~first_alone & ~second_alone

        # which of them each split has: {(split, hops): tokens (N, 3)}
        self.listed = {}
        for split in SPLITS:
            self.listed[split, 1] = one_hop
            self.listed[split, 2] = tokens[composed & self.belongs(tokens, split)]
        shown = torch.rand(len(self.listed["train", 2]), generator=world) < self.composed
        self.listed["train", 2] = self.listed["train", 2][shown]
        alone = tokens[first_alone & second_alone]
        for_the_end = tenth(alone, self.salt) % 2 == 1
        self.listed["alone", 2] = alone[~for_the_end]
        self.listed["alone_test", 2] = alone[for_the_end]
        for (split, _), listed in self.listed.items():
            if not len(listed):
                world = f"a world of {entities} entities and {relations} relations"
                raise ValueError(f"{world} has no {split} questions")

    def batch(self, split, step, size, difficulty=None):
        """
        Without repetition as long as the list lasts. A mixture is uniform over all facts and
        compositions.
        """
        generator = self.generator(split, step)
        if isinstance(difficulty, int):
            low = high = difficulty
        else:
            low, high = difficulty or (1, 2)
        listed = [self.listed[split, hops] for hops in (1, 2)
                  if low <= hops <= high and (split, hops) in self.listed]  # fmt: skip
        if not listed:
            raise ValueError(f"no {split} question of difficulty {difficulty} in this world")
        listed = torch.cat(listed)
        order = torch.randperm(len(listed), generator=generator)
        times = -(-size // len(order))  # rounded up
        tokens = listed[order.repeat(times)[:size]]
        return self.on_device(tokens, self.answer(tokens), self.measure(tokens))

    def difficulties(self, split):
        return [2] if split.startswith("alone") else [1, 2]
