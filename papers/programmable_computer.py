"""
Looped Transformers as Programmable Computers (Giannou et al. 2023, arXiv 2301.13196)

What can a loop compute? Whatever a computer can. Nothing is trained here: the weights are written
by hand, and each loop executes one instruction of a machine that has no other. It is enough for any
program:

    SUBLEQ a b c      mem[b] -= mem[a]; if the result is <= 0 go to c, otherwise go on

Each token is a cell of the memory. The state of a cell is a row of bits, +1 or -1: its address, its
word, the program counter, and a scratchpad. One loop is one instruction, in three blocks:

    fetch       three heads read a, b and c: they look for the cells whose address is the counter,
                and the two behind it
    subtract    two heads read mem[a] and mem[b]; the MLP subtracts, and the cell whose address is b
                takes the result
    jump        the MLP sets the counter to c or to the next instruction, clears the scratchpad, and
                mends the words: small errors of a bit would add up, loop after loop

What is different here: `begin` gives each cell its address, and all weights are written by hand.
The blocks are those of looped.py, with pre-norm. States of nothing but +1 and -1 have one length,
so RMSNorm divides by a constant, which its gain undoes; and GELU is ReLU, to all digits of float32,
beyond +-8, where every sum of bits is put. A program stops by jumping to where it is, a fixed point
of the loop, which `solve` sees. (The paper has ReLU, no norm, a scratchpad apart, and program and
data apart.) It is no model for train.py.

    model.solve(words, threshold=1e-4, max_loops=256)
    python -m claims.programmable_computer
"""

import math
from dataclasses import dataclass

import torch

from looped import Config, LoopedGPT

STEEP = 32


@dataclass
class ComputerConfig(Config):
    cells: int = 32  # of the memory
    n_embd: int = 0  # 0: as many as a state has bits
    n_head: int = 3
    n_core: int = 3
    injection: str = "none"
    norm: str = "pre"
    position: str = "none"
    causal: bool = False
    sharpness: float = 40.0  # of attention: lead of the cell looked for over the next best, in nats
    mend: bool = True  # write all words anew in every loop, as +1 and -1

    def __post_init__(self):
        self.address_bits = self.cells.bit_length() - 1
        self.word_bits = self.vocab_size.bit_length() - 1
        powers = self.cells == 2**self.address_bits and self.vocab_size == 2**self.word_bits
        if not powers or not 2 <= self.address_bits <= self.word_bits:
            raise ValueError(
                "cells and vocab_size (words) must be powers of two, 4 <= cells <= words"
            )
        bits_of_a_state = 8 * self.address_bits + 3 * self.word_bits + 2
        self.n_embd = self.n_embd or math.ceil(bits_of_a_state / 3) * 3  # three heads share it
        super().__post_init__()


def signs(numbers, bits):
    """The bits of numbers, lowest first, as +1 and -1."""
    return (numbers[..., None] >> torch.arange(bits) & 1) * 2.0 - 1


class Units:
    """
    Writes the hidden units of an MLP, one after the other: what they read (n, C), and what they add
    to the state (n, C).

    Two units make a step: GELU(32 (x - 0.25)) - GELU(32 (x - 0.75)) is 0 for x <= 0 and 16 for
    x >= 1. For whole numbers x, GELU is asked at +-8 and beyond alone.
    """

    def __init__(self, mlp, one):
        self.into, self.out, self.one, self.used = mlp[0].weight, mlp[2].weight, one, 0

    def write(self, total, out):
        new = slice(self.used, self.used + len(out))
        self.into[new], self.out[:, new] = total, out.T
        self.used += len(out)

    def step(self, total, out):
        """Adds `out` where a whole number is 1 or more. Between 0.25 and 0.75 it is a ramp."""
        self.write(STEEP * (total - 0.25 * self.one), out * 2 / STEEP)
        self.write(STEEP * (total - 0.75 * self.one), -out * 2 / STEEP)

    def linear(self, total, out):
        """Adds total * out: GELU(x) - GELU(-x) = x."""
        self.write(total, out)
        self.write(-total, -out)

    def bit(self, total, power, out):
        """
        Adds `out` where a total, below 4 * power, has the bit of that power of two. A negative
        total has no bits.
        """
        for threshold, sign in ((1, 1), (2, -1), (3, 1)):
            self.step(total - (threshold * power - 1) * self.one, sign * out)


class Computer(LoopedGPT):
    """Tokens (B, cells) are the words of the memory; the logits are those of the words after."""

    config_class = ComputerConfig

    def __init__(self, config):
        super().__init__(config)
        p, w, cells = config.address_bits, config.word_bits, config.cells
        sizes = dict(one=1, word=w, pc=p, here=p, minus1=p, minus2=p)
        sizes |= dict(a=p, b=p, c=p, same=p, x=w, y=w, less=1)
        channels = torch.arange(sum(sizes.values())).split(list(sizes.values()))
        self.at = dict(zip(sizes, channels))  # which channels of a state have which name
        codes = torch.zeros(cells, config.n_embd)
        for offset, name in enumerate(("here", "minus1", "minus2")):
            codes[:, self.at[name]] = signs((torch.arange(cells) - offset) % cells, p)
        self.register_buffer("codes", codes, persistent=False)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            self.write_embedding_and_norms(p, w)
            self.write_blocks(p, w)

    def begin(self, tokens):
        if tokens.shape[1] != self.config.cells:
            raise ValueError(f"the memory has {self.config.cells} cells, not {tokens.shape[1]}")
        h, e, positions = super().begin(tokens)
        return h + self.codes, e, positions

    def number(self, h, name):
        """What the bits called `name` say in each cell of h (B, T, C), without a sign: (B, T)."""
        bits = (h[..., self.at[name]] > 0).long()
        return (bits << torch.arange(len(self.at[name]))).sum(-1)

    def write_embedding_and_norms(self, p, w):
        self.embed.weight[:, self.at["word"]] = signs(torch.arange(2**w), w)
        self.embed.weight[:, self.at["pc"]] = -1
        self.embed.weight[:, self.at["one"]] = 1
        known = [1 + w + p]  # so many bits are set where the first norm reads the state
        for more in (3 * p, 3 * p, p, 2 * w, 1, 0):  # addresses; a, b, c; same; x, y; less
            known.append(known[-1] + more)
        norms = [self.prelude_norm]
        for block in self.core:
            norms += [block.before_attention, block.before_mlp]
        for norm, bits in zip([*norms, self.norm], [*known, known[1]]):
            norm.weight.fill_(math.sqrt(bits / self.config.n_embd))

    def write_blocks(self, p, w):
        at, channel = self.at, torch.eye(self.config.n_embd)
        one = channel[at["one"]]  # (1, C)
        bits = {name: (channel[rows] + one) / 2 for name, rows in at.items()}  # 1 for +1, 0 for -1
        out = {name: 2 * channel[rows] for name, rows in at.items()}  # from -1 to +1
        power = 2.0 ** torch.arange(w)[:, None]  # (w, 1)
        low = power.T.expand(w, w).tril()  # low @ bits: the numbers of the lowest 1, 2, .. w bits
        fetch, subtract, jump = self.core

        self.look(fetch, ("pc", "here", "a"), ("pc", "minus1", "b"), ("pc", "minus2", "c"))
        units = Units(fetch.mlp, one)
        units.step(bits["here"] + bits["b"] - one, out["same"])  # is this the cell of b? bit by bit
        units.step(one - bits["here"] - bits["b"], out["same"])
        units.linear(one, -channel[at["same"]].sum(0, keepdim=True))

        self.look(subtract, ("a", "here", "x"), ("b", "here", "y"))
        units = Units(subtract.mlp, one)
        elsewhere = channel[at["same"]].sum(0, keepdim=True) - p * one  # 0 in the cell of b
        total = low @ (bits["y"] + one - bits["x"]) + one  # y - x is y + (not x) + 1
        units.bit(total + 2 * power * elsewhere, power, out["word"])
        units.step(bits["word"] + elsewhere, -out["word"])  # the old word goes
        signed = torch.cat((power[:-1], -power[-1:])).T @ (bits["y"] - bits["x"])
        units.bit(total[-1:], power[-1:], out["less"])  # "less": the result is negative, or
        units.step(signed + one, out["less"])  # zero: from 0 on,
        units.step(signed, -out["less"])  # but not from 1 on
        units.linear(one, -channel[at["less"]])

        units = Units(jump.mlp, one)
        three = torch.tensor([1.0, 1.0] + (p - 2) * [0.0])[:, None] * one
        next_one = low[:p, :p] @ (bits["pc"] + three) - 4 * power[:p] * bits["less"]
        units.bit(next_one, power[:p], out["pc"])
        units.step(bits["c"] + bits["less"] - one, out["pc"])
        if self.config.mend:
            units.step(bits["word"], out["word"])
        anew = ["pc", "word"] if self.config.mend else ["pc"]
        units.linear(one, -channel[torch.cat([at[name] for name in anew])].sum(0, keepdim=True))
        cleared = [*anew, "a", "b", "c", "same", "x", "y", "less"]
        gone = channel[torch.cat([at[name] for name in cleared])]
        units.linear(gone, -gone)

    def look(self, block, *heads):
        """A head (wanted, key, copy): copy the word of the cell whose `key` is what `wanted` is."""
        q, k, v = block.attention.qkv.weight.chunk(3)
        D = self.config.n_embd // self.config.n_head
        for head, (wanted, key, copy) in enumerate(heads):
            rows = head * D + torch.arange(len(self.at[wanted]))[: self.config.address_bits]
            q[rows, self.at[wanted]] = self.config.sharpness * math.sqrt(D) / 2
            k[rows, self.at[key]] = 1
            rows = head * D + torch.arange(len(self.at[copy]))
            v[rows, self.at["word"][: len(rows)]] = 1
            block.attention.out.weight[self.at[copy], rows] = 1
