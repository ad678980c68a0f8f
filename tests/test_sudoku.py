"""Sudoku against a brute-force solver and a second writing of the rounds of logic; the files people have."""

import itertools

import pytest
import torch
from helpers import PUZZLE, SOLUTION, make_task

from sudoku import Sudoku, read_puzzles


def solutions(puzzle, box):
    """Every completion of a puzzle, by trying all digits in all blanks."""
    rows, columns = map(int, box.split("x"))
    n = rows * columns
    board, found = list(puzzle), []

    def peers(cell):
        r, c = divmod(cell, n)
        for other in range(n * n):
            i, j = divmod(other, n)
            if other != cell and (i == r or j == c or (i // rows, j // columns) == (r // rows, c // columns)):
                yield other

    neighbours = [list(peers(cell)) for cell in range(n * n)]

    def fill():
        free = {c: set(range(1, n + 1)) - {board[p] for p in neighbours[c]} for c in range(n * n) if not board[c]}
        if not free:
            found.append(tuple(board))
            return
        cell = min(free, key=lambda c: len(free[c]))
        for digit in free[cell]:
            board[cell] = digit
            fill()
        board[cell] = 0

    fill()
    return found


def propagation_rounds(puzzle, box):
    """Rounds of naked and hidden singles, with sets of pencil marks; None if they do not finish the board."""
    rows, columns = map(int, box.split("x"))
    n = rows * columns
    cells = list(itertools.product(range(n), repeat=2))
    units = [{(r, c) for c in range(n)} for r in range(n)] + [{(r, c) for r in range(n)} for c in range(n)]
    units += [
        {(r, c) for r, c in cells if (r // rows, c // columns) == b}
        for b in itertools.product(range(n // rows), range(n // columns))
    ]
    board = {cell: puzzle[i] for i, cell in enumerate(cells)}
    for count in itertools.count():
        if all(board.values()):
            return count
        marks = {
            cell: set(range(1, n + 1)) - {board[other] for unit in units if cell in unit for other in unit}
            for cell in cells
            if not board[cell]
        }
        found = {cell: min(m) for cell, m in marks.items() if len(m) == 1}
        for unit, digit in itertools.product(units, range(1, n + 1)):
            places = [cell for cell in unit if digit in marks.get(cell, ())]
            if len(places) == 1:
                found[places[0]] = digit
        if not found:
            return None
        board.update(found)


@pytest.fixture(scope="session")
def six(banks):
    return Sudoku(box="2x3", puzzles=400, search=True, banks=str(banks))


def test_sudoku_puzzles_have_one_solution_and_the_difficulty_they_claim(six, banks):
    for task in (make_task("sudoku", banks), six):
        for split in ("train", "test"):
            bank = task.bank[split]
            hardest = bank["difficulty"].argsort(descending=True)[:15]
            for i in [*range(15), *hardest.tolist()]:
                puzzle, grid = bank["puzzle"][i].tolist(), bank["grid"][i].tolist()
                assert solutions(puzzle, task.box) == [tuple(grid)]
                rounds = propagation_rounds(puzzle, task.box)
                assert bank["difficulty"][i] == (Sudoku.SEARCH if rounds is None else rounds)


def test_puzzles_that_need_search_exist_only_on_request(six, banks):
    assert (six.bank["train"]["difficulty"] == Sudoku.SEARCH).any()
    assert not (make_task("sudoku", banks).bank["train"]["difficulty"] == Sudoku.SEARCH).any()


def test_all_288_grids_of_4x4_are_reachable_and_no_relabelling_leaves_its_split(banks):
    task = Sudoku(box="2x2", puzzles=4000, banks=str(banks))
    grids = {split: {tuple(g) for g in bank["grid"].tolist()} for split, bank in task.bank.items()}
    everything = {tuple(s) for s in solutions([0] * 16, "2x2")}
    assert len(everything) == 288 and set.union(*grids.values()) == everything
    for split, others in itertools.permutations(grids, 2):
        for names in itertools.permutations(range(1, 5)):
            assert not {tuple(names[d - 1] for d in grid) for grid in grids[split]} & grids[others]


def test_batches_hold_only_grids_of_their_split(six):
    train = {tuple(g) for g in six.bank["train"]["grid"].tolist()}
    batch = six.batch("test", 0, 50)
    assert not {tuple(g) for g in six.truth(batch).tolist()} & train
    assert six.solved(six.truth(batch)).all()


def test_sudoku_shows_what_its_docstring_promises(banks):
    task, lines = (
        make_task("sudoku", banks),
        [line.split() for line in Sudoku.__doc__.splitlines() if line.count(" . ")],
    )
    board = torch.tensor([int(c.replace(".", "0")) for line in lines for c in line[:4]])
    grid = torch.tensor([int(c) for line in lines for c in line[4:8]])
    assert solutions(board.tolist(), "2x2") == [tuple(grid.tolist())]
    assert task.show(board).splitlines() == [" ".join(line[:4]) for line in lines]
    assert task.show(board, grid).splitlines() == [" ".join(line[4:8]) for line in lines]


def test_any_valid_completion_is_right_whatever_the_file_had_in_mind(tmp_path):
    completions = solutions([1, 2, 3, 4, 3, 4, 1, 2] + [0] * 8, "2x2")
    (tmp_path / "open.txt").write_text(f"12343412........ {''.join(map(str, completions[0]))}\n")
    task = Sudoku(box="2x2", file=str(tmp_path / "open.txt"))
    batch = task.batch("test", 0, 20)
    names = torch.cat((torch.zeros(20, 1, dtype=torch.long), batch.tokens[:, :4]), dim=1)  # the relabelling of each row
    assert len(completions) > 1
    for completion in completions:
        assert task.check(batch, names.gather(1, torch.tensor(completion).expand(20, -1))).all()
    assert not task.check(
        batch, names.gather(1, torch.tensor(completions[0][:12] + completions[0][:4]).expand(20, -1))
    ).any()


def test_a_bank_is_made_once_and_the_same_everywhere(tmp_path):
    one = Sudoku(puzzles=60, banks=str(tmp_path / "a"), seed=0).bank
    stored = list((tmp_path / "a").iterdir())
    assert len(stored) == 1
    other = Sudoku(puzzles=60, banks=str(tmp_path / "b"), seed=5).bank
    assert all(torch.equal(one[s][k], other[s][k]) for s in one for k in one[s])
    before = stored[0].stat().st_mtime_ns
    Sudoku(puzzles=60, banks=str(tmp_path / "a"))
    assert stored[0].stat().st_mtime_ns == before


# ---- puzzle files


def test_puzzle_files_are_read_with_and_without_solutions(tmp_path):
    path = tmp_path / "puzzles.txt"
    path.write_text(f"# mine\n{PUZZLE},{SOLUTION}\n\n{PUZZLE.replace('.', '0')} {SOLUTION}  # easy\r\n{PUZZLE}\n")
    puzzles, known = read_puzzles(path)
    assert puzzles.shape == known.shape == (3, 81)
    assert (puzzles[0] == puzzles[1]).all() and (puzzles[0] == puzzles[2]).all()
    assert "".join(map(str, known[0].tolist())) == SOLUTION and known[2].sum() == 0
    task = Sudoku(box="3x3", file=str(path))
    batch = task.batch("test", 0, 4)
    assert (batch.difficulty == propagation_rounds(puzzles[0].tolist(), "3x3")).all()
    boards, _ = task.propagate(batch.tokens)
    assert task.check(batch, boards).all()


@pytest.mark.parametrize(
    "line, words",
    [
        (PUZZLE[:-1], "80 characters"),
        (PUZZLE[:-1] + "x", "'x' is no digit"),
        (PUZZLE[:-1] + "²", "no digit"),
        (f"{PUZZLE},{SOLUTION},1", "3 fields"),
        (f"{PUZZLE},{SOLUTION[::-1]}", "changes a given"),
        (f"{PUZZLE},{SOLUTION[:-1]}", "80"),
    ],
)
def test_a_bad_line_is_reported_with_its_number_and_reason(tmp_path, line, words):
    path = tmp_path / "puzzles.txt"
    path.write_text(f"{PUZZLE}\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=f"line 2: .*{words}"):
        read_puzzles(path)


def test_files_that_hold_no_puzzles_say_so(tmp_path):
    with pytest.raises(ValueError, match="cannot read"):
        read_puzzles(tmp_path / "missing.txt")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(ValueError, match="no puzzle"):
        read_puzzles(tmp_path / "empty.txt")
    (tmp_path / "twice.txt").write_text("11" + "." * 79 + "\n")
    with pytest.raises(ValueError, match="contradicts"):
        Sudoku(box="3x3", file=str(tmp_path / "twice.txt"))
