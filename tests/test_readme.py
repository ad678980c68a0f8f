"""The README's code works as written: its task learns."""

import re

import torch
from helpers import ROOT, TINY, main

import analyze
from train import evaluate, load_model


def test_the_task_of_the_readme_learns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
        if "Task" in block
    ]
    (tmp_path / "my_task.py").write_text(code)
    small = "--moves 2 --n_embd 32 --slack 1 --lr 4e-3 --steps 200 --warmup 20".split()
    small += "--eval_every 200 --eval_size 100 --device cpu".split()
    main(["--task", "my_task.py", *small, "--out", "run"])
    model, task, flags = load_model("run")
    batch = task.batch("test", 0, 50, 3)
    row = dict(x=[1, 0, 2, 3, 4], y=[1, 2, 3, 4, 0])
    for tokens, targets in zip(batch.tokens.tolist(), batch.targets.tolist()):
        place = 0
        for move, target in zip(tokens[1:], targets[1:]):
            place = row["xy"[move - 5]][place]
            assert target == place
    accuracy = evaluate(model, task, flags, "val")
    assert min(accuracy.values()) > 0.9, accuracy  # by chance: 0.2 for each move
    assert task.show(batch.tokens[0], batch.targets[0]).count("->") == 1
    analyze.main(["think", "run"])  # with the names that a task has if it gives none


def test_the_model_of_the_readme_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    (code,) = [block for block in blocks if "class StepSignal" in block]
    (tmp_path / "my_model.py").write_text(code)
    main([*TINY, "--model", "my_model.py", "--out", "run"])
    model, task, _ = load_model("run")
    tokens = task.batch("test", 0, 2, 3).tokens
    before = model(tokens, 70)  # more loops than it has signals
    model.signal.weight.data[0] += 1
    assert not torch.allclose(before, model(tokens, 70))
