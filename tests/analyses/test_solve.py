"""solve: the boards of a file, against the model asked directly."""

import json

import pytest
import torch

from train import load_model


def test_solve_asks_every_puzzle_of_a_file_once(runs, run, capsys):
    model, task, _ = load_model(runs / "boards")
    puzzles = task.bank["test"]["puzzle"][:20]
    lines = "\n".join("".join(map(str, puzzle)) for puzzle in puzzles.tolist())
    (runs / "puzzles.txt").write_text("# twenty puzzles\n" + lines.replace("0", "."))
    run("solve", runs / "boards", "--file", runs / "puzzles.txt", "--loops", 3)
    numbers = json.loads((runs / "boards/solve.json").read_text())
    assert numbers["solved by singles"]["puzzles"] == 20 and numbers["need search"]["boards"] is None
    answers = torch.where(puzzles > 0, puzzles, model(puzzles, 3).argmax(-1))
    assert numbers["solved by singles"]["boards"][2] == pytest.approx(task.solved(answers).float().mean().item())
    assert "20 puzzles" in capsys.readouterr().out
    assert (runs / "boards/solve.png").stat().st_size > 10_000


def test_solve_refuses_a_file_that_holds_no_puzzles(runs, run, capsys):
    (runs / "half.txt").write_text("123412341234123")
    with pytest.raises(SystemExit) as stop:
        run("solve", runs / "boards", "--file", runs / "half.txt")
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and "line 1: 15 characters" in error
