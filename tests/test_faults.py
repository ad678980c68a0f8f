"""Abuse: processes killed at any moment, damaged files, full disks, random flags and random puzzle files."""

import json
import os
import random
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch

import train
from looped import Config
from test_train import ROOT, TINY, main, metrics, same_checkpoints
from train import CHOICES, Settings, load_model


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every run in a folder of its own."""
    monkeypatch.chdir(tmp_path)


# ---- flags

SANE = dict(steps="2", batch="4", eval_every="1", eval_size="4", n_embd="8", n_head="2", loops="3", device="cpu")
SMALL = dict(entities="12", hops="2", length="8", digits="2", puzzles="60")
NUMBERS = "0 1 2 3 5 8 0.5 1e-3 -1 -0.1 nan inf 1e400 99999999999999999999 '' x ½ 0x10 True".split()


def random_flags(seed):
    """A command line: small sizes, and up to four flags of any kind set to anything."""
    draw = random.Random(seed)
    task = draw.choice((*CHOICES["task"], *CHOICES["task"], "chess"))
    own = train.task_flags(task) if task in CHOICES["task"] else []
    chosen = dict(task=task, **SANE, **{name: value for name, value in SMALL.items() if name in own})
    kinds = {f.name: f.type for cls in (Settings, Config) for f in fields(cls) if f.name not in train.FROM_TASK}
    kinds.update(colour=str, **{"": str})
    for name in draw.sample(sorted(kinds), draw.randrange(5)):
        if name in ("out", "resume", "control", "threads", "compile", "minutes"):  # processes and places of their own
            continue
        choices = CHOICES.get(name) or {str: ("none", "add", "rope", "relative", "grid", "pre", "")}.get(kinds[name])
        chosen[name] = draw.choice((*(choices or NUMBERS), *NUMBERS[:6], draw.choice(NUMBERS)))
        if kinds[name] is bool:
            chosen[name] = None
    argv = []
    for name, value in chosen.items():
        argv += [f"--{name}"] if value is None else [f"--{name}", value]
    return argv


@pytest.mark.parametrize("block", range(20))
def test_a_random_command_line_runs_or_says_why_not_in_one_line(block, capsys):
    outcomes, wrong = [], []
    for seed in range(50 * block, 50 * block + 50):
        argv, folder = random_flags(seed), Path(f"run{seed}")
        capsys.readouterr()
        try:
            main([*argv, "--out", str(folder)])
            code = 0 if metrics(folder) and load_model(folder) else -1
        except SystemExit as stop:
            code = stop.code
            error = capsys.readouterr().err.splitlines()
            if "error: " not in error[-1] or code not in (1, 2) or (code == 2 and (len(error) > 1 or folder.exists())):
                wrong.append((argv, error))
        except BaseException as error:
            wrong.append((argv, repr(error)))
            code = -1
        outcomes.append(code)
    assert not wrong and {0, 2} <= set(outcomes)
