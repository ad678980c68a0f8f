"""
The logic of Sudoku boards, on many boards at once, and the generator of puzzles. The task itself is
in tasks.py.
"""

import os
import sys
from contextlib import suppress
from itertools import compress

import torch
from torch.nn import functional as F
from tqdm import tqdm

from support.files import load_tensors
from support.hashing import SPLITS, in_split, salted, scramble
from support.puzzle_files import line_of, read_puzzles

SEARCH = 32  # the difficulty of puzzles that singles do not solve, the least if they are graded
LIMITS = (2, 4, 8, 16, 32, 64)  # of guesses: from each on, the grade is one more
HARDEST = SEARCH + len(LIMITS)


class Boards:
    """
    What the rules say about boards (N, cells), row by row, with 0 for a blank. The box "2x3" has 2
    rows and 3 columns and makes boards of 6x6.
    """

    def __init__(self, box):
        if box not in ("2x2", "2x3", "3x3"):
            raise ValueError(f"box={box!r} is unknown; choose from 2x2, 2x3, 3x3")
        self.rows, self.columns = rows, columns = [int(size) for size in box.split("x")]
        n = self.n = rows * columns
        where = [(cell // n, cell % n) for cell in range(n * n)]
        self.coordinates = tuple((r, c, r // rows * rows + c // columns) for r, c in where)
        # the units are numbered: n rows, then n columns, then n boxes
        self.units_of_cell = torch.tensor(self.coordinates) + torch.tensor((0, n, 2 * n))
        unit = torch.arange(3 * n)[:, None, None]
        in_unit = (self.units_of_cell == unit).any(2)  # (3n, cells)
        self.units = in_unit.nonzero()[:, 1].view(3 * n, n)  # the cells of each unit
        self.all_digits = 2**n - 1
        self.lowest_digit = torch.zeros(2**n, dtype=torch.long)  # of a set
        for digit in range(n, 0, -1):
            self.lowest_digit[2 ** (digit - 1) :: 2**digit] = digit
        self.size = self.digits_in(torch.arange(2**n)).sum(1)  # of a set

    # ---- one round of logic
    #
    # It works on whole batches of boards (N, cells) with 0 for blanks. A set of digits is a number
    # with the bit 2**(d - 1) for digit d, so that a union is |, and one operation serves all
    # boards. Sets are kept as (cells, N), so that a cell of all boards is one piece of memory. With
    # both, a bank is made five times faster than with one-hots.

    def placed(self, boards):
        """What stands in each cell, as sets (cells, N)."""
        return (1 << boards.T.int().contiguous()) >> 1

    def seen(self, sets):
        """
        Of sets (cells, N): the digits that stand once or more, and twice or more, in each unit,
        (units, N) each.
        """
        once = twice = torch.zeros_like(sets[: len(self.units)])
        for cells in self.units.T:
            more = sets[cells]
            twice = twice | (once & more)
            once = once | more
        return once, twice

    def around(self, sets):
        """
        Of sets (units, N): the union over the row, the column and the box of each cell (cells, N).
        """
        row, column, box = self.units_of_cell.T
        return sets[row] | sets[column] | sets[box]

    def candidates(self, boards):
        """
        The digits that a blank's row, column and box leave it, as sets (cells, N); none elsewhere.
        """
        placed = self.placed(boards)
        return torch.where(placed == 0, self.all_digits & ~self.around(self.seen(placed)[0]), 0)

    def digits_in(self, sets):
        """Of sets of any shape: 1 for each digit that is in them, else 0, (.., n)."""
        return sets[..., None] >> torch.arange(self.n) & 1

    def deduce(self, boards):
        """
        Fill in all cells that only one digit fits (naked singles) and all digits that only fit one
        cell (hidden).
        """
        fits = self.candidates(boards)
        once, twice = self.seen(fits)
        hidden = fits & self.around(once & ~twice)
        single = torch.where(fits & (fits - 1) == 0, fits, hidden)
        return boards + self.lowest_digit[single].T

    def propagate(self, boards, until=None):
        """
        Deduce until nothing moves, or until a cell of each board is filled, `until` (N,); returns
        the boards and the rounds (N,) that changed them.
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
        """
        (N,) bool: a digit stands twice in a unit, or has no place left there, or a blank has no
        digit left.
        """
        placed, fits = self.placed(boards), self.candidates(boards)
        once, twice = self.seen(placed)
        nowhere = (once | self.seen(fits)[0]) != self.all_digits
        return (twice > 0).any(0) | nowhere.any(0) | (placed + fits == 0).any(0)

    def solved(self, boards):
        """(N,) bool: is every digit exactly once in every unit?"""
        return (self.seen(self.placed(boards))[0] == self.all_digits).all(0)

    def difficulty(self, boards, graded=False):
        """
        (N,): the rounds of propagation that solve each board; SEARCH where they do not or, if
        `graded`, SEARCH and more by the guesses needed, up to HARDEST. The digits are renamed
        first, so that boards that differ in names only are equally hard.
        """
        filled, rounds = self.propagate(boards)
        difficulty = torch.where(self.solved(filled), rounds, SEARCH)
        if graded:
            rows = difficulty == SEARCH
            guesses = self.guesses(self.in_order(boards[rows]))
            difficulty[rows] += torch.bucketize(guesses, torch.tensor(LIMITS), right=True)
        return difficulty

    # ---- puzzles

    def fill(self, number, generator):
        """
        Random full grids (number, cells): guess where few digits fit, propagate, restart the boards
        that break.
        """
        boards = torch.zeros(number, self.n**2, dtype=torch.long)
        unfinished = torch.arange(number)
        while len(unfinished):
            now = boards[unfinished]
            fits = self.digits_in(self.candidates(now).T)  # (N, cells, n)
            choices = fits.sum(2).float().masked_fill(now > 0, torch.inf)
            cell = (choices + torch.rand(choices.shape, generator=generator)).argmin(1)
            chance = torch.rand(len(now), self.n, generator=generator)
            digit = (fits[range(len(now)), cell] * chance).argmax(1) + 1
            now[range(len(now)), cell] = digit
            now = self.propagate(now)[0]
            now[self.broken(now)] = 0
            boards[unfinished] = now
            unfinished = unfinished[~self.solved(now)]
        return boards

    def dig(self, grids, generator, bar, search=False, minimal=0):
        """
        Blank out cells in random order while the puzzle keeps one solution. Each board has its own
        number of clues at which this ends.

        A puzzle that singles solve has one solution. With `search` a cell may also go if each other
        digit there leads to a contradiction. Then no second solution can have it. The contradiction
        has to show by singles, but for the first boards, so many as `minimal`: of these a cell goes
        if no solution at all has another digit there. They are dug to the end, too, and then no
        clue can go: one that could not go before cannot go from fewer clues.
        """
        boards = grids.clone()
        everyone = torch.arange(len(grids))
        order = torch.rand(grids.shape, generator=generator).argsort(1)
        blanks = (torch.rand(len(grids), generator=generator).mul(0.7).add(0.3) * self.n**2).long()
        blanks[:minimal] = self.n**2
        for cell in order.T:
            bar.update()
            trial = boards.clone()
            trial[everyone, cell] = 0
            more = (boards == 0).sum(1) < blanks
            blanked = torch.zeros_like(more)
            # Do singles give the cell its digit back? Then the rest follows as before.
            again, _ = self.propagate(trial[more], until=cell[more])
            blanked[more] = again[range(len(again)), cell[more]] > 0
            if search:
                left = (more & ~blanked).nonzero()[:, 0]
                deep = left < minimal
                blanked[left] = self.no_other_digit(trial[left], cell[left], grids[left], deep)
            boards = torch.where(blanked[:, None], trial, boards)
        return boards

    def no_other_digit(self, boards, cell, grids, deep):
        """
        (N,) bool: does each digit but that of the grids (N, cells) lead to a contradiction in this
        cell (N,) of the boards (N, cells)? Of `deep` boards (N,) all that follows is tried, of the
        others only singles.
        """
        fits = self.candidates(boards)[cell, torch.arange(len(boards))]
        row, digit = self.digits_in(fits).nonzero().T
        digit = digit + 1
        wrong = grids[row, cell[row]] != digit
        row, digit = row[wrong], digit[wrong]
        other = boards[row]
        other[range(len(row)), cell[row]] = digit
        other, _ = self.propagate(other)
        possible = ~self.broken(other)
        unknown = possible & deep[row]
        possible[unknown] = self.solutions(other[unknown], most=1)[0] > 0
        none = torch.ones(len(boards), dtype=torch.bool)
        none[row[possible]] = False
        return none

    def relabelled(self, grids):
        """The grids (N, cells) with their digits renamed so that they begin 1, 2, 3..."""
        name = torch.zeros(len(grids), self.n + 1, dtype=torch.long)
        name.scatter_(1, grids[:, : self.n], torch.arange(1, self.n + 1).expand(len(grids), -1))
        return name.gather(1, grids)

    def in_order(self, boards):
        """Boards (N, cells) with their digits renamed in the order in which they first stand."""
        digits, cells = torch.arange(1, self.n + 1), torch.arange(self.n**2)
        stands = boards[:, None] == digits[:, None]  # (N, n, cells)
        first = torch.where(stands, cells, self.n**2).amin(2)
        name = F.pad(first.argsort(1).argsort(1) + 1, (1, 0))  # a blank stays a blank
        return name.gather(1, boards)

    def kind(self, grids):
        """
        A number (N, 1) for each grid (N, cells) that no symmetry changes: other names for the
        digits, rows in another order within a band, bands in another order, the same for columns
        and stacks, and, where boxes are square, the board turned over. So grids that are
        essentially the same have the same number (few others do).

        The way from a row to another is a permutation of the digits: what stands above goes to what
        stands below. The lengths of its cycles know nothing of names or of the order of columns,
        and sums nothing of the order of rows.
        """
        n, height, width = self.n, self.rows, self.columns
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
        """
        (N, n, n): the cycle lengths of the permutation from each row of the board (N, n, n) to
        each, as a number.
        """
        n = self.n
        place = board.argsort(2)  # [., row, digit]: in which column it stands
        to_rows, from_rows = board[:, None].expand(-1, n, -1, -1), place[:, :, None]
        step = to_rows.gather(3, from_rows.expand(-1, -1, n, -1))
        digits, lengths = torch.arange(n), torch.zeros_like(step)
        now = step
        for length in range(1, n + 1):
            lengths = torch.where((now == digits) & (lengths == 0), length, lengths)
            now = step.gather(3, now)
        return scramble(lengths).sum(3)

    def search(self, boards, lots, orders, most):
        """
        Solve boards (N, cells) by singles, and by trying digits where singles end: each digit that
        fits a blank with the fewest candidates, depth first. Among several such blanks the one with
        the least lot is taken, `lots` (N, cells) in 0 .. 1, and digits are tried in the order that
        `orders` (N, n), permutations of 0 .. n - 1, have from behind. Returns the solutions found
        (N,), at most so many as `most`; one of them (N, cells); and the digits tried (N,).
        """
        count, found = torch.zeros(len(boards), dtype=torch.long), torch.zeros_like(boards)
        visits = torch.zeros_like(count)
        # what is still to be tried, of each board the newest first; bytes are copied fastest
        stack, owner = boards.byte(), torch.arange(len(boards))
        while len(stack):
            newest = torch.full_like(count, -1)
            newest = newest.scatter_reduce(0, owner, torch.arange(len(stack)), "amax")
            newest = newest[newest >= 0]
            now, of = self.propagate(stack[newest].long())[0], owner[newest]
            visits[of] += 1
            solved = self.solved(now)
            found[of[solved]] = now[solved]
            count[of[solved]] += 1
            left = count[owner] < most
            left[newest] = False
            open_ = ~(solved | self.broken(now))
            now, of = now[open_], of[open_]
            fits = self.candidates(now)
            choices = (self.size[fits].T + lots[of]).masked_fill(now > 0, torch.inf)
            cell = choices.argmin(1)
            fits = self.digits_in(fits[cell, range(len(cell))])  # (.., n)
            row, place = fits.gather(1, orders[of]).nonzero().T
            more = now[row].byte()
            more[range(len(row)), cell[row]] = (orders[of[row], place] + 1).byte()
            stack, owner = torch.cat((stack[left], more)), torch.cat((owner[left], of[row]))
        return count, found, visits - 1

    def solutions(self, boards, most=2):
        """
        How many solutions each board (N, cells) has, up to `most`, which stands for more, too; and
        one of them (N, cells).
        """
        lots = torch.zeros(1).expand(boards.shape)
        orders = torch.arange(self.n).expand(len(boards), -1)
        count, found, _ = self.search(boards, lots, orders, most)
        return count, found

    def guesses(self, boards, orders=4):
        """
        How many digits a solver has to try until each board (N, cells) is full, (N,) float.

        The solver fills in singles. Where they end, it takes a blank with the fewest candidates and
        tries each of them, depth first. A lot decides which of several such blanks it takes, and in
        which order it tries digits; the number is the mean over some lots. They are the same for
        all boards, so the number is a property of the board. It is 0 where singles are enough.
        """
        tried = torch.zeros(len(boards))
        for order in range(orders):
            generator = torch.Generator().manual_seed(order)
            lots = torch.rand(self.n**2, generator=generator).expand(boards.shape)
            digits = torch.randperm(self.n, generator=generator).expand(len(boards), -1)
            tried += self.search(boards, lots, digits, most=1)[2]
        return tried / orders


def load_bank(boards, puzzles, search, folder, salt, minimal=0.0, tries=1):
    """{split: {"puzzle", "grid" (N, cells), "difficulty" (N,)}}, from the folder if it is there."""
    box = f"{boards.rows}x{boards.columns}"
    # the salt itself may be unfit for a file's name
    suffix = f"-{salted(0, salt):x}" if salt else ""
    kind = "-search" if search else ""
    kind += f"-minimal{minimal:g}" if minimal else ""
    kind += f"-tries{tries}" if tries > 1 else ""
    path = folder / f"sudoku-{box}-{puzzles}{kind}-by-kind{suffix}.pt"
    # whatever a missing, foreign or damaged file raises: make the bank again
    with suppress(Exception):
        return load_tensors(path)
    bank = make_bank(boards, puzzles, search, salt, minimal, tries)
    unfinished = path.with_suffix(f".{os.getpid()}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(bank, unfinished)
        os.replace(unfinished, path)
    except (OSError, RuntimeError) as error:  # PyTorch reports a full disk as a RuntimeError
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        reason = str(error).splitlines()[0]
        print(f"note: these puzzles cannot be kept in --banks {folder}: {reason}", file=sys.stderr)
    return bank


def make_bank(boards, puzzles, search, salt, minimal=0.0, tries=1):
    generator = torch.Generator().manual_seed(salted(0, salt))  # the bank is the same for all seeds
    n, threads, first = boards.n, torch.get_num_threads(), round(minimal * puzzles)
    # several gain little, and on a busy machine they cost up to twenty times the time
    torch.set_num_threads(1)
    text = f"making {puzzles} {n}x{n} puzzles"
    with tqdm(total=tries * n * n + 1, desc=text, leave=False, disable=None) as bar:
        grid = boards.fill(puzzles, generator)
        bar.update()
        puzzle = boards.dig(grid, generator, bar, search, first)
        if tries > 1:
            most = boards.guesses(boards.in_order(puzzle[:first]))
        for _ in range(tries - 1):
            other = boards.dig(grid[:first], generator, bar, search, first)
            guesses = boards.guesses(boards.in_order(other))
            harder = guesses > most
            puzzle[:first][harder] = other[harder]
            most = torch.maximum(most, guesses)
        difficulty = boards.difficulty(puzzle, graded=minimal > 0)
    torch.set_num_threads(threads)
    everything = {"puzzle": puzzle, "grid": grid, "difficulty": difficulty}
    if n == 4:
        kind = boards.relabelled(grid)
    else:
        kind = torch.cat([boards.kind(part) for part in grid.split(10_000)])
    bank = {}
    for split in SPLITS:
        rows = in_split(kind, split, salt)
        bank[split] = {name: values[rows] for name, values in everything.items()}
        if not rows.any():  # there are few kinds of 4x4
            raise ValueError(
                f"no {split} puzzle among {puzzles}: choose another salt, a larger box or more "
                "puzzles"
            )
    return bank


def bank_from_file(boards, path, first=0):
    """
    The puzzles of a file, or the first of them, as every split, in its order; the line of each;
    what was skipped, since a puzzle has exactly one solution, "line 3: no solution"; and the rating
    of each, a text.
    """
    puzzles, given, lines, skipped, ratings = read_puzzles(path, first)
    if puzzles.shape[1] != boards.n**2:
        box = f"{boards.rows}x{boards.columns}"
        raise ValueError(
            f"{path} holds boards of {puzzles.shape[1]} cells; box={box} has {boards.n**2}"
        )
    # in parts, because `solutions` copies those that are left again and again
    parts = [boards.solutions(part) for part in puzzles.split(10_000)]
    count, solutions = map(torch.cat, zip(*parts))
    for line, number, solution, expected in zip(lines, count.tolist(), solutions, given):
        if number != 1:
            skipped.append(f"line {line}: {('no solution', '', 'two solutions or more')[number]}")
        elif expected.any() and not torch.equal(expected, solution):
            skipped.append(f"line {line}: the solution given is wrong")
    skipped.sort(key=line_of)
    right = (count == 1) & ((given == 0).all(1) | (given == solutions).all(1))
    if not right.any():
        raise ValueError(f"{path} holds no puzzle; {skipped[0]}")
    lines, ratings = list(compress(lines, right)), list(compress(ratings, right))
    puzzles, solutions = puzzles[right], solutions[right]
    part = dict(puzzle=puzzles, grid=solutions, difficulty=boards.difficulty(puzzles))
    return dict.fromkeys(SPLITS, part), lines, skipped, ratings
