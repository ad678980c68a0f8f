"""The analyses on tiny runs: the files they promise, and their numbers against a direct computation."""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import analyze
import bench
import inside
import train
from looped import Config, LoopedGPT
from tasks import IGNORE
from train import load_model, main

TINY = "--steps 2 --batch 8 --eval_size 8 --n_embd 16 --n_head 2 --device cpu".split()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    main(["--task", "multihop", "--hops", "2", *TINY, "--out", str(folder / "hops")])
    more = ["--no-tied", "--sampler", "fixed", "--loops", "6"]
    main(["--task", "multihop", "--hops", "2", *TINY, *more, "--out", str(folder / "hops/control")])
    main(["--task", "multihop", "--hops", "2", *TINY, "--seed", "1", "--out", str(folder / "other")])
    main(["--task", "addition", "--digits", "3", *TINY, "--out", str(folder / "digits")])
    small = ["--entities", "12", "--relations", "3", "--eval_every", "1", "--snapshots"]
    main(["--task", "composition", *small, *TINY, "--out", str(folder / "facts")])
    with pytest.MonkeyPatch.context() as monkeypatch:  # the bank of puzzles is kept in the working directory
        monkeypatch.chdir(folder)
        main(["--task", "sudoku", "--puzzles", "500", *TINY, "--out", str(folder / "boards")])
        yield folder


def run(monkeypatch, *argv):
    monkeypatch.setattr(sys, "argv", ["analyze.py", *map(str, argv)])
    train.run(analyze.main)


def test_depth_writes_the_promised_keys_and_true_numbers(runs, monkeypatch, capsys):
    run(monkeypatch, "depth", runs / "hops", "--loops", 9, "--examples", 40, "--factor", 2, "--device", "cpu")
    numbers = json.loads((runs / "hops/depth.json").read_text())
    assert numbers["difficulty"] == [1, 2, 3, 4] and numbers["loops"] == list(range(1, 10))
    assert numbers["trained_difficulty"] == 2 and numbers["trained_loops"] == dict(mean=3.5, largest=6)
    assert numbers["examples"] == 40 and numbers["seeds"] == [0] and len(numbers["control"]) == 4
    model, task, _ = load_model(runs / "hops")
    batch = task.batch("test", 0, 40, 3)
    for loops in (1, 5, 9):
        right = task.check(batch, model(batch.tokens, loops).argmax(-1)).float().mean().item()
        assert numbers["accuracy"][2][loops - 1] == pytest.approx(right)
    found = numbers["by_run"][0]
    for i, best in enumerate(found["best_loops"]):
        val = task.batch("val", 0, 40, i + 1)
        scores = [task.check(val, model(val.tokens, n).argmax(-1)).float().mean().item() for n in range(1, 10)]
        assert best == scores.index(max(scores)) + 1
        assert numbers["accuracy_at_best_loops"][i] == pytest.approx(numbers["accuracy"][i][best - 1])
    mixture = task.batch("test", 0, 40)
    right = task.check(mixture, model(mixture.tokens, found["mixture"]["best_loops"]).argmax(-1)).float().mean().item()
    assert found["mixture"]["accuracy"] == pytest.approx(right)
    assert (runs / "hops/depth.png").stat().st_size > 10_000
    assert "best loops" in capsys.readouterr().out


def test_depth_averages_over_seeds(runs, monkeypatch):
    run(monkeypatch, "depth", runs / "hops", runs / "other", "--loops", 8, "--examples", 20, "--device", "cpu")
    numbers = json.loads((runs / "hops/depth.json").read_text())
    one, two = (torch.tensor(found["accuracy"]) for found in numbers["by_run"])
    assert numbers["seeds"] == [0, 1] and torch.allclose(torch.tensor(numbers["accuracy"]), (one + two) / 2)


def test_depth_measures_the_margin_and_the_loops_needed(runs, monkeypatch):
    run(monkeypatch, "depth", runs / "hops", "--loops", 8, "--examples", 30, "--device", "cpu")
    numbers = json.loads((runs / "hops/depth.json").read_text())
    model, task, _ = load_model(runs / "hops")
    batch = task.batch("test", 0, 30, 2)
    margins = []
    for logits, targets in zip(model(batch.tokens, 5).tolist(), batch.targets.tolist()):
        place, target = next((i, t) for i, t in enumerate(targets) if t != -100)
        margins.append(logits[place][target] - max(x for i, x in enumerate(logits[place]) if i != target))
    assert numbers["margin"][1][4] == pytest.approx(sum(margins) / 30, abs=1e-4)
    needed = numbers["by_run"][0]["loops_needed"]
    for difficulty, loops in zip(numbers["difficulty"], needed):
        val, _ = analyze.accuracy_by_loop(model, task, "val", difficulty, 8, 30)
        assert loops == min((t for t in range(1, 9) if val[t - 1] >= 0.9), default=None)


def test_fits_find_the_curves_that_were_drawn():
    x = np.array([1, 2, 4, 8, 16])
    a, b, r2 = analyze.fit_line(x, 3 + 0.5 * x)
    assert (a, b, r2) == pytest.approx((3, 0.5, 1)) and analyze.fit_line(np.log2(x), 3 + 0.5 * x)[2] < 0.9
    L = np.arange(1, 31)
    fit = analyze.fit_exponential(0.07 + 0.8 * np.exp(-0.3 * L))
    assert fit["e_inf"] == pytest.approx(0.07, abs=2e-3) and fit["k"] == pytest.approx(0.3, rel=0.03)
    assert fit["residual"] < 2e-3 < analyze.fit_exponential(L % 2)["residual"]


def test_compute_counts_what_each_rule_spends(runs, monkeypatch, capsys):
    run(monkeypatch, "compute", runs / "hops", "--loops", 6, "--examples", 20, "--factor", 2, "--device", "cpu")
    numbers = json.loads((runs / "hops/compute.json").read_text())
    fixed = numbers["rules"]["fixed"]
    assert [used for _, used in fixed["easy"]] == [1, 2, 3, 4, 5, 6] and fixed["settings"] == [1, 2, 3, 4, 5, 6]
    model, task, _ = load_model(runs / "hops")
    right, used = [], []
    for difficulty in (1, 2):
        batch = task.batch("test", 0, 4, difficulty)
        asked = batch.targets != IGNORE
        logits, loops = model.solve(batch.tokens, "entropy", analyze.THRESHOLDS["entropy"][0], 6, asked)
        right += task.check(batch, logits.argmax(-1)).tolist()
        used += loops.tolist()
    assert numbers["rules"]["entropy"]["easy"][0] == pytest.approx([sum(right) / 8, sum(used) / 8])
    assert "chosen on val" in capsys.readouterr().out and (runs / "hops/compute.png").exists()


@pytest.mark.parametrize("name", ("hops", "digits", "boards", "facts"))
def test_think_shows_the_answer_after_each_loop(runs, monkeypatch, name, capsys):
    run(monkeypatch, "think", runs / name, "--device", "cpu")
    numbers = json.loads((runs / name / "think.json").read_text())
    model, task, _ = load_model(runs / name)
    for example in numbers["examples"]:
        batch = task.batch("test", 0, 1, example["difficulty"])
        assert example["question"] == task.show(batch.tokens[0])
        for loops, text in enumerate(example["after_loop"], 1):
            assert text == task.show(batch.tokens[0], model(batch.tokens, loops).argmax(-1)[0])
    assert (runs / name / "think.png").stat().st_size > 10_000 and capsys.readouterr().out


def test_solve_asks_every_puzzle_of_a_file_once(runs, monkeypatch, capsys):
    model, task, _ = load_model(runs / "boards")
    puzzles = task.bank["test"]["puzzle"][:20]
    lines = "\n".join("".join(map(str, puzzle)) for puzzle in puzzles.tolist())
    (runs / "puzzles.txt").write_text("# twenty puzzles\n" + lines.replace("0", "."))
    run(monkeypatch, "solve", runs / "boards", "--file", runs / "puzzles.txt", "--loops", 3, "--device", "cpu")
    numbers = json.loads((runs / "boards/solve.json").read_text())
    assert numbers["solved by singles"]["puzzles"] == 20 and numbers["need search"]["boards"] is None
    answers = torch.where(puzzles > 0, puzzles, model(puzzles, 3).argmax(-1))
    assert numbers["solved by singles"]["boards"][2] == pytest.approx(task.solved(answers).float().mean().item())
    assert "20 puzzles" in capsys.readouterr().out
    (runs / "puzzles.txt").write_text(lines[:15])
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, "solve", runs / "boards", "--file", runs / "puzzles.txt")
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and "line 1: 15 characters" in error


def test_compare_shows_the_depth_of_several_runs(runs, monkeypatch, capsys):
    for name in ("hops", "other"):
        run(monkeypatch, "depth", runs / name, "--loops", 6, "--examples", 20, "--factor", 2, "--device", "cpu")
    run(monkeypatch, "compare", runs / "hops", runs / "other")
    numbers = json.loads((runs / "hops/compare.json").read_text())
    for name in ("hops", "other"):
        depth = json.loads((runs / name / "depth.json").read_text())
        assert numbers["median"][name] == pytest.approx(depth["accuracy_at_best_loops"], abs=1e-4)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, "compare", runs / "hops", runs / "facts")
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and "depth" in error


def test_cost_counts_the_flops_that_the_shapes_imply(runs, monkeypatch):
    run(monkeypatch, "cost", runs / "hops", "--device", "cpu")
    numbers = json.loads((runs / "hops/cost.json").read_text())
    model, task, flags = load_model(runs / "hops")
    B, T, C, V = flags.batch, 3, 16, task.vocab_size
    block = (
        2 * B * T * (3 * C * C + C * C + 8 * C * C) + 2 * 2 * B * T * T * C
    )  # projections, MLP; scores and their use
    reembed = 2 * (2 * B * T * C * V)
    for loops, looped, untied in zip(numbers["loops"], numbers["looped"], numbers["untied"]):
        assert looped["flops"] == untied["flops"] == loops * (block + reembed) + 2 * B * T * C * V
        twin = LoopedGPT(Config(**{**vars(model.config), "tied": False, "loops": loops}))
        assert untied["parameters"] == sum(p.numel() for p in twin.parameters())
        assert looped["parameters"] == numbers["looped"][0]["parameters"]
    memory = [row["memory"] for row in numbers["looped"]]
    assert memory[-1] / memory[-2] == pytest.approx(2, rel=0.1)


def test_cost_shows_the_time_that_solve_saves():
    torch.manual_seed(0)
    model, tokens = LoopedGPT(Config(vocab_size=9, block_size=40, n_embd=32)), torch.zeros(256, 40, dtype=torch.long)
    tokens[32:] = 1  # one row in eight never rests, the others at once
    rests, loop = model.begin(tokens)[1][-1, :1], model.loop

    def restless(h, e, t, geometry):
        still = (e[:, :1] == rests).all(2, keepdim=True)
        return torch.where(still, h, loop(h, e, t, geometry) + torch.randn_like(h))

    model.loop = restless
    task = argparse.Namespace(batch=lambda *_: argparse.Namespace(tokens=tokens))
    found = bench.measure_solve(model, task)
    assert found["share_of_loops"] == pytest.approx((32 * 64 + 224) / 256 / 64) and found["share_of_time"] < 0.5


def test_a_cache_for_each_loop_costs_no_accuracy_and_a_shared_one_is_another_model(runs, monkeypatch):
    run(monkeypatch, "cache", runs / "digits", "--examples", 40, "--loops", 3, "--device", "cpu")
    numbers = json.loads((runs / "digits/cache.json").read_text())
    assert numbers["difficulty"] == [0, 1, 3, 6] and numbers["loops"] == 3
    model, task, _ = load_model(runs / "digits")
    for i, difficulty in enumerate(numbers["difficulty"]):
        batch = task.batch("test", 0, 40, difficulty)
        right = task.check(batch, model(batch.tokens, 3).argmax(-1)).float().mean().item()
        assert numbers["none"][i] == pytest.approx(right)
    tokens, logits = batch.tokens[:4], {}
    for share in ("none", "first", "last"):
        logits[share] = bench.read_token_by_token(model, tokens, 3, share)
    torch.testing.assert_close(logits["none"], model(tokens, 3), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(logits["first"], logits["none"], atol=1e-3)
    assert not torch.allclose(logits["last"], logits["first"], atol=1e-3)


def test_bench_counts_and_weighs_what_it_times(tmp_path, monkeypatch):
    B, T, C, V = 16, 6, 16, 9
    shape = Config(vocab_size=V, block_size=T, n_embd=C, n_head=2, n_prelude=1, n_core=2, n_coda=1, position="none")
    monkeypatch.setattr(bench, "KINDS", {kind: each for kind, each in bench.KINDS.items() if kind != "compiled"})
    monkeypatch.setattr(bench, "LOOPS", (4, 16))
    folder = tmp_path / "bench"
    args = argparse.Namespace(device="cpu")
    bench.bench(None, folder, args, shape=shape, size=B, lengths=(4, 8), repeats=1)
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
    assert set(numbers["generation"]) == {"lengths", "none", "first", "last", "no cache"}
    assert (folder / "bench.png").exists()


# ---- inside


def test_phases_reads_the_curves_and_the_lens_reads_the_states(runs, monkeypatch):
    run(monkeypatch, "phases", runs / "facts", "--device", "cpu")
    (found,) = json.loads((runs / "facts/phases.json").read_text())["runs"]
    rows = [json.loads(line) for line in (runs / "facts/metrics.jsonl").read_text().splitlines()]
    assert found["curves"]["alone"] == [row["alone"]["2"] for row in rows] and found["loops"] == 4
    model, task, _ = load_model(runs / "facts")
    batch = task.batch("alone", 0, len(task.listed["alone", 2]), 2)
    right = task.check(batch, model(batch.tokens, 4).argmax(-1)).float().mean().item()
    assert found["end"]["alone"] == pytest.approx(right)
    with torch.no_grad():
        (bridge_1, bridge_2, answer), cosine = inside.lens(model, task, "alone", 4)
        h = model.think(batch.tokens, 3)
        read = model.readout(h).argmax(-1)
    bridges = [task.facts[r - 12, e].item() for e, r, _ in batch.tokens.tolist()]
    answers = [task.facts[r - 12, b].item() for b, (_, _, r) in zip(bridges, batch.tokens.tolist())]
    count = len(bridges)
    assert bridge_1[3] == pytest.approx(sum(a == b for a, b in zip(read[:, 1].tolist(), bridges)) / count)
    assert bridge_2[3] == pytest.approx(sum(a == b for a, b in zip(read[:, 2].tolist(), bridges)) / count)
    assert answer[3] == pytest.approx(sum(a == b for a, b in zip(read[:, 2].tolist(), answers)) / count)
    embeddings = model.embed.weight[torch.tensor(bridges)]  # as given, they are normalised by the prelude
    embeddings = embeddings / embeddings.pow(2).mean(1, keepdim=True).sqrt() * model.prelude_norm.weight
    expected = (h[:, 1] * embeddings).sum(1) / h[:, 1].norm(dim=1) / embeddings.norm(dim=1)
    assert cosine[3] == pytest.approx(expected.mean().item(), abs=1e-5)
    assert inside.mend(model, task, "alone", 4, 0) == pytest.approx(right)
    h, e, geometry = model.begin(
        batch.tokens
    )  # all of the state replaced: loop 2 meets what a one-hop question shows it
    h = model.loop(h, e, 0, geometry)
    found = model.readout(h)[:, 1, :12].argmax(-1)
    as_given = model.prelude_norm(model.embed(found))
    h[:, 1] = as_given / as_given.norm(dim=1, keepdim=True) * h[:, 1].norm(dim=1, keepdim=True)
    for t in (1, 2, 3):
        h = model.loop(h, e, t, geometry)
    expected = task.check(batch, model.readout(h).argmax(-1)).float().mean().item()
    assert inside.mend(model, task, "alone", 4, 1) == pytest.approx(expected)


def test_the_lens_is_drawn_for_the_first_seed_of_each_kind(tmp_path):
    table = [[0.0, 0.5, 1.0]] * 3
    names = [name for name, _ in inside.PHASES.values()]
    looks = [
        dict(kind=kind, seed=seed, lens={name: dict(val=(table, [0, 0.1, 0.9]), alone=(table, [0, 0, 0.5]))})
        for kind, seed, name in (("looped", 0, names[0]), ("looped", 1, names[1]), ("plain", 0, names[2]))
    ]
    figure = inside.draw_lens(looks)
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert len(titles) == 8 and titles[0].startswith("looped") and titles[4].startswith("plain")
    figure.savefig(tmp_path / "lens.png")


def test_a_level_is_reached_where_it_lasts():
    assert inside.lasting([1, 2, 3, 4], [0.95, 0.5, 0.9, 0.95]) == 3
    assert inside.lasting([1, 2, 3], [0.1, 0.5, 0.95]) is None


def test_the_end_of_a_phase_is_the_last_evaluation_before_the_next_begins():
    found = dict(steps=[10, 20, 30, 40], reached=dict(train=10, val=30, alone=None))
    assert list(inside.ends_of_phases(found).values()) == [20, 40]
    assert inside.ends_of_phases(dict(steps=[10], reached=dict(train=None, val=None, alone=None))) == {}


@pytest.mark.parametrize("name", ("hops", "digits", "boards", "facts"))
def test_fixedpoint_on_every_kind_of_task(runs, monkeypatch, name, capsys):
    run(monkeypatch, "fixedpoint", runs / name, "--loops", 12, "--examples", 16, "--device", "cpu", "--factor", 2)
    numbers = json.loads((runs / name / "fixedpoint.json").read_text())
    model, task, _ = load_model(runs / name)
    row = numbers["by_difficulty"][0]
    h = model.trajectory(task.batch("test", 0, 4, row["difficulty"]).tokens, 12)
    moved = (h[5] - h[4]).flatten(1).norm(dim=1) / h[5].flatten(1).norm(dim=1)
    assert row["movement"][4] == pytest.approx(moved.median().item(), rel=1e-4)
    assert len(numbers["auroc"]) == 12 and numbers["distance"][0][-1] == pytest.approx(0, abs=1e-6)
    assert (
        numbers["size"][0] == pytest.approx(1, abs=0.1)
        and "cosine to the usual end" in capsys.readouterr().out
        and (runs / name / "fixedpoint.png").exists()
    )


def test_layers_seen_by_hooks_are_the_layers_of_the_loop():
    torch.manual_seed(0)
    model = LoopedGPT(Config(vocab_size=9, block_size=6, n_embd=16, n_head=2, n_core=3, n_prelude=1))
    tokens = torch.randint(9, (2, 6))
    states, layers = inside.layered(model, tokens, 4)
    assert torch.equal(layers[:, -1], states[1:]) and torch.equal(states, model.trajectory(tokens, 4))
    _, e, geometry = model.begin(tokens)
    assert torch.equal(layers[2, 0], model.core[0](model.inject(states[2], e), *geometry))


@pytest.mark.parametrize("changes", (dict(), dict(position="none"), dict(causal=False, position="none")))
def test_watched_attention_explains_what_attention_returns(changes):
    torch.manual_seed(0)
    model = LoopedGPT(Config(vocab_size=9, block_size=6, n_embd=16, n_head=2, **changes))
    block, x = model.core[0], torch.randn(2, 6, 16)
    with torch.no_grad():
        rotation, mask = model.geometry(6)
    with torch.no_grad(), inside.WatchAttention() as watch:
        y = block.attention(x, rotation, mask, None)
    (pattern,) = watch.patterns
    values = block.attention.qkv(x)[..., 32:].view(2, 6, 2, 8).transpose(1, 2)
    torch.testing.assert_close(block.attention.out((pattern @ values).transpose(1, 2).reshape(2, 6, 16)), y)
    torch.testing.assert_close(pattern.sum(-1), torch.ones(2, 2, 6))


def test_stages_of_looped_and_untied(runs, monkeypatch):
    run(monkeypatch, "stages", runs / "hops", "--examples", 8, "--device", "cpu")
    (found,) = json.loads((runs / "hops/stages.json").read_text())["runs"]
    assert len(found["looped"]["mixing"]) == 12 and len(found["untied"]["mixing"]) == 6
    matrix = torch.tensor(found["looped"]["difference"])
    assert torch.equal(matrix, matrix.T) and (matrix.diagonal() == 0).all() and (matrix >= 0).all()
    assert all(0 <= c <= 1 for c in found["looped"]["concentration"] + found["untied"]["concentration"])


def test_entropy_of_known_distributions():
    p = torch.tensor([[0.25, 0.25, 0.25, 0.25], [1, 0, 0, 0]])
    assert inside.entropy(p).tolist() == pytest.approx([1.3863, 0], abs=1e-4)


def test_auroc_counts_pairs():
    generator = torch.Generator().manual_seed(0)
    score = torch.randint(6, (40,), generator=generator).float()  # with ties
    label = torch.rand(40, generator=generator) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in score[label].tolist() for b in score[~label].tolist()]
    assert inside.auroc(score, label) == pytest.approx(sum(pairs) / len(pairs))
    assert math.isnan(inside.auroc(score, torch.ones(40, dtype=torch.bool)))
    group = torch.randint(3, (40,), generator=generator)
    rows = list(zip(score.tolist(), label.tolist(), group.tolist()))
    pairs = [(a > b) + 0.5 * (a == b) for a, x, i in rows for b, y, j in rows if x and not y and i == j]
    assert inside.auroc(score, label, group) == pytest.approx(sum(pairs) / len(pairs))


def test_stability_measures_random_and_trained_loops(tmp_path):
    calm = inside.untrained("post", "diagonal", 0.02, [0], loops=40, layers=2, C=16, T=6)
    grows = inside.untrained("pre", "add", 0.25, [0], loops=40, layers=2, C=16, T=6)
    assert calm["movement"] < 1e-4 and calm["size"] == pytest.approx(1, abs=0.01)
    assert grows["size"] > 10 and grows["cosine"] > 0.9
    row = inside.trained_at(1e-3, "diagonal", 0, 3, tmp_path)
    model, _, _ = load_model(tmp_path)
    assert row["radius"] == pytest.approx(model.inject.decay().max().item()) and row["radius"] < 1
    assert inside.trained_at(1e15, "add", 0, 5, tmp_path)["loss"] == math.inf


@pytest.mark.parametrize(
    "argv, words",
    [
        (["depth", "nowhere"], "not the folder of a run"),
        (["depth", "hops/config.json"], "Not a directory"),
        (["depth", "hops", "hops"], "same seed"),
        (["depth", "hops", "digits"], "differ"),
        (["cost", "hops/control"], "untied"),
        (["solve", "hops", "--file", "any"], "Sudoku"),
        (["dream", "hops"], "depth"),
        (["depth"], "wants the folder"),
        (["cache", "boards"], "not causal"),
        (["phases", "hops"], "composition"),
        (["fixedpoint", "hops/control"], "untied"),
        (["fixedpoint", "hops", "hops"], "same seed"),
        (["stages", "hops", "digits"], "differ"),
        (["compute", "hops", "--factor", "1", "--examples", "5", "--loops", "2"], "--factor"),
        (["think", "hops", "other"], "one folder"),
        (["depth", "hops", "--factor", "0.5"], "--factor"),
        (["depth", "hops", "--examples", "0"], "--examples"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(runs, monkeypatch, capsys, argv, words):
    monkeypatch.chdir(runs)
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, *argv)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and words in error


def test_a_config_that_is_no_config_is_refused(runs, monkeypatch, capsys):
    folder = Path(runs / "broken")
    folder.mkdir(exist_ok=True)
    for content in ("{", "[]", "{}", '{"task": "chess"}'):
        (folder / "config.json").write_text(content)
        with pytest.raises(SystemExit) as stop:
            run(monkeypatch, "depth", folder)
        assert stop.value.code == 2 and capsys.readouterr().err.count("\n") == 1
