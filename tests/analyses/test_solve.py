"""solve: the boards of a file, against the model asked directly."""

import io
import json
import textwrap

import pytest
import torch
from PIL import Image

from analyses import solve
from analyses.solve_more import breaks_a_rule, loops_shown
from support.hashing import stream
from train import load_model


def test_solve_asks_every_puzzle_of_a_file_once(runs, run, capsys):
    model, task, _ = load_model(runs / "boards")
    puzzles = task.bank["test"]["puzzle"][:20]
    lines = "\n".join("".join(map(str, puzzle)) for puzzle in puzzles.tolist())
    (runs / "puzzles.txt").write_text("# twenty puzzles\n" + lines.replace("0", "."))
    run("solve", runs / "boards", "--file", runs / "puzzles.txt", "--loops", 3)
    numbers = json.loads((runs / "boards/solve.json").read_text())
    assert numbers["solved by singles"]["puzzles"] == 20
    assert numbers["need search"]["boards"] is None
    answers = torch.where(puzzles > 0, puzzles, model(puzzles, 3).argmax(-1))
    right = task.boards.solved(answers).float().mean().item()
    assert numbers["solved by singles"]["boards"][2] == pytest.approx(right)
    assert "20 puzzles" in capsys.readouterr().out
    (easy,) = numbers["by_guesses"]
    assert easy["name"] == "at most 0 guesses" and easy["boards"] == pytest.approx(right)
    assert sum(row["puzzles"] for row in numbers["by_clues"]) == 20
    assert (runs / "boards/solve.png").stat().st_size > 10_000


def test_solve_writes_the_boards_and_the_rules_that_they_break(runs, run, capsys):
    model, task, _ = load_model(runs / "boards")
    puzzles = task.bank["test"]["puzzle"][:5]
    lines = ["".join(map(str, puzzle)) for puzzle in puzzles.tolist()]
    table = [f"0,{lines[0][1:]}", *(f"{i},{line}" for i, line in enumerate(lines))]
    (runs / "five.txt").write_text("\n".join(table))
    asked = ("solve", runs / "boards", "--file", runs / "five.txt", "--loops", 3)
    run(*asked, "--out", runs / "solved.txt")
    assert "skipped line 1: no board" in capsys.readouterr().out
    answers = torch.where(puzzles > 0, puzzles, model(puzzles, 3).argmax(-1))
    written = (runs / "solved.txt").read_text().splitlines()
    for number, (line, answer) in enumerate(zip(written, answers, strict=True)):
        board, _, comment = line.partition("  # ")
        assert board == "".join(map(str, answer.tolist()))
        assert bool(comment) != task.boards.solved(answer[None]).item()
        assert not comment or comment.startswith(f"line {number + 2}, wrong: ")
    run(*asked)
    shown = capsys.readouterr().out
    assert task.show(puzzles[0], answers[0]) in shown and "(3 of 5 boards" in shown


def test_broken_rules_are_named(runs):
    _, task, _ = load_model(runs / "boards")
    # the last digit should be 1
    board = torch.tensor([1, 2, 3, 4, 3, 4, 1, 2, 2, 1, 4, 3, 4, 3, 2, 2])
    assert solve.broken_rules(task, board) == [
        "2 stands 2 times in row 4",
        "2 stands 2 times in column 4",
        "2 stands 2 times in box 4",
    ]


@torch.no_grad()
def test_of_several_starts_the_stillest_answer_is_kept(runs):
    model, task, _ = load_model(runs / "boards")
    puzzles = task.bank["test"]["puzzle"][:30]
    boards, right = solve.solve(model, task, puzzles, 5, starts=3, seed=5)
    starts = [None]
    torch.manual_seed(stream(5, "restarts", 0))
    starts += [torch.randn(30, 16, 16) for _ in range(2)]
    ends = [list(model.states(puzzles, 5, h=start))[-2:] for start in starts]
    movement, answers = [], []
    for before, h in ends:
        movement.append((h - before).flatten(1).norm(dim=1) / h.flatten(1).norm(dim=1))
        answers.append(torch.where(puzzles > 0, puzzles, model.readout(h).argmax(-1)))
    movement, answers = torch.stack(movement), torch.stack(answers)
    assert torch.equal(boards, answers[movement.argmin(0), torch.arange(30)])
    assert len(movement.argmin(0).unique()) > 1
    usual = torch.where(puzzles > 0, puzzles, model(puzzles, 5).argmax(-1))
    assert right.shape == (5, 30) and torch.equal(right[-1].bool(), task.boards.solved(usual))


@torch.no_grad()
def test_a_renamed_puzzle_is_the_same_puzzle_asked_another_way(runs):
    """By hand: digits are renamed in Python, and the answer of each copy is renamed back."""
    model, task, _ = load_model(runs / "boards")
    puzzles = task.bank["test"]["puzzle"][:30]
    boards, _ = solve.solve(model, task, puzzles, 5, starts=4, seed=5, renamed=True)
    torch.manual_seed(stream(5, "restarts", 0))
    answers, movement = [], []
    for meant in [[0, 1, 2, 3], *(torch.randperm(4).tolist() for _ in range(3))]:
        asked = torch.tensor(
            [
                [meant.index(digit - 1) + 1 if digit else 0 for digit in row]
                for row in puzzles.tolist()
            ]
        )
        *_, before, h = model.states(asked, 5)
        answer = torch.where(asked > 0, asked, model.readout(h).argmax(-1))
        answers.append([[meant[digit - 1] + 1 if digit else 0 for digit in row] for row in answer])
        movement.append((h - before).flatten(1).norm(dim=1) / h.flatten(1).norm(dim=1))
    kept = torch.stack(movement).argmin(0)
    assert torch.equal(boards, torch.tensor(answers)[kept, torch.arange(30)])
    assert len(kept.unique()) > 1 and boards[puzzles > 0].equal(puzzles[puzzles > 0])


@torch.no_grad()
@pytest.mark.parametrize("renamed", [False, True])
def test_the_starts_of_one_board_are_those_that_solve_chooses_among(runs, renamed):
    model, task, _ = load_model(runs / "boards")
    kept = set()
    for seed, puzzle in enumerate(task.bank["test"]["puzzle"][:40].split(1)):
        how = dict(loops=5, starts=4, seed=seed, renamed=renamed)
        found = list(solve.each_start(model, task, puzzle, **how))
        boards, right = solve.solve(model, task, puzzle, **how)
        stillest = min(range(4), key=lambda start: found[start][1][-1])
        kept.add(stillest)
        assert found[0][0].shape == (5, 16) and found[0][1].shape == (5,)
        assert torch.equal(found[stillest][0][-1], boards[0])
        assert torch.equal(task.boards.solved(found[0][0]), right[:, 0].bool())
    assert len(kept) > 1


def test_the_starts_of_a_board_fill_side_by_side(runs, run):
    flags = ["--board", "3....4..4.1..1..", "--loops", 20, "--starts", 3, "--animate"]
    run("solve", runs / "boards", *flags)
    with Image.open(runs / "boards" / "solve.gif") as picture:
        assert picture.n_frames == len(loops_shown(20)) == 19


def test_fewer_of_the_later_loops_are_shown():
    assert loops_shown(17) == list(range(18)) and loops_shown(1) == [0, 1]
    assert loops_shown(41) == [*range(16), *range(16, 33, 2), 36, 40, 41]


def test_digits_that_stand_twice_break_a_rule(runs):
    _, task, _ = load_model(runs / "boards")
    board = torch.tensor([int(digit) for digit in "1234341221004321"])  # blanks break none
    assert not breaks_a_rule(task, board).any()
    board[1] = 1  # twice in row 1 and box 1, and in column 2 there is the 1 of row 3
    assert breaks_a_rule(task, board).nonzero()[:, 0].tolist() == [0, 1, 9]


def test_a_picture_that_moves_wants_one_board(runs, run, capsys):
    with pytest.raises(SystemExit) as stop:
        run("solve", runs / "boards", "--file", runs / "half.txt", "--animate")
    assert stop.value.code == 2 and "--animate wants --board" in capsys.readouterr().err


def test_solve_refuses_a_file_that_holds_no_puzzles(runs, run, capsys):
    (runs / "half.txt").write_text("123412341234123")
    with pytest.raises(SystemExit) as stop:
        run("solve", runs / "boards", "--file", runs / "half.txt")
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1
    assert "line 1: no board" in error and "15 characters" in error


def test_one_board_is_shown_as_it_fills(runs, run, capsys, monkeypatch):
    model, task, _ = load_model(runs / "boards")
    puzzle = task.bank["test"]["puzzle"][:1]
    text = "".join(map(str, puzzle[0].tolist()))
    run("solve", runs / "boards", "--board", text, "--loops", 5)
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line.startswith("after loop")] == [
        f"after loop {t}: sure of {sure_after(model, puzzle, t)} of {(puzzle == 0).sum()} blanks"
        for t in (1, 2, 4, 5)
    ]
    answer = torch.where(puzzle > 0, puzzle, model(puzzle, 5).argmax(-1))
    assert f"the answer:\n{task.show(answer[0])}\n" in shown
    assert ("right: the rules hold" in shown) == task.boards.solved(answer).item()
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(textwrap.wrap(text, 4))))
    run("solve", runs / "boards", "--board", "-", "--loops", 5)
    assert capsys.readouterr().out == shown


@torch.no_grad()
def sure_after(model, puzzle, loops):
    probability = model(puzzle, loops).softmax(-1).amax(-1)
    return ((probability >= 0.9) & (puzzle == 0)).sum().item()


def test_rest_is_from_the_last_loop_that_moved_on():
    assert solve.rest_in_words([0.9, 0.01, 0.3, 0.02, 0.01]).startswith("at rest from loop 4 on")
    assert solve.rest_in_words([0.01, 0.01]).startswith("at rest from loop 1 on")
    assert "loop 2 still moved the state by 0.30" in solve.rest_in_words([0.01, 0.3])
    assert "loop 2 still moved the state by nan" in solve.rest_in_words([0.01, float("nan")])


@pytest.mark.parametrize(
    "board, words",
    (("12", "holds no puzzle"), ("1" + 80 * ".", "81 cells"), ("9" + 15 * ".", "digit")),
)
def test_a_board_that_is_none_is_refused_in_a_line(runs, run, capsys, board, words):
    with pytest.raises(SystemExit) as stop:
        run("solve", runs / "boards", "--board", board)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and words in error


def test_the_rows_of_a_table_have_each_puzzle_once():
    values, right = torch.tensor([0.0, 0.5, 2, 3, 60]), torch.tensor([1.0, 0, 1, 1, 0])
    rows = solve.by_kind(values, (0, 2, 50), "guesses", right, 1 - right)
    assert [(row["name"], row["puzzles"], row["boards"], row["kept"]) for row in rows] == [
        ("at most 0 guesses", 1, 1, 0),
        ("at most 2 guesses", 2, 0.5, 0.5),
        ("at most 50 guesses", 1, 1, 0),
        ("more than 50 guesses", 1, 0, 1),
    ]


def test_a_table_by_the_ratings_of_a_file():
    right = torch.tensor([1.0, 0, 1, 1, 0, 1])
    rows = solve.by_rating(["10", "", "9", "10", "hard", "9"], right, 1 - right)
    assert [(row["name"], row["puzzles"], row["boards"], row["kept"]) for row in rows] == [
        ("9 (rating)", 2, 1, 0),
        ("10 (rating)", 2, 1, 0),
        ("hard (rating)", 1, 0, 1),
    ]
    assert solve.by_rating(["", ""], right[:2], right[:2]) == []
    assert solve.by_rating(list("abcdefghijkl"), torch.ones(12), torch.ones(12)) == []
    numbers = torch.arange(100.0)
    rows = solve.by_rating([str(number) for number in range(100)], numbers, numbers)
    assert [row["puzzles"] for row in rows] == [20] * 5 and rows[0]["boards"] == pytest.approx(9.5)
    assert rows[0]["name"] == "at most 19.8 (rating)" and "more than" in rows[-1]["name"]


def test_solve_shows_the_ratings_of_a_file(runs, run, capsys):
    _, task, _ = load_model(runs / "boards")
    lines = ["".join(map(str, puzzle)) for puzzle in task.bank["test"]["puzzle"][:4].tolist()]
    rated = [f"{line},{rating}" for line, rating in zip(lines, (1.5, 1.5, 7, 1.5))]
    (runs / "rated.csv").write_text("\n".join(["puzzle,rating", *rated]))
    run("solve", runs / "boards", "--file", runs / "rated.csv", "--loops", 2)
    numbers = json.loads((runs / "boards/solve.json").read_text())
    assert [(row["name"], row["puzzles"]) for row in numbers["by_rating"]] == [
        ("1.5 (rating)", 3),
        ("7 (rating)", 1),
    ]
    assert "7 (rating):     1 puzzles" in capsys.readouterr().out
