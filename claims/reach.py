"""
The task of coconut.py, after the paper's ProsQA: a way through a graph. It is easy to follow once
it is known, but only somebody who looks ahead can choose its first step.

    python train.py --task reach

The way stands in the text. So the accuracy that train.py prints is that of a model that is shown
each step right after it was asked for it; coconut.py lets the model write the steps itself.
"""

from dataclasses import dataclass

import torch

from more_tasks.chains import Chains
from support.hashing import in_split
from tasks import IGNORE, Task


@dataclass
class Reach(Task):
    """
    Which of two nodes can be reached? From each of two roots lead two branches; a node of each root
    is offered.

        "b>f a>d b>g d>i a>c f>j g>k c>h ? j h a -> h"
                                             from a to d and i, or to c and h; j is behind b

    All is in random order, and names are new in every question. Behind the root stands the right
    branch, to its end; it is a target, too: "? j h a c h -> c h h". Difficulty: edges to the node.
    Tokens as in more_tasks/chains.py: names 0..N-1, "?" is N, and N + 1 + a N + b an edge from a to
    b.
    """

    hops: int = 3  # the most edges to the node in training, and those of a branch
    names: int = 18  # different names

    unit = "edges"
    name = Chains.name  # of a token
    embedding = Chains.embedding

    def __post_init__(self):
        needed = 2 + 4 * self.hops
        if self.hops < 1 or self.names < needed:
            raise ValueError(
                f"two roots, each with two branches of hops={self.hops}, need {needed} names"
            )
        self.max_difficulty, self.hardest = self.hops, (self.names - 2) // 4
        self.vocab_size = self.names + 1 + self.names**2

    def question(self, generator, difficulty):
        B, N, most = len(difficulty), self.names, max(self.hops, int(difficulty.max()))
        nodes = torch.rand((B, N), generator=generator).argsort(1)[:, : 2 + 4 * most]
        roots = nodes[:, [0, 0, 1, 1], None]
        ways = torch.cat((roots, nodes[:, 2:].view(B, 4, most)), dim=2)  # (B, 4, most + 1)
        edges = (N + 1 + N * ways[:, :, :-1] + ways[:, :, 1:]).flatten(1)
        edges = edges.gather(1, torch.rand(edges.shape, generator=generator).argsort(1))
        steps = difficulty[:, None, None].expand(B, 2, 1)
        offered = ways[:, ::2].gather(2, steps)[:, :, 0]  # a node of each root
        stays = torch.rand((B, 1), generator=generator) < 0.5
        offered = torch.where(stays, offered, offered.flip(1))
        return torch.cat((edges, torch.full((B, 1), N), offered, ways[:, 0]), dim=1)

    def back(self, tokens):
        """
        Where the two nodes lead back to, step by step (a root is not left), (steps + 1, B, 2); and
        the root (B, 1).
        """
        edges = int((tokens[0] > self.names).sum())
        edge = tokens[:, :edges] - self.names - 1
        before = torch.arange(self.names, device=tokens.device).repeat(len(tokens), 1)
        before = before.scatter(1, edge % self.names, edge // self.names)
        places = [tokens[:, edges + 1 : edges + 3]]
        for _ in range(edges // 4):
            places.append(before.gather(1, places[-1]))
        return torch.stack(places), tokens[:, edges + 3 : edges + 4]

    def measure(self, tokens):
        places, root = self.back(tokens)
        return (places != root).sum(0).amin(1)  # the other node never gets there

    def answer(self, tokens):
        places, root = self.back(tokens)
        reached = places[0][places[-1] == root][:, None]
        following = torch.cat((tokens[:, 1:], reached), dim=1)
        place = torch.arange(tokens.shape[1], device=tokens.device)
        return following.masked_fill(place < tokens.shape[1] - len(places), IGNORE)

    def show(self, tokens, prediction=None):
        root = int((tokens > self.names).sum()) + 3  # behind it stand the steps
        return Chains.show(self, tokens[: root + 1], prediction)

    def check(self, batch, prediction):
        return prediction[:, -1] == batch.targets[:, -1]

    def belongs(self, tokens, split):
        edges = tokens.masked_fill(tokens <= self.names, 0)
        graph = edges.sort(1, descending=True).values  # in whatever order it is told
        return in_split(graph, split, self.salt)
