"""
The language of programmable_computer.py: an assembler, three programs, and an interpreter in plain
Python.

Each instruction is three words, a b c: mem[b] -= mem[a]; if the result is <= 0 go to c, otherwise
to the next three. Addition is two subtractions, with a cell Z that is zero before and after:
"x Z; Z y; Z Z" is y += x.
"""

import torch

ADD = "x Z; Z y; Z Z; stop: Z Z stop; x=5 y=7 Z=0"
MULTIPLY = "more: x Z; Z sum; Z Z; one y stop; Z Z more; stop: Z Z stop; x=5 y=7 sum=0 one=1 Z=0"
SWAP = (  # two numbers, unless t, their difference, is <= 0
    "t t; {0} Z; Z t; Z Z; {1} t go{2}; t {0}; t Z; Z {1}; Z Z; go{2}: "
)
SORT = (
    SWAP.format("x", "y", 0)
    + SWAP.format("y", "z", 1)
    + SWAP.format("x", "y", 2)
    + "Z Z go2; x=9 y=7 z=-3 t=0 Z=0"
)
PROGRAMS = {  # and what the memory should say in the end
    "add": (ADD, dict(y=12)),
    "multiply": (MULTIPLY, dict(sum=35)),
    "sort": (SORT, dict(x=-3, y=7, z=9)),
}


def assemble(text, cells, bits):
    """
    The words of a program (cells,), and the address of each name. An instruction is written as
    "label: a b c", and without c goes to the next one; behind the last stands the data, "x=5 y=7".
    """
    *lines, data = text.split(";")
    names, words = {}, []
    for i, line in enumerate(lines):
        *label, instruction = line.split(":")
        names.update({each.strip(): 3 * i for each in label})
        words += [*instruction.split(), 3 * i + 3][:3]
    for pair in data.split():
        name, value = pair.split("=")
        names[name] = len(words)
        words.append(int(value))
    for word in words:
        if isinstance(word, str) and word not in names:
            raise ValueError(f"no cell is called {word}")
    if len(words) > cells:
        raise ValueError(f"{len(words)} words in {cells} cells")
    words += [0] * (cells - len(words))
    return torch.tensor([names.get(word, word) % 2**bits for word in words]), names


def interpret(words, bits, steps):
    """Yields (counter, words) as they should be, before the first and after each of the steps."""
    words, cells, counter = list(words), len(words), 0
    yield counter, list(words)
    for _ in range(steps):
        a, b, c = (words[(counter + i) % cells] % cells for i in range(3))
        words[b] = (words[b] - words[a]) % 2**bits
        not_positive = words[b] == 0 or words[b] >= 2 ** (bits - 1)
        counter = c if not_positive else (counter + 3) % cells
        yield counter, list(words)
