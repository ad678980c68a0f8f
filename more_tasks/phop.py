"""p-hop induction: nothing to memorise, every hop is read from the text."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from tasks import IGNORE, Task


@dataclass
class PHop(Task):
    """
    What stood behind the previous letter like this? And behind the previous one like that? (Sanford
    et al. 2024, Saunshi et al. 2025.)

        "[>>]badcabdc" -> "d"     two hops, one for each ">". The last letter is c.
                                  Hop 1: behind the previous c stands a.
                                  Hop 2: behind the previous a stands d.

    In front stand "[", a ">" for each hop, and "]"; "[" lets the first ">" know that it is the
    first. Letters fill the rest, so that all questions of a batch are equally long. Any three
    neighbours differ, and no walk ends early: otherwise one hop less, or two, would often give the
    same answer. Tokens are the letters 0 .. A - 1, then "[", ">" and "]". The p-hop of every letter
    that has one is a target, and `check` grades the last. The difficulty is p.
    """

    hops: int = 4  # the most hops in training
    length: int = 32  # letters of the shortest text
    alphabet: int = 4  # different letters

    unit = "hops"

    def __post_init__(self):
        if self.hops < 1 or self.alphabet < 4:
            raise ValueError("phop needs at least one hop and four letters")
        self.hardest = self.length // 3  # a hop goes back by three places on average
        if self.hops > self.hardest:
            needed = 3 * self.hops
            raise ValueError(
                f"length={self.length} is too short to walk hops={self.hops}: make it {needed}"
            )
        self.max_difficulty = self.hops
        self.begin, self.hop_mark, self.end = range(
            self.alphabet, self.alphabet + 3
        )  # "[", ">", "]"
        self.vocab_size = self.alphabet + 3

    def question(self, generator, difficulty):
        T = max(self.max_difficulty, int(difficulty.max())) + 2 + self.length
        score = torch.rand(len(difficulty), T, self.alphabet, generator=generator)
        text = score.argmax(2)
        for i in range(2, T):  # the best of the letters that the two places before do not have
            text[:, i] = score[:, i].scatter(1, text[:, i - 2 : i], -1).argmax(1)
        place, end = torch.arange(T), 1 + difficulty[:, None]
        tokens = torch.where(place < end, self.hop_mark, text)
        tokens[:, 0] = self.begin
        return torch.where(place == end, self.end, tokens)

    def measure(self, tokens):
        return (tokens == self.hop_mark).sum(1)

    def hop(self, tokens):
        """
        (B, T): for each letter, the place behind the previous letter like it; 0 if there is none.
        """
        here = torch.arange(tokens.shape[1], device=tokens.device)
        before = F.pad(tokens[:, :-1], (1, 0), value=-1)
        # [b, i, j]: does the letter of place i stand right before place j, which is not behind i?
        behind = (tokens[:, :, None] == before[:, None]) & (here <= here[:, None])
        is_letter = (tokens < self.alphabet)[:, :, None]
        return torch.where(behind & is_letter, here, 0).amax(2)

    def walk(self, tokens, hops):
        """(B, T): where `hops` (B,) hops lead from each letter; 0 if the walk ends before."""
        hop = self.hop(tokens)
        place = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        for step in range(max(hops.tolist(), default=0)):
            place = torch.where((step < hops)[:, None], hop.gather(1, place), place)
        return place

    def answer(self, tokens):
        place = self.walk(tokens, self.measure(tokens))
        unasked = (tokens >= self.alphabet) | (place == 0)
        return tokens.gather(1, place).masked_fill(unasked, IGNORE)

    def belongs(self, tokens, split):
        walks = self.walk(tokens, self.measure(tokens))[:, -1] > 0
        return super().belongs(tokens, split) & walks

    def check(self, batch, prediction):
        return prediction[:, -1] == batch.targets[:, -1]

    def shortcuts(self, batch):
        """One hop less than asked, and two."""
        fewer = {"1 hop less": 1, "2 hops less": 2}
        hops = {name: (batch.difficulty - less).clamp(min=0) for name, less in fewer.items()}
        return {
            name: batch.tokens.gather(1, self.walk(batch.tokens, n)) for name, n in hops.items()
        }

    def show(self, tokens, prediction=None):
        text = "".join(self.name(token) for token in tokens.tolist())
        return text if prediction is None else f"{text} -> {self.name(int(prediction[-1]))}"

    def name(self, token):
        return chr(ord("a") + token) if token < self.alphabet else "[>]"[token - self.alphabet]
