"""
Random numbers that nothing else can shift, and a split of all questions that does not depend on the
seed: both come from hashes.
"""

import hashlib

import torch

# tenths of all questions
SPLITS = {"train": (0, 1, 2, 3, 4, 5, 6, 7), "val": (8,), "test": (9,)}


def stream(*names):
    """
    A seed for the random numbers of one purpose, such as stream(0, "train", 17). However many
    numbers one purpose draws, those of another stay the same.
    """
    return int.from_bytes(hashlib.sha256(repr(names).encode()).digest()[:7], "little")


def salted(seed, salt):
    """The seed that takes the place of `seed` under a salt; without a salt, the seed itself."""
    return stream(salt, seed) if salt else seed


def in_split(rows, split, salt=""):
    """(N,) bool: which rows of integers (N, T) belong to the split."""
    return torch.isin(tenth(rows, salt), torch.tensor(SPLITS[split]))


def tenth(rows, salt=""):
    """
    A hash 0..9 of each row of integers (N, T). Zeros do not count, so padding with them changes
    nothing.
    """
    # the seed 10 gives each split at least two of the 12 kinds of 4x4 Sudoku grids
    generator = torch.Generator().manual_seed(salted(10, salt))
    weights = torch.randint(2**62, (rows.shape[1],), generator=generator)
    return (scramble((rows * weights).sum(1)) & 0x7FFFFFFF) % 10  # arithmetic modulo 2**64


def scramble(x):
    """Integers as good as random, the same for the same x."""
    x = (x ^ (x >> 31)) * 0x5851F42D4C957F2D
    return x ^ (x >> 33)
