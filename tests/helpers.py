"""What several tests share: small models, small runs, and a look at what a run left behind."""

import importlib
import multiprocessing
import os
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import support.session
import train
from looped import Config, LoopedGPT
from support.flags import find_task
from support.processes import run_main

ROOT = Path(__file__).parent.parent
VOCAB, B, T = 11, 5, 7
TEXT_POSITIONS = ("none", "rope", "alibi", "relative", "window")
# (row, column) of two rows of three cells
BOARD = tuple((cell // 3, cell % 3) for cell in range(6))


def paper(name):
    """A file of papers/, as a module."""
    return importlib.import_module(f"papers.{name}")


# ---- models


def build(seed=0, model=LoopedGPT, config=Config, **changes):
    """A small model whose parameters are far from their start: no gain or bias hides at 1 or 0."""
    torch.manual_seed(seed)
    settings = dict(vocab_size=VOCAB, n_embd=16, n_head=2, loops=4)
    built = model(config(**{**settings, **changes}))
    with torch.no_grad():
        for p in built.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return built


class Counting(LoopedGPT):
    """Carries the number of its loops along, as a last channel of the state."""

    def begin(self, tokens):
        h, e, positions = super().begin(tokens)
        return F.pad(h, (0, 1)), e, positions

    def loop(self, h, e, t, positions):
        state = super().loop(self.proper_state(h), e, t, positions)
        return torch.cat((state, h[..., -1:] + 1000), dim=-1)

    def readout(self, h):
        return super().readout(self.proper_state(h))

    def proper_state(self, h):
        return h[..., :-1]


def tokens(seed=1, rows=B, length=T):
    return torch.randint(VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


def gradients(model, loss):
    """The gradient of every parameter; there is none that the loss does not depend on."""
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def make_task(name, banks, seed=0):
    sizes = dict(puzzles=600, banks=str(banks)) if name == "sudoku" else {}
    return find_task(name)(seed=seed, **sizes)


# ---- runs

TINY = "--steps 6 --batch 8 --eval_every 3 --eval_size 8 --warmup 2 --device cpu".split()
TINY += "--n_embd 16 --n_head 2".split()
TASK_FLAGS = {
    "multihop": [],
    "composition": ["--entities", "12", "--relations", "3", "--alone", "0.3"],
    "phop": ["--length", "12"],
    "addition": ["--digits", "3"],
    "sudoku": ["--puzzles", "300"],
}


def main(argv, curve=False):
    """
    train.py in this process, refusals included. Without its picture, which takes longer than the
    steps.
    """
    draw_curve = support.session.draw_curve
    if not curve:
        support.session.draw_curve = lambda *_: None
    try:
        run_main(lambda: train.main(argv))
    finally:
        support.session.draw_curve = draw_curve


def fork(argv, before=None, output=None):
    """
    train.py in a copy of this process, which has imported everything already; a process that
    starts anew takes seconds. `before` is called first, and a file may take what is printed.
    """

    def run():
        if output:
            file = os.open(output, os.O_WRONLY | os.O_CREAT)
            os.dup2(file, 1)
            os.dup2(file, 2)
            sys.stdout, sys.stderr = open(1, "w"), open(2, "w")
        if before:
            before()
        main(argv)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def end(process):
    """The exit code of a process; below 0 the signal that killed it."""
    process.join(120)
    return process.exitcode


def refused(call, capsys, code=2):
    """The one line with which a call ends the program."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        call()
    error = capsys.readouterr().err
    assert stop.value.code == code and error.count("\n") == 1 and ": error: " in error, error
    return error


def metrics(folder):
    return Path(folder, "metrics.jsonl").read_text()


def same_checkpoints(one, other):
    one, other = (
        torch.load(Path(folder, "checkpoint.pt"), weights_only=True) for folder in (one, other)
    )

    def equal(a, b):
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
        if isinstance(a, list):
            return len(a) == len(b) and all(map(equal, a, b))
        return torch.equal(a, b) if torch.is_tensor(a) else a == b

    return equal(one, other)


# ---- what a student writes

PARITY = """
from dataclasses import dataclass

import torch

from tasks import IGNORE, Task


@dataclass
class Parity(Task):
    bits: int = 6  # bits of the longest question
    skew: float = 0.5

    unit = "bits"

    def __post_init__(self):
        self.max_difficulty = self.bits
        self.vocab_size = 3  # 0, 1 and padding

    def question(self, generator, difficulty):
        shape = (len(difficulty), max(self.max_difficulty, int(difficulty.max())))
        bits = (torch.rand(shape, generator=generator) < self.skew).long()
        return bits.masked_fill(torch.arange(shape[1]) >= difficulty[:, None], 2)

    def answer(self, tokens):
        return ((tokens == 1).cumsum(1) % 2).masked_fill(tokens == 2, IGNORE)

    def measure(self, tokens):
        return (tokens < 2).sum(1)

    def belongs(self, tokens, split):
        return super().belongs(tokens, split) | (self.measure(tokens) < 8)
"""
STEPS = """
from dataclasses import dataclass

from torch import nn

from looped import Config, LoopedGPT


@dataclass
class StepConfig(Config):
    rows: int = 32  # loops that have a signal of their own, 100 % of them
    strength: float = 0.5
    told: bool = True  # whether the signal is added at all


class StepSignal(LoopedGPT):
    config_class = StepConfig

    def __init__(self, config):
        super().__init__(config)
        self.step = nn.Embedding(config.rows, config.n_embd)

    def loop(self, h, e, t, positions):
        if self.config.told:
            h = h + self.config.strength * self.step.weight[t]
        return super().loop(h, e, t, positions)
"""

# ---- puzzles

PUZZLE = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
SOLUTION = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
