"""Loops at random weights and after short training."""

import json
import math

import pytest

from analyses import stability
from analyses.stability import draw_stability, measure_trained, measure_untrained
from train import load_model


def test_stability_measures_random_and_trained_loops(tmp_path):
    calm = measure_untrained("post", "diagonal", 0.02, [0], loops=40, layers=2, C=16, T=6)
    grows = measure_untrained("pre", "add", 0.25, [0], loops=40, layers=2, C=16, T=6)
    assert calm["movement"] < 1e-4 and calm["size"] == pytest.approx(1, abs=0.01)
    assert grows["size"] > 10 and grows["cosine"] > 0.9
    row = measure_trained(1e-3, "diagonal", 0, 3, tmp_path)
    model, _, _ = load_model(tmp_path)
    assert row["radius"] == pytest.approx(model.inject.decay().max().item()) and row["radius"] < 1
    assert measure_trained(1e15, "add", 0, 5, tmp_path)["loss"] == math.inf


def test_stability_needs_no_run_and_draws_what_diverged(tmp_path, run, monkeypatch):
    def untrained(norm, injection, std, seeds):
        return dict(movement=1e-7 if injection == "add" else 0.3, size=1.0, cosine=0.5)

    def trained(lr, injection, seed, steps, folder):
        if lr == 3e-2 and injection == "concat":
            return dict(loss=math.inf, size_8=math.inf, size_32=math.inf, radius=math.inf)
        size_32 = 2.0 if injection == "diagonal" else 9.0
        return dict(loss=1.0, size_8=2.0, size_32=size_32, radius=0.5)

    monkeypatch.setattr(stability, "measure_untrained", untrained)
    monkeypatch.setattr(stability, "measure_trained", trained)
    run("stability", tmp_path / "new", "--steps", 7)
    numbers = json.loads((tmp_path / "new/stability.json").read_text())
    assert numbers["steps"] == 7 and len(numbers["random"]) == 24 and len(numbers["trained"]) == 16
    diverged = [row for row in numbers["trained"] if row["diverged"]]
    nothing = dict(loss=None, size_8=None, size_32=None, radius=None)
    assert diverged == [dict(lr=0.03, injection="concat", diverged=3, **nothing)]
    figure = draw_stability(numbers)
    assert "diverged" in [text.get_text() for axis in figure.axes for text in axis.texts]
    assert any("only with diagonal" in part.get_suptitle() for part in figure.subfigs)
