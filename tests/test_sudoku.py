"""
Sudoku against a brute-force solver, a second writing of the rounds of logic, and all symmetries;
files.
"""

import gzip
import itertools
import json
import random

import pytest
import torch
from helpers import PUZZLE, SOLUTION, make_task
from other_boards import Rules, minimal_puzzle
from tqdm import tqdm

from support.boards import HARDEST, SEARCH, Boards
from support.puzzle_files import read_puzzles
from tasks import IGNORE, Batch, Sudoku


def solutions(puzzle, box):
    """Every completion of a puzzle, by trying all digits in all blanks."""
    rows, columns = map(int, box.split("x"))
    n = rows * columns
    board, found = list(puzzle), []

    def peers(cell):
        r, c = divmod(cell, n)
        for other in range(n * n):
            i, j = divmod(other, n)
            if other != cell and (
                i == r or j == c or (i // rows, j // columns) == (r // rows, c // columns)
            ):
                yield other

    neighbours = [list(peers(cell)) for cell in range(n * n)]

    def fill():
        free = {
            c: set(range(1, n + 1)) - {board[p] for p in neighbours[c]}
            for c in range(n * n)
            if not board[c]
        }
        if not free:
            if all(
                board[cell] not in [board[p] for p in neighbours[cell]] for cell in range(n * n)
            ):
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
    """
    Rounds of naked and hidden singles, with sets of pencil marks; None if they do not finish the
    board.
    """
    rows, columns = map(int, box.split("x"))
    n = rows * columns
    cells = list(itertools.product(range(n), repeat=2))
    units = [{(r, c) for c in range(n)} for r in range(n)] + [
        {(r, c) for r in range(n)} for c in range(n)
    ]
    units += [
        {(r, c) for r, c in cells if (r // rows, c // columns) == b}
        for b in itertools.product(range(n // rows), range(n // columns))
    ]
    board = {cell: puzzle[i] for i, cell in enumerate(cells)}
    for count in itertools.count():
        if all(board.values()):
            return count
        marks = {
            cell: set(range(1, n + 1))
            - {board[other] for unit in units if cell in unit for other in unit}
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


@pytest.fixture(scope="session")
def nine(banks):
    return Sudoku(box="3x3", puzzles=60, banks=str(banks))


def test_sudoku_puzzles_have_one_solution_and_the_difficulty_they_claim(six, banks):
    for task in (make_task("sudoku", banks), six):
        for split in ("train", "test"):
            bank = task.bank[split]
            hardest = bank["difficulty"].argsort(descending=True)[:15]
            for i in [*range(15), *hardest.tolist()]:
                puzzle, grid = bank["puzzle"][i].tolist(), bank["grid"][i].tolist()
                assert solutions(puzzle, task.box) == [tuple(grid)]
                rounds = propagation_rounds(puzzle, task.box)
                assert bank["difficulty"][i] == (SEARCH if rounds is None else rounds)


def test_puzzles_that_need_search_exist_only_on_request(six, banks):
    assert (six.bank["train"]["difficulty"] == SEARCH).any()
    assert not (make_task("sudoku", banks).bank["train"]["difficulty"] == SEARCH).any()


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
    assert six.boards.solved(six.truth(batch)).all()


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


def test_any_valid_completion_is_right_whatever_grid_the_puzzle_was_dug_from(banks):
    completions = solutions([1, 2, 3, 4, 3, 4, 1, 2] + [0] * 8, "2x2")
    task = make_task("sudoku", banks)
    tokens = torch.tensor(completions[:1]).where(torch.arange(16) < 8, 0)
    batch = Batch(tokens, torch.full_like(tokens, IGNORE), None)
    assert len(completions) > 1
    for completion in completions:
        assert task.check(batch, torch.tensor([completion])).all()
    assert not task.check(batch, torch.tensor([completions[0][:12] + completions[0][:4]])).any()


def test_solutions_are_counted_as_a_brute_force_solver_counts_them(six, banks):
    generator = torch.Generator().manual_seed(0)
    for task, blanks in ((make_task("sudoku", banks), 0.7), (six, 0.6)):
        grids = task.bank["train"]["grid"][:60]
        boards = grids.where(torch.rand(grids.shape, generator=generator) > blanks, 0)
        boards[0] = 0
        boards[1, :2] = 1  # contradicts itself
        count, found = task.boards.solutions(boards)
        for board, number, one in zip(boards[1:].tolist(), count[1:].tolist(), found[1:].tolist()):
            every = solutions(board, task.box)
            assert number == min(len(every), 2) and (not every or tuple(one) in every)
        assert (
            count[0] == 2
            and task.boards.solved(found[:1]).all()
            and {0, 1, 2} == set(count.tolist())
        )


def test_guesses_are_those_of_a_solver_written_as_one_thinks(six):
    """A recursive solver with the same lots, one board at a time."""

    def try_all(board, lot, digits):
        """(solved, how many digits were tried)"""
        now, _ = six.boards.propagate(board[None])
        if six.boards.solved(now)[0]:
            return True, 0
        if six.boards.broken(now)[0]:
            return False, 0
        fits = six.boards.candidates(now)[:, 0].tolist()
        blanks = [cell for cell in range(36) if now[0, cell] == 0]
        cell = min(blanks, key=lambda cell: fits[cell].bit_count() + lot[cell])
        tried = 0
        for digit in digits:
            if fits[cell] & 1 << digit - 1:
                now[0, cell] = digit
                solved, more = try_all(now[0], lot, digits)
                tried += 1 + more
                if solved:
                    return True, tried
        return False, tried

    grids = six.bank["train"]["grid"][:12]
    hide = torch.rand(grids.shape, generator=torch.Generator().manual_seed(1)) > 0.25
    boards = torch.cat((grids.masked_fill(hide, 0), six.bank["train"]["puzzle"][:8]))
    expected = torch.zeros(len(boards))
    for order in range(3):
        generator = torch.Generator().manual_seed(order)
        lot = torch.rand(36, generator=generator).tolist()
        digits = (torch.randperm(6, generator=generator) + 1).tolist()[::-1]
        expected += torch.tensor([float(try_all(board, lot, digits)[1]) for board in boards])
    guesses = six.boards.guesses(boards, orders=3)
    assert torch.allclose(guesses, expected / 3) and len(guesses.unique()) > 3
    easy = six.boards.difficulty(boards) < SEARCH
    assert (guesses[easy] == 0).all() and (guesses[~easy] > 0).all() and easy.any()


# ---- minimal puzzles


@pytest.fixture(scope="session")
def half(banks):
    return Sudoku(box="2x3", puzzles=400, search=True, minimal=0.5, banks=str(banks))


def is_minimal(puzzle, box):
    """By brute force: does each clue, if it goes, leave a second solution?"""
    return all(
        len(solutions([*puzzle[:i], 0, *puzzle[i + 1 :]], box)) > 1
        for i, digit in enumerate(puzzle)
        if digit
    )


@pytest.mark.parametrize("box, number", (("2x2", 30), ("2x3", 12)))
def test_no_clue_of_a_minimal_puzzle_can_go_and_the_other_puzzles_stay_as_they_were(box, number):
    boards, grids = Boards(box), Boards(box).fill(2 * number, torch.Generator().manual_seed(0))

    def dig(**minimal):
        draw = torch.Generator().manual_seed(1)
        return boards.dig(grids, draw, tqdm(disable=True), search=True, **minimal)

    puzzles, usual = dig(minimal=number), dig()
    for puzzle, grid in zip(puzzles[:number].tolist(), grids.tolist()):
        assert solutions(puzzle, box) == [tuple(grid)] and is_minimal(puzzle, box)
    assert not all(is_minimal(puzzle, box) for puzzle in usual[:number].tolist())
    assert torch.equal(puzzles[number:], usual[number:])


def test_minimal_puzzles_of_9x9_are_minimal_for_another_solver():
    """On smaller boards a look-ahead of one step finds nearly all clues that can go; not here."""
    boards, rules, draw = Boards("3x3"), Rules("3x3"), torch.Generator().manual_seed(0)
    grids = boards.fill(16, draw)
    puzzles = boards.dig(grids, draw, tqdm(disable=True), search=True, minimal=16)
    for puzzle, grid in zip(puzzles.tolist(), grids.tolist()):
        assert list(rules.completions(list(puzzle))) == [grid]
        for cell, digit in enumerate(puzzle):
            assert not digit or not rules.is_unique([*puzzle[:cell], 0, *puzzle[cell + 1 :]])


@pytest.mark.parametrize("box, number", (("2x2", 30), ("2x3", 15), ("3x3", 3)))
def test_two_generators_and_two_solvers_agree(box, number):
    rules, draw, boards = Rules(box), random.Random(0), Boards(box)
    made = [minimal_puzzle(rules, draw) for _ in range(number)]
    puzzles, grids = (torch.tensor(each) for each in zip(*made))
    count, found = boards.solutions(puzzles)
    assert (count == 1).all() and torch.equal(found, grids) and boards.solved(grids).all()
    for puzzle in puzzles:
        without = puzzle.repeat(int((puzzle > 0).sum()), 1)
        without[range(len(without)), puzzle.nonzero()[:, 0]] = 0
        assert (boards.solutions(without)[0] == 2).all()
    if box != "3x3":
        assert all(is_minimal(puzzle, box) for puzzle in puzzles.tolist())


def test_of_several_minimal_puzzles_of_a_grid_the_one_of_the_most_guesses_is_kept(half, banks):
    settings = dict(box="2x3", puzzles=400, search=True, minimal=0.5, banks=str(banks))
    hardest = Sudoku(tries=3, **settings).bank["train"]
    once = half.bank["train"]
    assert torch.equal(hardest["grid"], once["grid"])  # so the splits are the same, too
    more, less = (
        half.boards.guesses(half.boards.in_order(bank["puzzle"])) for bank in (hardest, once)
    )
    assert (more >= less).all() and 0.01 < (more > less).float().mean() < 0.5
    changed = hardest["puzzle"][more > less]
    assert all(is_minimal(puzzle, "2x3") for puzzle in changed[:5].tolist())
    assert len(list(banks.glob("sudoku-2x3-400-search*"))) >= 2


@pytest.mark.parametrize(
    "settings",
    (dict(minimal=0.5), dict(minimal=1.5, search=True), dict(tries=2, search=True), dict(tries=0)),
)
def test_shares_of_minimal_puzzles_that_cannot_be_made_are_refused(settings):
    with pytest.raises(ValueError, match="(minimal|tries)=.* must be"):
        Sudoku(**settings)


def in_order(puzzle):
    """Its digits renamed: the first one that stands there is 1, the next one 2."""
    names = {}
    return [digit and names.setdefault(digit, len(names) + 1) for digit in puzzle]


def test_boards_that_need_search_are_graded_by_guesses_whatever_their_digits_are_called(six):
    grids, draw = six.bank["train"]["grid"][:150], torch.Generator().manual_seed(2)
    boards = grids.masked_fill(torch.rand(grids.shape, generator=draw) < 0.75, 0)
    grades = six.boards.difficulty(boards, graded=True)
    guesses = six.boards.guesses(torch.tensor([in_order(board) for board in boards.tolist()]))
    for board, number, grade in zip(boards.tolist(), guesses.tolist(), grades.tolist()):
        if number == 0:
            assert grade == propagation_rounds(board, "2x3")
        else:
            assert grade == SEARCH + sum(number >= limit for limit in (2, 4, 8, 16, 32, 64))
    assert {SEARCH, SEARCH + 1, SEARCH + 2} <= set(grades.tolist())
    names = torch.tensor([0, 4, 2, 6, 1, 3, 5])
    assert torch.equal(six.boards.difficulty(names[boards], graded=True), grades)
    assert torch.equal(six.boards.difficulty(boards), grades.clamp(max=SEARCH))


def test_grades_are_named_and_are_in_the_mixture_of_banks_with_minimal_puzzles(six, banks):
    settings = dict(box="2x3", puzzles=400, search=True, banks=str(banks))
    task = Sudoku(minimal=0.5, **settings)
    names = [task.name_of(grade) for grade in (7, SEARCH, SEARCH + 2, HARDEST)]
    assert names[:2] == ["7 rounds of singles", "search, 1 to 2 guesses"]
    assert names[2:] == ["search, 4 to 8 guesses", "search, 64 guesses or more"]
    assert six.name_of(SEARCH) == "search"
    batch = task.batch("train", 0, 50, (SEARCH, HARDEST))
    assert batch.difficulty.min() == SEARCH
    assert torch.equal(task.measure(batch.tokens), batch.difficulty)
    task.bank["train"]["difficulty"][:9] = HARDEST
    assert (task.batch("train", 0, 1000).difficulty == HARDEST).any()


# ---- splits


def canonical(grids, box):
    """The smallest of all symmetric copies of grids (N, n, n) of 6x6, by trying all of them."""
    n, (height, width) = grids.shape[1], map(int, box.split("x"))

    def orders(size):
        inner = list(itertools.permutations(range(size)))
        for outer in itertools.permutations(range(n // size)):
            for each in itertools.product(inner, repeat=n // size):
                yield [
                    size * band + each[i][k] for i, band in enumerate(outer) for k in range(size)
                ]

    # of the second row: the first is 1, 2, 3.. and the rest breaks ties
    weights = 10 ** torch.arange(n - 2, -1, -1)
    best = torch.full((len(grids), n - 1), 10**9)
    columns = list(orders(width))
    for rows in orders(height):
        copies = grids[:, rows][:, :, columns].transpose(1, 2)  # (N, orders, n, n)
        names = torch.zeros(*copies.shape[:2], n, dtype=torch.long).scatter_(
            2, copies[:, :, 0] - 1, torch.arange(1, n + 1).expand(*copies.shape[:2], n)
        )
        copies = names[:, :, None].expand(-1, -1, n, -1).gather(3, copies - 1)
        # the last digit of a row follows from the others
        keys = (copies[:, :, 1:, :-1] * weights).sum(3)
        for key in keys.unbind(1):
            differs = (key != best).int().argmax(1)
            smaller = key.gather(1, differs[:, None]) < best.gather(1, differs[:, None])
            best = torch.where(smaller, key, best)
    return {tuple(key) for key in best.tolist()}


def test_no_grid_of_6x6_is_a_symmetric_copy_of_one_in_another_split(six):
    kinds = {
        split: canonical(bank["grid"][:60].view(-1, 6, 6), "2x3")
        for split, bank in six.bank.items()
    }
    assert len(kinds["train"]) > 5 and kinds["val"] and kinds["test"]
    for split, other in itertools.combinations(kinds, 2):
        assert not kinds[split] & kinds[other]


@pytest.mark.parametrize("box", ("2x3", "3x3"))
def test_the_kind_of_a_grid_is_that_of_its_symmetric_copies_and_hardly_of_others(box, six, nine):
    task = six if box == "2x3" else nine
    n, (height, width) = task.n, map(int, box.split("x"))
    draw = torch.Generator().manual_seed(0)

    def order(size):
        bands = torch.randperm(n // size, generator=draw)
        return torch.cat([size * band + torch.randperm(size, generator=draw) for band in bands])

    grids = task.bank["train"]["grid"][:40]
    copies = torch.stack(
        [(1 + torch.randperm(n, generator=draw))[grid - 1] for grid in grids]
    ).view(-1, n, n)
    copies = torch.stack([grid[order(height)][:, order(width)] for grid in copies])
    assert (copies.flatten(1) != grids).any(1).all()
    assert torch.equal(task.boards.kind(copies.flatten(1)), task.boards.kind(grids))
    if height == width:
        assert torch.equal(task.boards.kind(copies.mT.flatten(1)), task.boards.kind(grids))
        assert len(task.boards.kind(grids).unique()) == 40
    else:
        assert 10 < len(task.boards.kind(grids).unique()) <= 40  # there are 49 in all


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


def written(tmp_path, text):
    path = tmp_path / "puzzles.txt"
    path.write_text(text, encoding="utf-8")
    return read_puzzles(path)


def test_puzzle_files_are_read_with_and_without_solutions(tmp_path):
    found = written(
        tmp_path,
        f"# mine\n{PUZZLE},{SOLUTION}\n\n"
        f"{PUZZLE.replace('.', '0')} {SOLUTION}  # easy\r\n{PUZZLE}\n",
    )
    puzzles, known = found.puzzles, found.solutions
    assert (
        puzzles.shape == known.shape == (3, 81) and found.lines == [2, 4, 5] and not found.skipped
    )
    assert (puzzles[0] == puzzles[1]).all() and (puzzles[0] == puzzles[2]).all()
    assert "".join(map(str, known[0].tolist())) == SOLUTION and known[2].sum() == 0
    task = Sudoku(box="3x3", file=str(tmp_path / "puzzles.txt"))
    batch = task.batch("test", 0, 4)
    assert (batch.difficulty == propagation_rounds(puzzles[0].tolist(), "3x3")).all()
    boards, _ = task.boards.propagate(batch.tokens)
    assert task.check(batch, boards).all()


ROWS = [PUZZLE[i : i + 9] for i in range(0, 81, 9)]
BARS = [" | ".join(" ".join(row[i : i + 3]) for i in (0, 3, 6)) for row in ROWS]


@pytest.mark.parametrize(
    "text",
    [
        PUZZLE.replace(".", "0"),
        PUZZLE.replace(".", "_"),
        PUZZLE.replace(".", "*"),
        f"id;puzzle;rating;source\n17;{PUZZLE};9.1;forum",
        f"{SOLUTION},{PUZZLE}",  # the solution first
        f'"{PUZZLE}"\t"{SOLUTION}"\t0f3a9c\t1234123412341234\t3.5',
        f"quizzes,solutions\n{PUZZLE.replace('.', '0')},{SOLUTION}",
        "\n".join(ROWS),  # .sdk
        "#A somebody\n[Puzzle]\n" + "\n".join(ROWS),
        "\n".join(
            [*BARS[:3], "------+-------+------", *BARS[3:6], "------+-------+------", *BARS[6:]]
        ),  # .ss
        "\n".join(",".join(row.replace(".", "0")) for row in ROWS),
    ],
)
def test_the_files_that_people_have(tmp_path, text):
    found = written(tmp_path, text)
    assert found.puzzles.tolist() == [[int(c) for c in PUZZLE.replace(".", "0")]]
    assert found.solutions[0].any() == (SOLUTION in text)


def framed(rule, bar="|"):
    rows = [bar + bar.join(row[i : i + 3] for i in (0, 3, 6)) + bar for row in ROWS]
    return "\n".join([rule, *rows[:3], rule, *rows[3:6], rule, *rows[6:], rule])


LISTS = [[int(c) for c in row.replace(".", "0")] for row in ROWS]
DONE = "\n".join(SOLUTION[i : i + 9] for i in range(0, 81, 9))
GRID = "\n".join(ROWS)


@pytest.mark.parametrize(
    "text, boards",
    [
        # rules and frames, of characters that are blanks elsewhere
        *[(framed(rule), 1) for rule in ("---------", "---|---|---", "===========")],
        *[(framed(rule), 1) for rule in ("*-----------*", ".---.---.---.", ":===+===+===:")],
        (framed("├───┼───┼───┤", "│"), 1),
        (framed("╠═══╬═══╬═══╣", "║"), 1),
        (f"{framed('*-----------*')}\n{framed('*-----------*')}", 2),
        (GRID.replace(".", "-"), 1),
        (framed("------+-----+------").replace(".", "-"), 1),
        (f"{GRID.replace('.', '-')}\n\n{framed('---------')}", 2),
        # titles and sections
        (f"Grid 01\n{GRID}\nGrid 02\n{GRID}", 2),
        (f"1234\n{GRID}\n000123\n{GRID}", 2),
        (f"[Puzzle]\n{GRID}\n[State]\n{DONE}\n[Puzzle]\n{GRID}\n[State]\n{DONE}", 2),
        # one line
        (f":0000:x:{PUZZLE}:124 235 416:415 516::", 1),  # the library of Hodoku
        (f"{PUZZLE}:{SOLUTION}", 1),
        (",".join(PUZZLE.replace(".", "0")), 1),  # a column for each cell
        (PUZZLE.replace(".", "x"), 1),
        (PUZZLE.replace(".", "X"), 1),
        # JSON
        (json.dumps(LISTS), 1),
        (json.dumps(LISTS, indent=1), 1),
        (json.dumps([LISTS, LISTS]), 2),
        (json.dumps([sum(LISTS, [])] * 3), 3),
        (json.dumps([[cell or None for cell in row] for row in LISTS]), 1),
        (json.dumps([PUZZLE, PUZZLE]), 2),
        (json.dumps({"puzzle": PUZZLE, "solution": SOLUTION}), 1),
        (json.dumps({"grids": [{"value": LISTS, "solution": SOLUTION, "level": "Easy"}] * 2}), 2),
        (f"{json.dumps({'puzzle': PUZZLE, 'solution': SOLUTION})}\n" * 2, 2),
        (f"grid = {json.dumps(LISTS)}".replace("[[", "[\n[").replace("], ", "],\n"), 1),
    ],
    ids=lambda value: str(value)[:24],
)
def test_more_files_that_people_have(text, boards, tmp_path):
    for content in (text.encode(), gzip.compress(text.encode())):
        (tmp_path / "puzzles").write_bytes(content)
        found = read_puzzles(tmp_path / "puzzles")
        one = [int(cell) for cell in PUZZLE.replace(".", "0")]
        assert found.puzzles.tolist() == [one] * boards and found.skipped == []
        assert found.solutions[0].any() == (SOLUTION in text)


def test_a_rule_and_a_title_in_small_boards(tmp_path):
    rows = ["12|3.", "34|12", "21|43", "43|2."]
    for text in (
        "\n".join([*rows[:2], "--|--", *rows[2:]]),
        "\n".join(["0001", *rows]),
        "\n".join([*rows[:2], "--+--", *rows[2:]]).replace(".", "-"),
    ):
        found = written(tmp_path, f"{text}\n{text}" if "0001" in text else text)
        assert found.puzzles[0].tolist() == [1, 2, 3, 0, 3, 4, 1, 2, 2, 1, 4, 3, 4, 3, 2, 0]
        assert not found.skipped and len(found.puzzles) == 1 + ("0001" in text)


def test_a_solved_board_is_no_puzzle_and_the_reason_told_is_about_a_board(tmp_path):
    with pytest.raises(ValueError, match="line 1: a solved board"):
        written(tmp_path, SOLUTION)
    with pytest.raises(ValueError, match="line 2: the solution changes a given digit"):
        written(tmp_path, f"quizzes,solutions\n{PUZZLE},{SOLUTION[::-1]}")


@pytest.mark.parametrize(
    "text, ratings",
    [
        (f"id,puzzle,solution,rating\n1,{PUZZLE},{SOLUTION},3.2\n2,{PUZZLE},,0.5", ["3.2", "0.5"]),
        (f"source;Difficulty;puzzle\na b;hard;{PUZZLE}\nc;'easy' ;{PUZZLE}", ["hard", "easy"]),
        (f"rating difficulty puzzle\n7 1 {PUZZLE}  # mine", ["7"]),
        (f"0000183b305c {PUZZLE}  1.2\n{PUZZLE}\n{PUZZLE},9", ["1.2", "", "9"]),
        (f"{PUZZLE}\t{SOLUTION}\t12", ["12"]),
        # no ratings: a title, numbers that mean something else, words, a row for each line
        (f"Rating\n{PUZZLE}", [""]),
        (f":0000:x:{PUZZLE}:124 235 416:415 516::", [""]),
        (f"{PUZZLE} forum\n17 {PUZZLE}", ["", ""]),
        (f"id,rating\n{GRID}", [""]),
    ],
    ids=lambda value: str(value)[:24],
)
def test_the_ratings_of_a_file(text, ratings, tmp_path):
    found = written(tmp_path, text)
    assert found.ratings == ratings and not found.skipped


def test_a_rating_stays_with_its_puzzle(tmp_path):
    (tmp_path / "puzzles").write_text(f"11{79 * '.'} 1\n{PUZZLE} 2\n{PUZZLE[1:]} 3\n{PUZZLE} 4\n")
    task = Sudoku(box="3x3", file=str(tmp_path / "puzzles"))
    assert len(task.bank["test"]["puzzle"]) == 2 and task.ratings == ["2", "4"]


def test_the_first_puzzles_of_a_file(tmp_path):
    (tmp_path / "puzzles").write_text(f"{PUZZLE}\n{PUZZLE[1:]}\n{PUZZLE}\n{PUZZLE[1:]}\n{PUZZLE}")
    task = Sudoku(box="3x3", file=str(tmp_path / "puzzles"), first_puzzles=2)
    assert len(task.bank["test"]["puzzle"]) == 2 and task.lines == [1, 3]
    assert [text.split(":")[0] for text in task.skipped] == ["line 2"]


def test_solutions_are_counted_in_linear_time(monkeypatch, tmp_path):
    sizes, solutions = [], Boards.solutions
    monkeypatch.setattr(
        Boards, "solutions", lambda self, part: (sizes.append(len(part)), solutions(self, part))[1]
    )
    path = tmp_path / "puzzles"
    path.write_text("123.3412214343..\n" * 20_001)
    assert len(Sudoku(file=str(path)).bank["test"]["puzzle"]) == 20_001
    assert sizes == [10_000, 10_000, 1]


@pytest.mark.parametrize(
    "rows",
    [
        ["3-|-4", "--|--", "--|--", "4-|1-", "-1|--"],  # the second or the third is a rule
        framed("---|---|---").replace(".", "-").split("\n")[1:-1],
        [row.replace(".", "-") for row in ROWS] + ["---------"],
    ],
    ids=len,
)
def test_dashes_that_may_be_blanks_or_a_rule_are_not_guessed(rows, tmp_path):
    n = 4 if len(rows) == 5 else 9
    with pytest.raises(ValueError, match=f"{len(rows)} rows of {n}: are those of dashes blank"):
        written(tmp_path, "\n".join(rows))


def test_a_row_with_blanks_is_no_title(tmp_path):
    found = written(tmp_path, "\n".join([PUZZLE, "", ROWS[0], *ROWS]))
    assert found.puzzles.shape == (2, 81) and found.puzzles[0, :9].equal(found.puzzles[1, :9])
    assert found.skipped == ["line 12: 1 rows, a board of 9 columns has more"]


def test_two_boards_over_several_lines_and_half_a_third(tmp_path):
    found = written(tmp_path, "\n".join([*ROWS, "", *ROWS, "", *ROWS[:4]]))
    assert found.puzzles.shape == (2, 81) and found.lines == [1, 11]
    assert found.skipped == ["line 21: 4 rows, a board of 9 columns has more"]


BAD_LINES = [
    (PUZZLE[:-1], "80 characters, a board 81"),
    (f"7,{PUZZLE[:-1]}", "80 characters, a board 81"),  # with its number it has 81
    (PUZZLE[:-1] + "y", "no board"),
    (PUZZLE[:-1] + "²", "no board"),
    (f"{PUZZLE},{SOLUTION},{SOLUTION}", "3 boards"),
    (f"{PUZZLE},{PUZZLE}", "two boards with blanks"),
    (f"{PUZZLE},{SOLUTION[::-1]}", "changes a given"),
]


@pytest.mark.parametrize("line, words", BAD_LINES)
def test_a_bad_line_is_skipped_and_reported_with_its_number_and_reason(tmp_path, line, words):
    found = written(tmp_path, f"{PUZZLE}\n{line}\n")
    (skipped,) = found.skipped
    assert len(found.puzzles) == 1 and skipped.startswith("line 2: ") and words in skipped
    with pytest.raises(ValueError, match=f"no puzzle; line 1: .*{words}".replace(" 81", "")):
        written(tmp_path, line)


def test_a_board_without_exactly_one_solution_is_no_puzzle(tmp_path, capsys):
    path = tmp_path / "puzzles.txt"
    blank = PUZZLE.index(".")
    wrong = SOLUTION[:blank] + str(int(SOLUTION[blank]) % 9 + 1) + SOLUTION[blank + 1 :]
    path.write_text(f"{'.' * 81}\n{PUZZLE}\n11{'.' * 79}\n{PUZZLE},{wrong}\n{PUZZLE[1:]}\n")
    task = Sudoku(box="3x3", file=str(path))
    (grid,) = task.bank["test"]["grid"].tolist()
    assert task.lines == [2] and "".join(map(str, grid)) == SOLUTION
    reasons = [
        "line 1: two solutions or more",
        "line 3: no solution",
        "line 4: the solution given is wrong",
    ]
    assert task.skipped[:3] == reasons and task.skipped[3].startswith("line 5: no board")
    path.write_text("11" + "." * 79 + "\n")
    with pytest.raises(ValueError, match="no puzzle; line 1: no solution"):
        Sudoku(box="3x3", file=str(path)).batch("test", 0, 1)


def test_files_that_hold_no_puzzles_say_so(tmp_path):
    with pytest.raises(ValueError, match="cannot read"):
        read_puzzles(tmp_path / "missing.txt")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(ValueError, match="no puzzle"):
        read_puzzles(tmp_path / "empty.txt")
