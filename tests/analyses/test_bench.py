"""The bench counts and weighs what it times."""

import json

import pytest

from analyses import bench
from fast import FastRMSNorm
from looped import Config


def test_bench_counts_and_weighs_what_it_times(tmp_path, monkeypatch, run, capsys):
    B, T, C, V = 16, 6, 16, 9
    shape = Config(vocab_size=V, block_size=T, n_embd=C, n_head=2, n_prelude=1, n_core=2, n_coda=1, position="none")
    small = dict(SHAPE=shape, SIZE=B, LENGTHS=(4, 8), REPEATS=1, LOOPS=(4, 16))
    small["KINDS"] = [kind for kind in bench.KINDS if kind != "compiled"]
    for name, value in small.items():
        monkeypatch.setattr(bench, name, value)
    folder = tmp_path / "bench"
    run("bench", folder)
    numbers = json.loads((folder / "bench.json").read_text())
    block = 2 * B * T * 12 * C * C + 2 * 2 * B * T * T * C
    found = {(row["kind"], row["what"], row["loops"]): row for row in numbers["rows"]}
    for (kind, what, loops), row in found.items():
        forward = (2 * loops + 2) * block + 2 * B * T * C * V
        if kind not in ("truncated", "checkpointed"):
            assert row["flops"] == (forward if what == "inference" else 3 * forward)
        assert row["tokens_a_second"] == pytest.approx(1000 * B * T / row["ms"])
    memory = {key: row["memory"] for key, row in found.items() if "memory" in row}
    assert memory["looped", "training", 16] > 3 * memory["looped", "training", 4]
    assert memory["truncated", "training", 16] == memory["truncated", "training", 4]  # flat
    assert memory["checkpointed", "training", 16] < memory["looped", "training", 16] / 4
    assert ("plain", "training", 16) in found and ("plain", "inference", 16) in found
    assert set(numbers["generation"]) == {"lengths", "none", "first", "last", "no cache"}
    assert (folder / "bench.png").exists() and "one more token" in capsys.readouterr().out


def test_kinds_differ_in_what_they_say():
    models = {kind: bench.make_model(kind, 4, "cpu", bench.SHAPE) for kind in bench.KINDS if kind != "compiled"}
    fast = {kind for kind, model in models.items() if isinstance(model.norm, FastRMSNorm)}
    assert fast == set(models) - {"plain"}
    assert len(models["untied"].core) == 8 and models["truncated"].config.backprop_loops == 2
    assert "advance" in vars(models["checkpointed"]) and "advance" not in vars(models["looped"])
