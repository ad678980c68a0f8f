"""
The sums that a person would type, which no generator drew: `python results/addition/typed.py
runs/addition20 ...`

Writes results/addition/typed.json: {digits: {kind: one accuracy for each run}}, after 64 loops.
Kinds with few members are asked completely, the others with 200 random numbers.
"""

import json
import random
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from tasks import Addition, Batch  # noqa: E402 (after the path is set)
from train import load_model  # noqa: E402

LOOPS, DIGITS = 64, (8, 16, 24)


def sums(n, draw):
    """{kind: pairs of numbers of at most n digits}."""
    nines = 10**n - 1
    some = [draw.randrange(10**n) for _ in range(200)]
    short = [draw.randrange(10 ** draw.randint(1, n - 1)) for _ in some]
    halves = [f"{x:0{n}}"[: n // 2] for x in some]
    palindromes = [int(half + half[::-1]) for half in halves]
    powers = [10**k for k in range(n)]
    return {
        "99..9 + 1": [(nines, 1), (1, nines)],
        "10^k + 10^k": [(x, x) for x in powers],
        "0 + 0": [(0, 0)],
        "dd..d + dd..d": [(d * nines // 9, d * nines // 9) for d in range(10)],
        "dd..d + ee..e = 99..9": [(d * nines // 9, (9 - d) * nines // 9) for d in range(10)],
        "x + x": [(x, x) for x in some],
        "x + (99..9 - x)": [(x, nines - x) for x in some],
        "x + (10^n - x)": [(x, nines + 1 - x) for x in some if x],
        "palindromes": list(zip(palindromes, reversed(palindromes))),
        "unequal lengths": list(zip(some, short)),
        "random": list(zip(some, reversed(some))),
    }


def tokens_of(pairs, n):
    """(N, 2n + 2) as Addition writes them: ">", the digits of both from the lowest up, "="."""
    rows = [
        [11, *(int(c) for pair in zip(f"{a:0{n}}"[::-1], f"{b:0{n}}"[::-1]) for c in pair), 10]
        for a, b in pairs
    ]
    return torch.tensor(rows)


@torch.no_grad()
def accuracy(model, pairs, n):
    task, tokens = Addition(digits=n), tokens_of(pairs, n)
    prediction = model(tokens, LOOPS).argmax(-1)
    right = task.check(Batch(tokens, task.answer(tokens), None), prediction)
    # the text that a person reads says the same as check()
    for (a, b), row, ok in zip(pairs, prediction, right):
        assert ok == (int("".join(str(int(d)) for d in reversed([*row[2:-1:2], row[-1]]))) == a + b)
    return round(right.float().mean().item(), 4)


numbers = {n: {kind: [] for kind in sums(n, random.Random(0))} for n in DIGITS}
for run in sys.argv[1:]:
    model, _, _ = load_model(run)
    for n in DIGITS:
        for kind, pairs in sums(n, random.Random(0)).items():
            numbers[n][kind].append(accuracy(model, pairs, n))
for n, kinds in numbers.items():
    print(
        n,
        "digits: ",
        "  ".join(f"{kind}: {' '.join(f'{a:.2f}' for a in each)}" for kind, each in kinds.items()),
    )
(ROOT / "results/addition/typed.json").write_text(json.dumps(numbers, indent=1) + "\n")
