"""
The task of hyperloop.py: texts of a hidden Markov chain, in place of natural ones.

    python train.py --task hidden_chains --sampler fixed --no-curriculum
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from support.hashing import stream
from tasks import IGNORE, Task


@dataclass
class HiddenChains(Task):
    """
    What comes next, at each letter of a text.

        "d b p a b -> b p a b d"

    A state writes its letter, which other states write, too, and goes on to one of a few states, by
    chance. Nobody sees the states: what the next letter may be follows from many letters before,
    and from the chain, which has to be learned by heart.
    """

    length: int = 64  # letters in a text
    hidden: int = 512  # states of the chain
    letters: int = 16  # each is written by the same number of states
    ways: int = 3  # states that may follow a state

    counts_steps, grows, unit = False, False, "texts"

    def __post_init__(self):
        self.max_difficulty, self.vocab_size = 1, self.letters
        world = torch.Generator().manual_seed(stream("hidden chains", self.seed))
        mixed = [torch.randperm(self.hidden, generator=world) for _ in range(self.ways)]
        self.follows = torch.stack(mixed, dim=1)  # (hidden, ways)
        odds = torch.rand(self.hidden, self.ways, generator=world)
        self.odds = odds / odds.sum(1, keepdim=True)  # of each way

    def question(self, generator, difficulty):
        state = torch.randint(self.hidden, (len(difficulty),), generator=generator)
        ends = self.odds.cumsum(1)[:, :-1]  # where the chance of a way ends, and the next begins
        text = []
        for _ in range(self.length):
            text.append(state % self.letters)
            chance = torch.rand(len(state), 1, generator=generator)
            state = self.follows[state, (chance > ends[state]).sum(1)]
        return torch.stack(text, dim=1)

    def answer(self, tokens):
        return F.pad(tokens[:, 1:], (0, 1), value=IGNORE)

    def measure(self, tokens):
        return torch.ones(len(tokens), dtype=torch.long)

    def name(self, token):
        return chr(ord("a") + token)

    def lowest_loss(self, tokens):
        """Nats a letter of texts (B, T), for whoever knows the chain (the forward algorithm)."""
        writes = F.one_hot(torch.arange(self.hidden) % self.letters, self.letters).float()
        leads = torch.zeros(self.hidden, self.hidden)  # P(next state | state)
        leads = leads.scatter_add(1, self.follows, self.odds)
        state = torch.full((len(tokens), self.hidden), 1 / self.hidden)  # P(state | text so far)
        losses = []
        for now, after in zip(tokens.T[:-1], tokens.T[1:]):
            state = state * writes[:, now].T
            state = state / state.sum(1, keepdim=True) @ leads
            losses.append(F.nll_loss((state @ writes).log(), after))
        return torch.stack(losses).mean().item()
