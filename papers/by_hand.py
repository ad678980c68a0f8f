"""
An MLP written by hand, for machine.py: whole numbers in, bits out.

Two units make a step: GELU(32 (x - 0.25)) - GELU(32 (x - 0.75)) is 0 for x <= 0 and 16 for x >= 1. For whole numbers,
GELU is asked at +-8 and beyond alone, where it is ReLU to all digits of float32.
"""

import torch

STEEP = 32


class Units:
    """Writes the hidden units of an MLP, one after the other: what they read (n, C), and what they add (n, C)."""

    def __init__(self, mlp, one):
        self.into, self.out, self.one, self.used = mlp[0].weight, mlp[2].weight, one, 0

    def write(self, total, out):
        new = slice(self.used, self.used + len(out))
        self.into[new], self.out[:, new], self.used = total, out.T, self.used + len(out)

    def step(self, total, out):
        """Adds `out` where a whole number is 1 or more: a ramp from 0.25 to 0.75, which mends small errors."""
        self.write(STEEP * (total - 0.25 * self.one), out * 2 / STEEP)
        self.write(STEEP * (total - 0.75 * self.one), -out * 2 / STEEP)

    def linear(self, total, out):
        """Adds total * out: GELU(x) - GELU(-x) = x."""
        self.write(total, out)
        self.write(-total, -out)

    def bit(self, total, power, out):
        """Adds `out` where a total, below 4 * power, has the bit of that power of two; a negative one has no bits."""
        for threshold, sign in ((1, 1), (2, -1), (3, 1)):
            self.step(total - (threshold * power - 1) * self.one, sign * out)


def signs(numbers, bits):
    """The bits of numbers, lowest first, as +1 and -1."""
    return (numbers[..., None] >> torch.arange(bits) & 1) * 2.0 - 1
