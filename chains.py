"""
Chains as a task: facts that stand in the question, in any order; and a model whose tokens can be edges.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from attention import init_weights
from looped import MODELS, LoopedGPT
from tasks import IGNORE, TASKS, Batch, Task, in_split


@dataclass
class Chains(Task):
    """
    Walk along facts that the question tells, shuffled: nothing is in the weights.

        "f>k b>f q>z k>d r>q z>s ? b -> d"      from b to f, to k, to d, where the chain ends

    Several chains of equally many edges, over names that are new in every question. Asked is for the end of the chain
    that begins at a node, `difficulty` edges away; how many edges that is, is not told. All chains have
    max(hops, the longest difficulty of the batch) + spare edges: in training a question's length tells nothing. Who
    only knows which nodes are ends is right in one of `chains` cases.

    Tokens: names 0..N-1, "?" is N, and an edge from a to b is one token, N + 1 + a N + b (EdgeGPT below knows what that
    means). The answer is read at the last name. Training asks `questions` at once about the same facts, of which the
    last has the difficulty and the others at most that.
    """

    hops: int = 6  # the most edges to walk in training
    chains: int = 3  # chains in each question
    names: int = 80  # different names: enough for all nodes of the longest question ever asked
    spare: int = 0  # edges that all chains have more than the hardest question needs
    questions: int = 8  # how many are asked at once in training

    causal = False
    unit = "edges"

    def __post_init__(self):
        if min(self.hops, self.chains, self.questions) < 1 or self.spare < 0:
            raise ValueError(
                "chains needs at least one edge to walk, one chain and one question, and no negative spare"
            )
        self.max_difficulty = self.hops
        self.hardest = self.names // self.chains - 1 - self.spare
        self.vocab_size = self.names + 1 + self.names**2
        self.block_size = self.chains * (self.hops + self.spare) + 1 + self.questions
        self.draw(torch.Generator(), 1, self.hops + self.spare)  # are there enough names?

    def draw(self, generator, B, edges):
        """The nodes of chains that are so many edges long: names (B, chains, edges + 1), each once in a row."""
        shape = (B, self.chains, edges + 1)
        if shape[1] * shape[2] > self.names:
            raise ValueError(
                f"{self.chains} chains of {edges} edges need {shape[1] * shape[2]} names, not {self.names}"
            )
        return torch.rand((B, self.names), generator=generator).argsort(1)[:, : shape[1] * shape[2]].view(shape)

    def question(self, generator, difficulty):
        B, edges = len(difficulty), max(self.hops, int(difficulty.max())) + self.spare
        nodes = self.draw(generator, B, edges)
        written = self.names + 1 + nodes[:, :, :-1] * self.names + nodes[:, :, 1:]
        order = torch.rand((B, self.chains * edges), generator=generator).argsort(1)
        chain = torch.randint(self.chains, (B, self.questions), generator=generator)
        walked = 1 + (torch.rand((B, self.questions), generator=generator) * difficulty[:, None]).long()
        walked[:, -1] = difficulty
        start = nodes[torch.arange(B)[:, None], chain, edges - walked]
        mark = torch.full((B, 1), self.names)
        return torch.cat((written.flatten(1).gather(1, order), mark, start), dim=1)

    def batch(self, split, step, size, difficulty=None):
        batch = super().batch(split, step, size, difficulty)
        if split == "train":
            return batch
        T = batch.tokens.shape[1]
        one = [*range(T - self.questions), T - 1]  # without the questions beside the last
        return Batch(batch.tokens[:, one], batch.targets[:, one], batch.difficulty)

    def read(self, tokens):
        """Where the edges of the questions (B, T) begin and end, (B, edges) each; and the names asked for."""
        edges = int((tokens[0] > self.names).sum())
        edge = tokens[:, :edges] - self.names - 1
        return edge // self.names, edge % self.names, tokens[:, edges + 1 :]

    def walk(self, tokens, place):
        """(edges + 1, B, n): the nodes reached from some (B, n) of the questions, step by step; an end is not left."""
        source, target, _ = self.read(tokens)
        leads = torch.arange(self.names, device=tokens.device).repeat(len(tokens), 1).scatter(1, source, target)
        places = [place]
        for _ in range(source.shape[1] // self.chains):
            places.append(leads.gather(1, places[-1]))
        return torch.stack(places)

    def measure(self, tokens):
        places = self.walk(tokens, tokens[:, -1:])[:, :, 0]
        return (places[1:] != places[:-1]).sum(0)

    def answer(self, tokens):
        ends = self.walk(tokens, self.read(tokens)[2])[-1]
        return torch.cat((torch.full_like(tokens[:, ends.shape[1] :], IGNORE), ends), dim=1)

    def truth(self, batch):
        """Also where edges stand, which nobody asks for: the end of their chain."""
        ends = self.walk(batch.tokens, self.read(batch.tokens)[1])[-1]
        return torch.cat((ends, batch.targets[:, ends.shape[1] :]), dim=1)

    def check(self, batch, prediction):
        return prediction[:, -1] == batch.targets[:, -1]

    def order(self, tokens):
        """Chain by chain, each from its end to its beginning, whatever the order in the text."""
        source, target, asked = self.read(tokens[None])
        places = self.walk(tokens[None], target)[:, 0]  # (edges + 1, n)
        to_the_end = (places[1:] != places[:-1]).sum(0)
        edges = sorted(range(source.shape[1]), key=lambda i: (places[-1, i].item(), to_the_end[i].item()))
        return edges + list(range(len(edges), len(tokens)))

    def shortcuts(self, batch):
        source, target, _ = self.read(batch.tokens)
        is_end = (target[:, :, None] != source[:, None]).all(2)
        first = target.gather(1, is_end.int().argmax(1, keepdim=True))
        return {"the first end": first.expand_as(batch.tokens)}

    def belongs(self, tokens, split):
        edges = tokens.masked_fill(tokens <= self.names, 0)
        return in_split(edges.sort(1, descending=True).values, split, self.salt)  # of the facts, in whatever order

    def name(self, token):
        if token == self.names:
            return "?"
        if token > self.names:
            return ">".join(map(self.name, divmod(token - self.names - 1, self.names)))
        return chr(ord("a") + token) if self.names <= 26 else str(token)

    def show(self, tokens, prediction=None):
        text = " ".join(map(self.name, tokens.tolist()))
        return text if prediction is None else f"{text} -> {self.name(int(prediction[-1]))}"


# -----------------------------------------------------------------------------
# The model


class EdgeEmbedding(nn.Embedding):
    """Names 0..N-1, "?" is N, and N + 1 + a N + b an edge from a to b: the embedding of b plus a map of that of a."""

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


class EdgeGPT(LoopedGPT):
    """
    A token can be an edge: what is learned of a name is there in every edge with that name. With a token of its own
    for each of N^2 edges, that would be learned N times over. The answer is a name.
    """

    def __init__(self, config):
        super().__init__(config)
        self.embed = EdgeEmbedding(self.names_of(config.vocab_size), config.n_embd).apply(init_weights)

    @staticmethod
    def names_of(vocab_size):
        names = math.isqrt(vocab_size)
        if names**2 + names + 1 != vocab_size:
            raise ValueError(f"{vocab_size} tokens are not N names, a mark and N^2 edges")
        return names


TASKS["chains"] = Chains
MODELS["edges"] = EdgeGPT
