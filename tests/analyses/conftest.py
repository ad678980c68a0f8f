"""
Tiny runs of every task, made once; and `run`, which calls the front door as the command line would.
"""

import sys

import pytest

import analyze
import train

TINY = "--steps 2 --no-curriculum --batch 8 --eval_size 8 --device cpu".split()
TINY += "--n_embd 16 --n_head 2".split()


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """
    A folder with the runs hops (and hops/control), other (another seed of hops), digits, facts,
    letters, boards.
    """
    folder = tmp_path_factory.mktemp("runs")

    def train_tiny(name, flags):
        train.main([*TINY, *flags.split(), "--out", str(folder / name)])

    train_tiny("hops", "--task multihop --hops 2")
    untied = "--no-tied --sampler fixed --loops 6"
    train_tiny("hops/control", f"--task multihop --hops 2 {untied}")
    train_tiny("other", "--task multihop --hops 2 --seed 1")
    train_tiny("digits", "--task addition --digits 3")
    train_tiny("letters", "--task phop --hops 2 --length 20")
    small = "--entities 12 --relations 3 --alone 0.3"
    train_tiny("facts", f"--task composition {small} --eval_every 1 --snapshots")
    train_tiny("boards", f"--task sudoku --puzzles 500 --banks {folder / 'banks'}")
    return folder


@pytest.fixture
def run(monkeypatch):
    """
    run("depth", folder, "--loops", 9) is `python analyze.py depth FOLDER --loops 9 --device cpu`.
    """

    def call(what, *argv):
        device = [] if "--device" in argv else ["--device", "cpu"]
        monkeypatch.setattr(sys, "argv", ["analyze.py", what, *map(str, argv), *device])
        analyze.main()

    return call
