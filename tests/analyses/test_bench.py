"""The bench counts and weighs what it times."""

import json

import pytest

from analyses import bench
from looped import Config, LoopedGPT
from support import fast


def test_bench_counts_and_weighs_what_it_times(tmp_path, monkeypatch, run, capsys):
    B, T, C, V = 16, 6, 16, 9
    layers = dict(n_prelude=1, n_core=2, n_coda=1)
    shape = Config(vocab_size=V, n_embd=C, n_head=2, position="none", **layers)
    small = dict(SHAPE=shape, SIZE=B, LENGTH=T, LENGTHS=(4, 8), REPEATS=1, LOOPS=(4, 16))
    small["KINDS"] = {kind: bench.KINDS[kind] for kind in bench.KINDS if kind != "compiled"}
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
    assert set(numbers["sampled"]) == {"fixed", "sampled", "fixed, plain", "sampled, plain"}
    assert set(numbers["generation"]) == {"lengths", "none", "first", "last", "no cache"}
    assert (folder / "bench.png").exists() and "one more token" in capsys.readouterr().out


def test_kinds_differ_in_what_they_say():
    models = {}
    for kind in bench.KINDS:
        if kind != "compiled":
            models[kind] = bench.make_model(kind, 4, "cpu", bench.SHAPE)
    has_twins = {}
    for kind, model in models.items():
        has_twins[kind] = isinstance(model.norm, fast.FastRMSNorm)
        attention, think = model.core[0].attention, model.think.__func__
        assert isinstance(attention, fast.FastAttention) == has_twins[kind]
        assert think is (fast.fast_think if has_twins[kind] else LoopedGPT.think)
    assert has_twins == {kind: kind != "plain" for kind in models}
    assert len(models["untied"].core) == 8 and models["truncated"].config.backprop_loops == 2
    assert models["looped"].advance.__func__ is fast.advance
    assert models["checkpointed"].advance.__func__ is not fast.advance
