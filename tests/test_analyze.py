"""The analyses on tiny runs: the files they promise, and their numbers against a direct computation."""

import json
import sys
from pathlib import Path

import pytest
import torch

import analyze
import train
from looped import Config, LoopedGPT
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


@pytest.mark.parametrize("name", ("hops", "digits", "boards"))
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
        (["depth"], "runs"),
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
