"""The tasks against plain Python: a follower of hops, int addition, a brute-force Sudoku solver."""

import itertools
from pathlib import Path

import pytest
import torch

import tasks
import train
from tasks import IGNORE, TASKS, Addition, Composition, MultiHop, PHop, Sudoku, read_puzzles


@pytest.fixture(scope="session")
def banks(tmp_path_factory):
    return tmp_path_factory.mktemp("banks")


@pytest.fixture(params=["multihop", "phop", "addition", "sudoku"])
def task(request, banks):
    return make(request.param, banks)


def make(name, banks, seed=0):
    return TASKS[name](seed=seed, **(dict(puzzles=600, cache=banks) if name == "sudoku" else {}))


# ---- what all tasks promise


def test_a_batch_is_a_pure_function_of_seed_split_and_step(task, banks):
    first = task.batch("train", 5, 16)
    for split, step in (("train", 4), ("val", 5), ("train", 6)):
        assert not torch.equal(task.batch(split, step, 16).tokens, first.tokens)
    again, elsewhere = task.batch("train", 5, 16), make(type(task).__name__.lower(), banks).batch("train", 5, 16)
    other_seed = make(type(task).__name__.lower(), banks, seed=1).batch("train", 5, 16)
    for one, two, three in zip(first, again, elsewhere):
        assert torch.equal(one, two) and torch.equal(one, three)
    assert not torch.equal(first.tokens, other_seed.tokens)


def test_a_batch_ignores_all_other_random_numbers(task):
    first = task.batch("val", 3, 8)
    torch.manual_seed(123)
    torch.rand(7)
    assert torch.equal(first.tokens, task.batch("val", 3, 8).tokens)


def test_difficulty_is_what_was_asked_for(task):
    for difficulty in (1, 2, 3):
        batch = task.batch("test", 0, 20, difficulty)
        assert (batch.difficulty == difficulty).all() and torch.equal(batch.difficulty, task.measure(batch.tokens))
    if not isinstance(task, Addition):  # half of a mixture is left to chance there
        assert set(task.batch("train", 0, 200, (2, 3)).difficulty.tolist()) == {2, 3}


def test_a_perfect_prediction_is_right_and_any_other_wrong(task):
    batch = task.batch("val", 0, 30)
    perfect = batch.targets.clamp(min=0)
    assert task.check(batch, perfect).all()
    wrong = perfect.clone()
    last = (batch.targets != IGNORE).float().cumsum(1).argmax(1)  # the last place where an answer is asked
    wrong[range(30), last] = (wrong[range(30), last] + 1) % task.vocab_size
    assert not task.check(batch, wrong).any()


def questions(task, split, batches=20):
    return {tuple(row) for step in range(batches) for row in task.batch(split, step, 100).tokens.tolist()}


def test_splits_are_disjoint(task):
    train, val, test = (questions(task, split) for split in ("train", "val", "test"))
    if isinstance(task, MultiHop):  # the facts themselves are everybody's
        train, val, test = ({q for q in each if q[2] != task.pad} for each in (train, val, test))
    assert len(train) > 150 and len(val) > 40 and len(test) > 40
    assert not train & val and not train & test and not val & test
    for split in ("train", "val", "test"):
        batch = task.batch(split, 3, 100)
        assert isinstance(task, Sudoku) or task.belongs(batch.tokens, split).all()


def test_splits_of_a_small_world_share_no_question():
    tiny = Addition(digits=1)
    train, test = (
        {tuple(q) for step in range(20) for q in tiny.batch(s, step, 100).tokens.tolist()} for s in ("train", "test")
    )
    assert len(train) > 60 and len(test) > 4 and not train & test


def test_splits_do_not_depend_on_the_seed(task, banks):
    train = questions(task, "train")
    other = questions(make(type(task).__name__.lower(), banks, seed=1), "test")
    if isinstance(task, MultiHop):
        train = {q for q in train if q[2] != task.pad}
    assert not train & other


def test_unknown_splits_are_refused(task):
    with pytest.raises(ValueError, match="train, val, test"):
        task.batch("dev", 0, 4)


# ---- multihop


def test_multihop_against_a_follower():
    task = MultiHop(hops=5)
    facts = task.facts.tolist()
    assert all(sorted(relation) == list(range(24)) for relation in facts)
    batch = task.batch("train", 0, 300)
    for tokens, targets, difficulty in zip(batch.tokens.tolist(), batch.targets.tolist(), batch.difficulty.tolist()):
        entity, *relations = [token for token in tokens if token != task.pad]
        assert len(relations) == difficulty
        for relation in relations:
            entity = facts[relation - 24][entity]
        assert targets[difficulty] == entity
        assert all(target == IGNORE for i, target in enumerate(targets) if i != difficulty)
    assert set(batch.difficulty.tolist()) == {1, 2, 3, 4, 5}


def test_multihop_padding_does_not_move_a_question_to_another_split():
    task = MultiHop(hops=5)
    batch = task.batch("train", 0, 200, (2, 5))
    two = batch.tokens[batch.difficulty == 2]
    assert task.belongs(two[:, :3], "train").all() and task.belongs(two, "train").all()


def test_multihop_shows_what_its_docstring_promises():
    task = MultiHop()
    assert task.show(torch.tensor([2, 26, 24, 28, 28]), torch.tensor([0, 0, 5, 0, 0])) == "c r2 r0 -> f"


def test_a_pause_moves_the_answer_and_nothing_else():
    plain, paused = MultiHop(), MultiHop(pause=3)
    assert paused.block_size == plain.block_size + 3
    batch = paused.batch("train", 0, 100)
    for tokens, targets, hops in zip(batch.tokens, batch.targets, batch.difficulty.tolist()):
        answer = plain.answer(tokens[None, : hops + 1])[0, hops]
        assert targets[hops + 3] == answer and (targets != IGNORE).sum() == 1
        assert paused.truth(batch._replace(tokens=tokens[None]))[0, hops : hops + 4].unique().tolist() == [answer]
    shown = paused.show(torch.tensor([2, 26, 24, 28, 28, 28, 28]), torch.tensor([0, 0, 0, 0, 0, 5, 0]))
    assert shown == "c r2 r0 . . . -> f"


# ---- composition


def test_compositions_against_a_follower_and_their_splits_against_the_definition():
    task = Composition(entities=12, relations=5, alone=0.2, seed=3)
    facts = {(entity, 12 + r): to for r, row in enumerate(task.facts.tolist()) for entity, to in enumerate(row)}
    asked = {split: [] for split in ("train", "val", "test", "alone")}
    for split, each in asked.items():
        batch = task.batch(split, 0, 2000, 2)
        for (start, first, second), targets in zip(batch.tokens.tolist(), batch.targets.tolist()):
            assert targets == [IGNORE, IGNORE, facts[facts[start, first], second]]
            each.append((start, first, second))
    parts = {split: {part for a, r, s in each for part in ((a, r), (facts[a, r], s))} for split, each in asked.items()}
    composed = parts["train"] | parts["val"] | parts["test"]
    assert parts["alone"] and not parts["alone"] & composed  # a fact is either composed or alone, never both
    train, val, test = (set(asked[split]) for split in ("train", "val", "test"))
    assert not train & val and not train & test and not val & test
    assert len(asked["train"]) == 2000 > len(train)  # a list that is too short begins again
    single = task.batch("train", 0, len(facts), 1)
    shown = {
        (start, relation): target for (start, relation, _), (_, target, _) in zip(*map(torch.Tensor.tolist, single[:2]))
    }
    assert shown == facts  # all facts are trained, those alone, too
    assert (single.difficulty == 1).all() and task.difficulties("alone") == [2]


def test_a_mixture_is_uniform_over_facts_and_shown_compositions():
    task = Composition(composed=0.9)
    facts, pairs = len(task.listed["train", 1]), len(task.listed["train", 2])
    assert facts == 640 and 0.85 < pairs / len(Composition().listed["train", 2]) < 0.95
    everything = task.batch("train", 0, facts + pairs)
    assert len(everything.tokens.unique(dim=0)) == facts + pairs and (everything.difficulty == 1).sum() == facts


def test_composition_shows_what_its_docstring_promises():
    task = Composition()
    assert task.show(torch.tensor([7, 66, 64]), torch.tensor([0, 0, 3])) == "e7 r2 r0 -> e3"
    assert task.show(torch.tensor([7, 66, 74]), torch.tensor([0, 40, 0])) == "e7 r2 -> e40"
    for sizes in (dict(entities=2, relations=1), dict(alone=0), dict(composed=2)):
        with pytest.raises(ValueError, match="no .* questions|shares"):
            Composition(**sizes)
    with pytest.raises(ValueError, match="no alone question"):
        task.batch("alone", 0, 5, 1)


# ---- phop


def test_phop_against_the_definition():
    task = PHop(hops=3, length=20)
    batch = task.batch("train", 0, 60)
    for tokens, targets, p in zip(batch.tokens.tolist(), batch.targets.tolist(), batch.difficulty.tolist()):
        text = [chr(97 + token) for token in tokens[p + 1 :]]
        assert tokens[: p + 1] == [4] * p + [5]
        for i in range(len(text)):
            place = i
            for _ in range(p):
                before = "".join(text[:place])
                place = before.rindex(text[place]) + 1 if text[place] in before else place
            assert chr(97 + targets[p + 1 + i]) == text[place]


def test_phop_shows_what_its_docstring_promises():
    task = PHop(hops=2, length=8)
    tokens = torch.tensor([[4, 4, 5, 1, 0, 3, 2, 0, 1, 3, 2]])
    assert task.show(tokens[0], task.answer(tokens)[0]) == ">>|badcabdc -> d"


# ---- addition


def ripple_rounds(a, b):
    """Add with all carries moving one place at once; the rounds until none is left."""
    digits, rounds = [x + y for x, y in zip(a, b)] + [0], 0
    while any(d > 9 for d in digits):
        carries = [0] + [d // 10 for d in digits[:-1]]
        digits = [d % 10 + c for d, c in zip(digits, carries)]
        rounds += 1
    return rounds


@pytest.mark.parametrize("difficulty", (None, 0, 1, 4, 8, 11))
def test_addition_against_int(difficulty):
    task = Addition()
    batch = task.batch("train", 0, 200, difficulty)
    for tokens, targets, measured in zip(batch.tokens.tolist(), batch.targets.tolist(), batch.difficulty.tolist()):
        a, b = tokens[0:-1:2], tokens[1::2]
        answer = targets[1::2] + targets[-1:]
        value = [int("".join(map(str, reversed(digits)))) for digits in (a, b, answer)]
        assert value[0] + value[1] == value[2]
        assert measured == ripple_rounds(a, b)
        assert tokens[-1] == 10 and all(targets[i] == IGNORE for i in range(0, len(tokens) - 1, 2))


def test_half_of_a_mixed_addition_batch_has_a_long_carry():
    difficulty = Addition().batch("train", 0, 4000).difficulty
    uniform = Addition().question(torch.Generator().manual_seed(0), torch.full((4000,), -1))
    natural = (Addition().measure(uniform) >= 5).float().mean()
    assert natural < 0.02 and 0.2 < (difficulty >= 5).float().mean() < 0.35


def test_addition_shows_what_its_docstring_promises():
    task = Addition(digits=2)
    tokens = torch.tensor([[6, 7, 3, 4, 10]])
    assert task.answer(tokens).tolist() == [[IGNORE, 3, IGNORE, 8, 0]]
    assert task.show(tokens[0], task.answer(tokens)[0]) == "36+47=083"


def test_leading_zeros_do_not_make_another_question():
    short, long = torch.tensor([[6, 7, 3, 4, 10]]), torch.tensor([[6, 7, 3, 4, 0, 0, 0, 0, 10]])
    for split in ("train", "val", "test"):
        assert Addition().belongs(short, split) == Addition().belongs(long, split)


# ---- sudoku


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
    return Sudoku("2x3", puzzles=400, search=True, cache=banks)


def test_sudoku_puzzles_have_one_solution_and_the_difficulty_they_claim(six, banks):
    for task in (make("sudoku", banks), six):
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
    assert not (make("sudoku", banks).bank["train"]["difficulty"] == Sudoku.SEARCH).any()


def test_all_288_grids_of_4x4_are_reachable_and_no_relabelling_leaves_its_split(banks):
    task = Sudoku("2x2", puzzles=4000, cache=banks)
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
    task, lines = make("sudoku", banks), [line.split() for line in Sudoku.__doc__.splitlines() if line.count(" . ")]
    board = torch.tensor([int(c.replace(".", "0")) for line in lines for c in line[:4]])
    grid = torch.tensor([int(c) for line in lines for c in line[4:8]])
    assert solutions(board.tolist(), "2x2") == [tuple(grid.tolist())]
    assert task.show(board).splitlines() == [" ".join(line[:4]) for line in lines]
    assert task.show(board, grid).splitlines() == [" ".join(line[4:8]) for line in lines]


def test_any_valid_completion_is_right_whatever_the_file_had_in_mind(tmp_path):
    completions = solutions([1, 2, 3, 4, 3, 4, 1, 2] + [0] * 8, "2x2")
    (tmp_path / "open.txt").write_text(f"12343412........ {''.join(map(str, completions[0]))}\n")
    task = Sudoku("2x2", file=tmp_path / "open.txt")
    batch = task.batch("test", 0, 20)
    names = torch.cat((torch.zeros(20, 1, dtype=torch.long), batch.tokens[:, :4]), dim=1)  # the relabelling of each row
    assert len(completions) > 1
    for completion in completions:
        assert task.check(batch, names.gather(1, torch.tensor(completion).expand(20, -1))).all()
    assert not task.check(
        batch, names.gather(1, torch.tensor(completions[0][:12] + completions[0][:4]).expand(20, -1))
    ).any()


def test_a_bank_is_made_once_and_the_same_everywhere(tmp_path):
    one = Sudoku(puzzles=60, cache=tmp_path / "a", seed=0).bank
    stored = list((tmp_path / "a").iterdir())
    assert len(stored) == 1
    other = Sudoku(puzzles=60, cache=tmp_path / "b", seed=5).bank
    assert all(torch.equal(one[s][k], other[s][k]) for s in one for k in one[s])
    before = stored[0].stat().st_mtime_ns
    Sudoku(puzzles=60, cache=tmp_path / "a")
    assert stored[0].stat().st_mtime_ns == before


# ---- puzzle files

PUZZLE = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
SOLUTION = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"


def test_puzzle_files_are_read_with_and_without_solutions(tmp_path):
    path = tmp_path / "puzzles.txt"
    path.write_text(f"# mine\n{PUZZLE},{SOLUTION}\n\n{PUZZLE.replace('.', '0')} {SOLUTION}  # easy\r\n{PUZZLE}\n")
    puzzles, known = read_puzzles(path)
    assert puzzles.shape == known.shape == (3, 81)
    assert (puzzles[0] == puzzles[1]).all() and (puzzles[0] == puzzles[2]).all()
    assert "".join(map(str, known[0].tolist())) == SOLUTION and known[2].sum() == 0
    task = Sudoku("3x3", file=path)
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
        Sudoku("3x3", file=tmp_path / "twice.txt")


def test_the_task_that_the_readme_writes_trains(tmp_path, monkeypatch):
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    code = next(block for block in readme.split("```") if block.startswith("python\nclass Parity"))[len("python") :]
    names = dict(vars(tasks))
    exec(code, names)
    parity = names["Parity"]
    batch = parity().batch("test", 0, 50)
    for tokens, targets in zip(batch.tokens.tolist(), batch.targets.tolist()):
        bits = [token for token in tokens if token < 2]
        assert targets[: len(bits)] == [sum(bits[: i + 1]) % 2 for i in range(len(bits))]
    monkeypatch.setitem(TASKS, "parity", parity)
    monkeypatch.setitem(train.CHOICES, "task", (*TASKS, "parity"))
    tiny = "--steps 2 --batch 8 --eval_size 8 --n_embd 16 --n_head 2 --device cpu".split()
    train.main(["--task", "parity", *tiny, "--out", str(tmp_path / "run")])
