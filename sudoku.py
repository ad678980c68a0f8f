"""
Sudoku as a task: one round of logic on whole batches of boards, and a generator of puzzles. boards.py reads files.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional as F
from tqdm import tqdm

from boards import line_of, read_puzzles
from checks import load_tensors
from tasks import IGNORE, SPLITS, TASKS, Batch, Task, in_split, salted, scramble


@dataclass
class Sudoku(Task):
    """
    Complete a board: each row, column and box holds each digit once. 2x2, 2x3 and 3x3 boxes make 4x4, 6x6 and 9x9.

        3 . . .      3 2 4 1
        . 4 . .      1 4 2 3     as show() prints a question and its answer; tokens, row by row: 0 for a blank, or the
        4 . 1 .      4 3 1 2     digit
        . 1 . .      2 1 3 4

    Every puzzle has one solution. Difficulty: rounds of propagation, each of which fills in all naked and hidden
    singles at once; puzzles that singles do not solve need search and have difficulty SEARCH. They come only with
    search=True.

    Boards are drawn from a bank, made once and kept in the folder `banks`, or from a `file`; relabelling digits makes
    n! boards of each. Grids that are the same up to a symmetry are in one split (see kind), else a model with
    position="grid", which cannot tell many of them apart, would be tested on what it was trained on. There are 49 grids
    of 6x6 that are essentially different; of 4x4 there are two, so there only relabelled grids are kept together: call
    4x4 a drill.
    """

    box: str = "2x2"  # 2x2 | 2x3 | 3x3 for boards of 4x4, 6x6, 9x9
    puzzles: int = 10_000  # puzzles in the bank
    search: bool = False  # also puzzles that logic by singles does not solve
    banks: str = "runs/banks"  # the folder where banks are kept
    file: str = ""  # puzzles from a file instead, as every split

    causal = False
    grows = False
    counts_steps = False
    unit = "rounds of singles"
    SEARCH = 32  # the difficulty of puzzles that singles do not solve

    def __post_init__(self):
        if self.puzzles < 50:
            raise ValueError(f"puzzles must be at least 50, so that every split has some, not {self.puzzles}")
        if self.box not in ("2x2", "2x3", "3x3"):
            raise ValueError(f"box={self.box!r} is unknown; choose from 2x2, 2x3, 3x3")
        rows, columns = map(int, self.box.split("x"))
        n = self.n = rows * columns
        self.vocab_size, self.block_size = n + 1, n * n
        where = [(cell // n, cell % n) for cell in range(n * n)]
        self.coordinates = tuple((r, c, r // rows * rows + c // columns) for r, c in where)
        self.units_of_cell = torch.tensor(self.coordinates) + torch.tensor((0, n, 2 * n))  # (cells, 3)
        in_unit = (self.units_of_cell[None] == torch.arange(3 * n)[:, None, None]).any(2)  # (3n, cells)
        self.units = in_unit.nonzero()[:, 1].view(3 * n, n)  # the cells of each row, column and box
        self.all_digits = 2**n - 1
        self.lowest_digit = torch.zeros(2**n, dtype=torch.long)  # of a set
        for digit in range(n, 0, -1):
            self.lowest_digit[2 ** (digit - 1) :: 2**digit] = digit
        self.bank = self.file_bank(self.file) if self.file else self.load_bank(Path(self.banks))
        self.max_difficulty = int(self.bank["train"]["difficulty"].max())

    # ---- one round of logic, on whole batches of boards (N, cells) with 0 for blanks. A set of digits is a number with
    # the bit 2**(d - 1) for digit d: a union is |, and one operation serves all boards. Sets are kept as (cells, N), so
    # that a cell of all boards is one piece of memory; with both, a bank is made five times faster than with one-hots.

    def placed(self, boards):
        """What stands in each cell, as sets (cells, N)."""
        return (1 << boards.T.int().contiguous()) >> 1

    def seen(self, sets):
        """Of sets (cells, N): the digits that stand once or more, and twice or more, in each unit: (units, N) each."""
        once = twice = torch.zeros_like(sets[: len(self.units)])
        for cells in self.units.T:
            more = sets[cells]
            twice = twice | (once & more)
            once = once | more
        return once, twice

    def around(self, sets):
        """Of sets (units, N): the union over the row, the column and the box of each cell (cells, N)."""
        row, column, box = self.units_of_cell.T
        return sets[row] | sets[column] | sets[box]

    def candidates(self, boards):
        """The digits that a blank's row, column and box leave it, as sets (cells, N); none elsewhere."""
        placed = self.placed(boards)
        return torch.where(placed == 0, self.all_digits & ~self.around(self.seen(placed)[0]), 0)

    def deduce(self, boards):
        """Fill in all cells that only one digit fits (naked singles) and all digits that only fit one cell (hidden)."""
        fits = self.candidates(boards)
        once, twice = self.seen(fits)
        hidden = fits & self.around(once & ~twice)
        single = torch.where(fits & (fits - 1) == 0, fits, hidden)
        return boards + self.lowest_digit[single].T

    def propagate(self, boards, until=None):
        """
        Deduce until nothing moves, or until a cell of each board is filled, `until` (N,); returns the boards and the
        rounds (N,) that changed them.
        """
        rounds = torch.zeros(len(boards), dtype=torch.long, device=boards.device)
        moving = torch.arange(len(boards), device=boards.device)
        boards = boards.clone()
        while len(moving):
            after = self.deduce(boards[moving])
            moved = (after != boards[moving]).any(1)
            moving = moving[moved]
            boards[moving] = after[moved]
            rounds[moving] += 1
            if until is not None:
                moving = moving[boards[moving, until[moving]] == 0]
        return boards, rounds

    def broken(self, boards):
        """(N,) bool: a digit stands twice in a unit, or has no place left there, or a blank has no digit left."""
        placed, fits = self.placed(boards), self.candidates(boards)
        once, twice = self.seen(placed)
        nowhere = (once | self.seen(fits)[0]) != self.all_digits
        return (twice > 0).any(0) | nowhere.any(0) | (placed + fits == 0).any(0)

    def solved(self, boards):
        """(N,) bool: is every digit exactly once in every unit?"""
        return (self.seen(self.placed(boards))[0] == self.all_digits).all(0)

    # ---- the bank

    def fill(self, number, generator):
        """Random full grids (number, cells): guess where few digits fit, propagate, restart the boards that break."""
        boards = torch.zeros(number, self.n**2, dtype=torch.long)
        unfinished = torch.arange(number)
        while len(unfinished):
            now = boards[unfinished]
            fits = self.candidates(now).T[..., None] >> torch.arange(self.n) & 1  # (N, cells, n)
            choices = fits.sum(2).float().masked_fill(now > 0, torch.inf)
            cell = (choices + torch.rand(choices.shape, generator=generator)).argmin(1)
            digit = (fits[range(len(now)), cell] * torch.rand(len(now), self.n, generator=generator)).argmax(1) + 1
            now[range(len(now)), cell] = digit
            now = self.propagate(now)[0]
            now[self.broken(now)] = 0
            boards[unfinished] = now
            unfinished = unfinished[~self.solved(now)]
        return boards

    def dig(self, grids, generator, bar):
        """
        Blank out cells in random order while the puzzle keeps one solution, each down to a number of clues of its own.

        What singles still solve has one solution. With search=True a cell may also go when putting any other digit
        there leads to a contradiction: of the solutions that this might have added, none exists.
        """
        boards = grids.clone()
        everyone = torch.arange(len(grids))
        order = torch.rand(grids.shape, generator=generator).argsort(1)
        blanks = (torch.rand(len(grids), generator=generator).mul(0.7).add(0.3) * self.n**2).long()
        for cell in order.T:
            bar.update()
            trial = boards.clone()
            trial[everyone, cell] = 0
            more = (boards == 0).sum(1) < blanks
            keep = torch.zeros_like(more)
            again = self.propagate(trial[more], until=cell[more])[0]  # once it is back, the rest follows as before
            keep[more] = again[range(len(again)), cell[more]] > 0
            if self.search:
                left = (more & ~keep).nonzero()[:, 0]  # the boards that a contradiction may still help
                fits = self.candidates(trial[left])[cell[left], torch.arange(len(left))]
                row, digit = (fits[:, None] >> torch.arange(self.n) & 1).nonzero().T
                digit = digit + 1
                wrong = grids[left, cell[left]][row] != digit
                row, digit = left[row[wrong]], digit[wrong]
                other = trial[row]
                other[range(len(row)), cell[row]] = digit
                keep[left] = True
                keep[row[~self.broken(self.propagate(other)[0])]] = False
            boards = torch.where(keep[:, None], trial, boards)
        return boards

    def relabelled(self, grids):
        """The grids (N, cells) with their digits renamed so that they begin 1, 2, 3..."""
        name = torch.zeros(len(grids), self.n + 1, dtype=torch.long)
        name.scatter_(1, grids[:, : self.n], torch.arange(1, self.n + 1).expand(len(grids), -1))
        return name.gather(1, grids)

    def kind(self, grids):
        """
        A number (N, 1) for each grid (N, cells) that no symmetry changes: other names for the digits, rows in another
        order within a band, bands in another order, the same for columns and stacks, and, where boxes are square, the
        board turned over. So grids that are essentially the same have the same number (few others do).

        The way from a row to another is a permutation of the digits: what stands above goes to what stands below. The
        lengths of its cycles know nothing of names or of the order of columns, and sums nothing of the order of rows.
        """
        n, (height, width) = self.n, map(int, self.box.split("x"))
        board = grids.view(-1, n, n) - 1
        ways = [self.cycles(board).view(-1, n // height, height, n // height, height)]
        ways.append(self.cycles(board.mT).view(-1, n // width, width, n // width, width))
        sides = []
        for way in ways:  # (N, band, row, band, row)
            same_band = torch.eye(way.shape[1], dtype=torch.long)[:, None, :, None]
            of_row = scramble(way + same_band).sum((3, 4))
            sides.append(scramble(scramble(of_row).sum(2)).sum(1))
        rows, columns = sides
        both = rows + columns if height == width else rows + scramble(columns)
        return scramble(both)[:, None]

    def cycles(self, board):
        """(N, n, n): the cycle lengths of the permutation from each row of the board (N, n, n) to each, as a number."""
        n = self.n
        place = board.argsort(2)  # [., row, digit]: in which column it stands
        step = board[:, None].expand(-1, n, -1, -1).gather(3, place[:, :, None].expand(-1, -1, n, -1))
        digits, lengths = torch.arange(n), torch.zeros_like(step)
        now = step
        for length in range(1, n + 1):
            lengths = torch.where((now == digits) & (lengths == 0), length, lengths)
            now = step.gather(3, now)
        return scramble(lengths).sum(3)

    def load_bank(self, folder):
        """{split: {"puzzle", "grid" (N, cells), "difficulty" (N,)}}, from the folder if it is there."""
        puzzles = self.puzzles
        salt = f"-{salted(0, self.salt):x}" if self.salt else ""  # the salt itself may be unfit for a file's name
        path = folder / f"sudoku-{self.box}-{puzzles}{'-search' if self.search else ''}-by-kind{salt}.pt"
        with suppress(Exception):  # whatever a missing, foreign or damaged file raises: make the bank again
            return load_tensors(path)
        generator = torch.Generator().manual_seed(salted(0, self.salt))  # the bank is the same for all seeds
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # several gain little, and on a busy machine they cost up to twenty times the time
        with tqdm(total=self.n**2 + 1, desc=f"making {puzzles} {self.n}x{self.n} puzzles", leave=False) as bar:
            grid = self.fill(puzzles, generator)
            bar.update()
            puzzle = self.dig(grid, generator, bar)
        torch.set_num_threads(threads)
        everything = {"puzzle": puzzle, "grid": grid, "difficulty": self.measure(puzzle)}
        kind = self.relabelled(grid) if self.n == 4 else torch.cat([self.kind(part) for part in grid.split(10_000)])
        bank = {split: {k: v[in_split(kind, split, self.salt)] for k, v in everything.items()} for split in SPLITS}
        if empty := [split for split, part in bank.items() if not len(part["puzzle"])]:  # there are few kinds of 4x4
            raise ValueError(f"no {empty[0]} puzzle among {puzzles}: choose another salt, a larger box or more puzzles")
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        torch.save(bank, unfinished)
        os.replace(unfinished, path)
        return bank

    def file_bank(self, path):
        """Puzzles from a file as every split, in its order; what has not exactly one solution is no puzzle."""
        puzzles, given, lines, skipped = read_puzzles(path)
        if puzzles.shape[1] != self.n**2:
            raise ValueError(f"{path} holds boards of {puzzles.shape[1]} cells; box={self.box} has {self.n**2}")
        count, solutions = self.solutions(puzzles)
        for line, number, solution, expected in zip(lines, count.tolist(), solutions, given):
            if number != 1:
                skipped.append(f"line {line}: {('no solution', '', 'two solutions or more')[number]}")
            elif expected.any() and not torch.equal(expected, solution):
                skipped.append(f"line {line}: the solution given is wrong")
        skipped.sort(key=line_of)
        right = (count == 1) & ((given == 0).all(1) | (given == solutions).all(1))
        if not right.any():
            raise ValueError(f"{path} holds no puzzle; {skipped[0]}")
        self.skipped, self.lines = skipped, [line for line, keep in zip(lines, right.tolist()) if keep]
        puzzles, solutions = puzzles[right], solutions[right]
        return dict.fromkeys(SPLITS, dict(puzzle=puzzles, grid=solutions, difficulty=self.measure(puzzles)))

    def solutions(self, boards):
        """How many solutions each board (N, cells) has, 0, 1 or 2 for more; and one of them (N, cells)."""
        count, found = torch.zeros(len(boards), dtype=torch.long), torch.zeros_like(boards)
        stack, owner = boards, torch.arange(len(boards))
        while len(stack):  # the newest first, else an empty board would fill the memory before its first solution
            stack, now = stack[:-1000], self.propagate(stack[-1000:])[0]
            owner, of = owner[:-1000], owner[-1000:]
            solved = self.solved(now)
            found[of[solved]] = now[solved]
            count.index_add_(0, of[solved], torch.ones_like(of[solved]))
            open_ = ~solved & ~self.broken(now)
            now, of = now[open_], of[open_]
            fits = self.candidates(now).T[..., None] >> torch.arange(self.n) & 1  # (N, cells, n)
            cell = fits.sum(2).masked_fill(now > 0, self.n + 1).argmin(1)  # where the fewest digits fit
            row, digit = fits[range(len(now)), cell].nonzero().T
            more = now[row]
            more[range(len(row)), cell[row]] = digit + 1
            stack, owner = torch.cat((stack, more)), torch.cat((owner, of[row]))
            wanted = count[owner] < 2
            stack, owner = stack[wanted], owner[wanted]
        return count.clamp(max=2), found

    def measure(self, tokens):
        boards, rounds = self.propagate(tokens)
        return torch.where(self.solved(boards), rounds, self.SEARCH)

    def batch(self, split, step, size, difficulty=None):
        generator, bank = self.generator(split, step), self.bank[split]
        low, high = (difficulty, difficulty) if isinstance(difficulty, int) else difficulty or (0, self.SEARCH)
        rows = ((bank["difficulty"] >= low) & (bank["difficulty"] <= high)).nonzero()[:, 0]
        if not len(rows):
            have = sorted(set(bank["difficulty"].tolist()))
            raise ValueError(f"no {split} puzzle has difficulty {low}..{high}; there are {', '.join(map(str, have))}")
        rows = rows[torch.randint(len(rows), (size,), generator=generator)]
        names = torch.rand((size, self.n), generator=generator).argsort(1) + 1
        names = F.pad(names, (1, 0))  # a new name for each digit; a blank stays a blank
        tokens, grid = names.gather(1, bank["puzzle"][rows]), names.gather(1, bank["grid"][rows])
        targets = grid.masked_fill((tokens > 0) | (grid == 0), IGNORE)
        return Batch(*(part.to(self.device) for part in (tokens, targets, bank["difficulty"][rows])))

    def difficulties(self, split):
        """Those that 20 puzzles of the split have or more: an accuracy of fewer says little, and costs as much."""
        values, counts = self.bank[split]["difficulty"].unique(return_counts=True)
        return values[counts >= min(20, counts.max())].tolist()

    def check(self, batch, prediction):
        """Right is any valid completion of the givens, whatever grid the puzzle was dug from."""
        return self.solved(torch.where(batch.tokens > 0, batch.tokens, prediction))

    def name_of(self, difficulty):
        return "search" if difficulty == self.SEARCH else super().name_of(difficulty)

    def truth(self, batch):
        return torch.where(batch.tokens > 0, batch.tokens, batch.targets)

    def show(self, tokens, prediction=None):
        if prediction is not None:
            tokens = torch.where(tokens > 0, tokens, prediction)
        rows = tokens.view(self.n, self.n).tolist()
        return "\n".join(" ".join(map(self.name, row)) for row in rows)

    def name(self, token):
        return str(token or ".")


TASKS["sudoku"] = Sudoku
