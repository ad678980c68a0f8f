"""Counts of FLOPs, parameters and bytes against what the shapes imply."""

import argparse
import json

import pytest
import torch

from analyses import cost
from analyses.cost import measure_solve
from looped import Config, LoopedGPT
from train import load_model


def test_cost_counts_the_flops_that_the_shapes_imply(runs, run, monkeypatch):
    monkeypatch.setattr(cost, "LOOPS", (1, 2, 8, 16))
    run("cost", runs / "hops")
    numbers = json.loads((runs / "hops/cost.json").read_text())
    model, task, flags = load_model(runs / "hops")
    B, T, C, V = flags.batch, 3, 16, task.vocab_size
    projections, mlp = 2 * B * T * (3 * C * C + C * C), 2 * B * T * 8 * C * C
    scores = 2 * 2 * B * T * T * C
    block = projections + mlp + scores
    for loops, looped, untied in zip(numbers["loops"], numbers["looped"], numbers["untied"]):
        assert looped["flops"] == untied["flops"] == loops * block + 2 * B * T * C * V
        twin = LoopedGPT(Config(**{**vars(model.config), "tied": False, "loops": loops}))
        assert untied["parameters"] == sum(p.numel() for p in twin.parameters())
        assert looped["parameters"] == numbers["looped"][0]["parameters"]
    memory = [row["memory"] for row in numbers["looped"]]
    assert memory[-1] / memory[-2] == pytest.approx(2, rel=0.1)


def test_cost_shows_the_time_that_solve_saves():
    torch.manual_seed(0)
    model = LoopedGPT(Config(vocab_size=9, n_embd=32))
    tokens = torch.zeros(256, 40, dtype=torch.long)
    tokens[32:] = 1  # one row in eight never rests, the others at once
    rests, loop = model.begin(tokens)[1][-1, :1], model.loop

    def restless(h, e, t, positions):
        still = (e[:, :1] == rests).all(2, keepdim=True)
        return torch.where(still, h, loop(h, e, t, positions) + torch.randn_like(h))

    model.loop = restless
    task = argparse.Namespace(batch=lambda *_: argparse.Namespace(tokens=tokens))
    found = measure_solve(model, task)
    assert found["share_of_loops"] == pytest.approx((32 * 64 + 224) / 256 / 64)
    assert found["share_of_time"] < 0.5
