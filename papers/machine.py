"""
The machine of programmable_computer.py: a looped transformer whose weights are written by hand.

The state of a cell of the memory is a row of bits, +1 or -1: its address, its word, the program counter, and a
scratchpad. One loop is one instruction, SUBLEQ a b c, in three blocks:

    fetch       three heads read a, b and c: they look for the cells whose address is the counter, and the two behind it
    subtract    two heads read mem[a] and mem[b]; the MLP subtracts, and the cell whose address is b takes the result
    jump        the MLP sets the counter to c or to the next instruction, clears the scratchpad, and mends the words:
                what rounding or a soft attention did to a bit would add up, loop after loop

The blocks are those of looped.py. States of nothing but +1 and -1 have one length, so that RMSNorm divides by a
constant, which its gain undoes; and GELU is ReLU, to all digits of float32, beyond +-8, where every sum of bits is put.
"""

import math
from dataclasses import dataclass

import torch
from by_hand import Units, signs

from looped import Config, LoopedGPT


@dataclass
class ComputerConfig(Config):
    n_embd: int = 0  # 0: as many as a state has bits
    n_head: int = 3
    n_core: int = 3
    injection: str = "none"
    norm: str = "pre"
    position: str = "none"
    causal: bool = False
    sharpness: float = 40.0  # of attention: how far the cell looked for is ahead of the next best, in nats
    mend: bool = True  # write all words anew in every loop, as +1 and -1

    def __post_init__(self):
        p, w = self.address_bits, self.word_bits = [n.bit_length() - 1 for n in (self.block_size, self.vocab_size)]
        if (2**p, 2**w) != (self.block_size, self.vocab_size) or not 2 <= p <= w:
            raise ValueError("block_size (cells) and vocab_size (words) must be powers of two, 4 <= cells <= words")
        self.n_embd = self.n_embd or -(-(8 * p + 3 * w + 2) // 3) * 3
        super().__post_init__()


class Computer(LoopedGPT):
    """Tokens (B, cells) are the words of the memory, 0 .. 2^w - 1; the logits are those of the words after `loops`."""

    config_class = ComputerConfig

    def __init__(self, config):
        super().__init__(config)
        p, w = config.address_bits, config.word_bits
        sizes = dict(one=1, word=w, pc=p, here=p, minus1=p, minus2=p, a=p, b=p, c=p, same=p, x=w, y=w, less=1)
        self.at = dict(zip(sizes, torch.arange(sum(sizes.values())).split(list(sizes.values()))))
        codes = torch.zeros(config.block_size, config.n_embd)
        for offset, name in enumerate(("here", "minus1", "minus2")):
            codes[:, self.at[name]] = signs((torch.arange(config.block_size) - offset) % config.block_size, p)
        self.register_buffer("codes", codes, persistent=False)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            self.write_embedding_and_norms(p, w)
            self.write_blocks(p, w)

    def begin(self, tokens, cache=None):
        if tokens.shape[1] != self.config.block_size:
            raise ValueError(f"the memory has {self.config.block_size} cells, not {tokens.shape[1]}")
        h, e, where = super().begin(tokens, cache)
        return h + self.codes, e, where

    def number(self, h, name):
        """What the bits called `name` say in each cell of h (B, T, C), without a sign: (B, T)."""
        return ((h[..., self.at[name]] > 0).long() << torch.arange(len(self.at[name]))).sum(-1)

    def write_embedding_and_norms(self, p, w):
        self.embed.weight[:, self.at["word"]] = signs(torch.arange(2**w), w)
        self.embed.weight[:, self.at["pc"]], self.embed.weight[:, self.at["one"]] = -1, 1
        known = [1 + w + p]  # so many bits are set where the first norm reads the state; the others are 0
        for more in (3 * p, 3 * p, p, 2 * w, 1, 0):  # addresses; a, b, c; same; x, y; less
            known.append(known[-1] + more)
        norms = [norm for block in self.core for norm in (block.before_attention, block.before_mlp)]
        for norm, bits in zip([self.prelude_norm, *norms, self.norm], [*known, known[1]]):
            norm.weight.fill_(math.sqrt(bits / self.config.n_embd))

    def write_blocks(self, p, w):
        at, channel = self.at, torch.eye(self.config.n_embd)
        one = channel[at["one"]]  # (1, C)
        bits = {name: (channel[rows] + one) / 2 for name, rows in at.items()}  # sums of channels: 1 for +1, 0 for -1
        out = {name: 2 * channel[rows] for name, rows in at.items()}  # from -1 to +1
        power = 2.0 ** torch.arange(w)[:, None]  # (w, 1)
        low = (power.T.expand(w, w)).tril()  # low @ bits: the numbers of the lowest 1, 2, .. w bits
        fetch, subtract, jump = self.core

        self.look(fetch.attention, [("pc", "here", "a"), ("pc", "minus1", "b"), ("pc", "minus2", "c")])
        units = Units(fetch.mlp, one)
        units.step(bits["here"] + bits["b"] - one, out["same"])  # is this the cell of b? bit by bit
        units.step(one - bits["here"] - bits["b"], out["same"])
        units.linear(one, -channel[at["same"]].sum(0, keepdim=True))

        self.look(subtract.attention, [("a", "here", "x"), ("b", "here", "y")])
        units = Units(subtract.mlp, one)
        elsewhere = channel[at["same"]].sum(0, keepdim=True) - p * one  # 0 in the cell of b, -2 or less in all others
        total = low @ (bits["y"] + one - bits["x"]) + one  # y - x is y + (not x) + 1
        units.bit(total + 2 * power * elsewhere, power, out["word"])
        units.step(bits["word"] + elsewhere, -out["word"])  # what stood there goes
        signed = torch.cat((power[:-1], -power[-1:])).T @ (bits["y"] - bits["x"])
        units.bit(total[-1:], power[-1:], out["less"])  # "less": the result is negative, or
        units.step(signed + one, out["less"])  # zero: from 0 on,
        units.step(signed, -out["less"])  # but not from 1 on
        units.linear(one, -channel[at["less"]])

        units = Units(jump.mlp, one)
        three = torch.tensor([1.0, 1.0] + (p - 2) * [0.0])[:, None] * one
        units.bit(low[:p, :p] @ (bits["pc"] + three) - 4 * power[:p] * bits["less"], power[:p], out["pc"])
        units.step(bits["c"] + bits["less"] - one, out["pc"])
        if self.config.mend:
            units.step(bits["word"], out["word"])
        anew = ["pc", "word"] if self.config.mend else ["pc"]
        units.linear(one, -channel[torch.cat([at[name] for name in anew])].sum(0, keepdim=True))
        gone = channel[torch.cat([at[name] for name in (*anew, "a", "b", "c", "same", "x", "y", "less")])]
        units.linear(gone, -gone)

    def look(self, attention, heads):
        """A head (wanted, key, copy) copies the word of the cell whose bits `key` are what `wanted` is here."""
        (q, k, v), D = attention.qkv.weight.chunk(3), self.config.n_embd // self.config.n_head
        for head, (wanted, key, copy) in enumerate(heads):
            rows = head * D + torch.arange(len(self.at[wanted]))[: self.config.address_bits]
            q[rows, self.at[wanted]], k[rows, self.at[key]] = self.config.sharpness * math.sqrt(D) / 2, 1
            rows = head * D + torch.arange(len(self.at[copy]))
            v[rows, self.at["word"][: len(rows)]], attention.out.weight[self.at[copy], rows] = 1, 1
