"""
Chains: facts that stand in the question, in any order; and an embedding for tokens that are edges.
"""

from dataclasses import dataclass

import torch
from torch import nn

from looped import init_weights
from support.hashing import in_split
from tasks import IGNORE, Batch, Task


@dataclass
class Chains(Task):
    """
    Walk along facts that the question tells in a shuffled order: nothing is in the weights.

        "f>k b>f q>z k>d r>q z>s ? b -> d"      from b to f, to k, to d, where the chain ends

    There are several chains of equally many edges, over names that are new in every question. The
    question names one node and asks for the end of its chain, which is `difficulty` edges away. It
    does not tell how many. In training its length does not tell it either: all chains have
    max(hops, the longest difficulty of the batch) + spare edges. A solver that only knows which
    nodes are ends is right in one of `chains` cases.

    Tokens are the names 0 .. N - 1, "?" is N, and an edge from a to b is one token, N + 1 + a N + b
    (see EdgeEmbedding). The answer is read at the last name. A training question asks for
    `questions` nodes at once; the last of them has the difficulty, the others at most that.
    """

    hops: int = 6  # the most edges to walk in training
    chains: int = 3  # chains in each question
    names: int = 80  # different names: enough for all nodes of the longest question ever asked
    spare: int = 0  # edges that all chains have more than the hardest question needs
    questions: int = 8  # how many nodes are asked for at once in training

    causal = False
    unit = "edges"

    def __post_init__(self):
        if min(self.hops, self.chains, self.questions) < 1 or self.spare < 0:
            raise ValueError("hops, chains and questions must be at least 1, and spare at least 0")
        self.max_difficulty = self.hops
        self.hardest = self.names // self.chains - 1 - self.spare
        self.vocab_size = self.names + 1 + self.names**2
        self.draw(torch.Generator(), 1, self.hops + self.spare)  # are there enough names?

    def embedding(self, flags):
        return EdgeEmbedding(self.names, flags.n_embd).apply(init_weights)

    def draw(self, generator, B, edges):
        """The nodes of chains with so many edges: names (B, chains, edges + 1), no name twice."""
        nodes = self.chains * (edges + 1)
        if nodes > self.names:
            raise ValueError(
                f"{self.chains} chains of {edges} edges need {nodes} names, not {self.names}"
            )
        order = torch.rand((B, self.names), generator=generator).argsort(1)
        return order[:, :nodes].view(B, self.chains, edges + 1)

    def question(self, generator, difficulty):
        B, edges = len(difficulty), max(self.hops, int(difficulty.max())) + self.spare
        nodes = self.draw(generator, B, edges)
        source, target = nodes[:, :, :-1], nodes[:, :, 1:]
        written = (self.names + 1 + source * self.names + target).flatten(1)  # (B, all edges)
        order = torch.rand((B, self.chains * edges), generator=generator).argsort(1)
        chain = torch.randint(self.chains, (B, self.questions), generator=generator)
        share = torch.rand((B, self.questions), generator=generator)
        walked = 1 + (share * difficulty[:, None]).long()  # edges from each asked node to its end
        walked[:, -1] = difficulty
        asked = nodes[torch.arange(B)[:, None], chain, edges - walked]
        mark = torch.full((B, 1), self.names)
        return torch.cat((written.gather(1, order), mark, asked), dim=1)

    def batch(self, split, step, size, difficulty=None):
        """Outside of training only the last node is asked for."""
        batch = super().batch(split, step, size, difficulty)
        if split == "train":
            return batch
        T = batch.tokens.shape[1]
        keep = [*range(T - self.questions), T - 1]
        return Batch(batch.tokens[:, keep], batch.targets[:, keep], batch.difficulty)

    def read(self, tokens):
        """
        Of questions (B, T): where edges begin and end, (B, edges) each, and the names asked for.
        """
        edges = int((tokens[0] > self.names).sum())
        edge = tokens[:, :edges] - self.names - 1
        return edge // self.names, edge % self.names, tokens[:, edges + 1 :]

    def walk(self, tokens, place):
        """
        (edges + 1, B, n): the names reached step by step from places (B, n). A walk stays at the
        end of its chain.
        """
        source, target, _ = self.read(tokens)
        stay = torch.arange(self.names, device=tokens.device).repeat(len(tokens), 1)
        leads = stay.scatter(1, source, target)  # (B, names): where each name leads
        places = [place]
        for _ in range(source.shape[1] // self.chains):
            places.append(leads.gather(1, places[-1]))
        return torch.stack(places)

    def measure(self, tokens):
        places = self.walk(tokens, tokens[:, -1:])[:, :, 0]
        return (places[1:] != places[:-1]).sum(0)

    def answer(self, tokens):
        _, _, asked = self.read(tokens)
        ends = self.walk(tokens, asked)[-1]
        return torch.cat((torch.full_like(tokens[:, ends.shape[1] :], IGNORE), ends), dim=1)

    def check(self, batch, prediction):
        return prediction[:, -1] == batch.targets[:, -1]

    def belongs(self, tokens, split):
        """Decided by the facts alone, in whatever order they stand."""
        edges = tokens.masked_fill(tokens <= self.names, 0)
        return in_split(edges.sort(1, descending=True).values, split, self.salt)

    def truth(self, batch):
        """At an edge, where no answer is asked: the end of its chain."""
        _, target, _ = self.read(batch.tokens)
        ends = self.walk(batch.tokens, target)[-1]
        return torch.cat((ends, batch.targets[:, ends.shape[1] :]), dim=1)

    def order(self, tokens):
        """Chain by chain, each from its end to its beginning."""
        _, target, _ = self.read(tokens[None])
        places = self.walk(tokens[None], target)[:, 0]  # (edges + 1, n)
        end, to_the_end = places[-1].tolist(), (places[1:] != places[:-1]).sum(0).tolist()
        edges = sorted(range(len(end)), key=lambda i: (end[i], to_the_end[i]))
        return edges + list(range(len(edges), len(tokens)))

    def shortcuts(self, batch):
        source, target, _ = self.read(batch.tokens)
        is_end = (target[:, :, None] != source[:, None]).all(2)
        first = target.gather(1, is_end.int().argmax(1, keepdim=True))
        return {"the first end": first.expand_as(batch.tokens)}

    def name(self, token):
        if token == self.names:
            return "?"
        if token > self.names:
            source, target = divmod(token - self.names - 1, self.names)
            return f"{self.name(source)}>{self.name(target)}"
        return chr(ord("a") + token) if self.names <= 26 else str(token)

    def show(self, tokens, prediction=None):
        text = " ".join(self.name(token) for token in tokens.tolist())
        return text if prediction is None else f"{text} -> {self.name(int(prediction[-1]))}"


class EdgeEmbedding(nn.Embedding):
    """
    The embedding of an edge from a to b is the embedding of b plus a linear map of that of a. What
    is learned of a name is then there in every edge with that name; with one vector for each of N^2
    edges, it would have to be learned N times over. Only names and "?" have a vector, and only they
    can be answers.
    """

    def __init__(self, names, C):
        super().__init__(names + 1, C)
        self.names = names
        self.source = nn.Linear(C, C, bias=False)

    def forward(self, tokens):
        is_edge = tokens > self.names
        edge = (tokens - self.names - 1).clamp(min=0)
        x = super().forward(torch.where(is_edge, edge % self.names, tokens))
        source = self.source(super().forward(edge // self.names))
        return x + source * is_edge[..., None]
