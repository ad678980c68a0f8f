"""
Sudoku as a task: one round of logic on whole batches of boards, a generator of puzzles, and the files people have.
"""

import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional as F
from tqdm import tqdm

from checks import load_tensors
from tasks import IGNORE, SPLITS, TASKS, Batch, Task, in_split


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
    n! boards of each. A grid's split is a hash of the grid relabelled to begin 1, 2, 3..., so no relabelling leaves its
    split.
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
        axes = torch.tensor(self.coordinates).T  # (3, cells)
        self.units = torch.stack([axis == i for axis in axes for i in range(n)]).float()  # (3n, cells)
        self.bank = self.file_bank(self.file) if self.file else self.load_bank(Path(self.banks))
        self.max_difficulty = int(self.bank["train"]["difficulty"].max())

    # ---- one round of logic, on whole batches of boards (N, cells) with 0 for blanks

    def candidates(self, boards):
        """(N, cells, n) bool: the digits that a blank's row, column and box leave it."""
        placed = F.one_hot(boards, self.n + 1)[..., 1:].float()
        seen = self.units.T @ (self.units @ placed) > 0  # does a cell that shares a unit hold this digit?
        return ~seen & (boards == 0)[..., None]

    def deduce(self, boards):
        """Fill in all cells that only one digit fits (naked singles) and all digits that only fit one cell (hidden)."""
        fits = self.candidates(boards)
        only_cell = (self.units @ fits.float() == 1).float()  # (N, units, n)
        single = fits & ((self.units.T @ only_cell > 0) | (fits.sum(2, keepdim=True) == 1))
        return torch.where(single.any(2), single.int().argmax(2) + 1, boards)

    def propagate(self, boards):
        """Deduce until nothing moves; returns the boards and the rounds (N,) that changed them."""
        rounds = torch.zeros(len(boards), dtype=torch.long, device=boards.device)
        moving = torch.arange(len(boards), device=boards.device)
        boards = boards.clone()
        while len(moving):
            after = self.deduce(boards[moving])
            moved = (after != boards[moving]).any(1)
            moving = moving[moved]
            boards[moving] = after[moved]
            rounds[moving] += 1
        return boards, rounds

    def broken(self, boards):
        """(N,) bool: a digit stands twice in a unit, or has no place left there, or a blank has no digit left."""
        placed = self.units @ F.one_hot(boards, self.n + 1)[..., 1:].float()  # (N, units, n)
        fits = self.candidates(boards)
        nowhere = placed + self.units @ fits.float() == 0
        return (placed > 1).any((1, 2)) | nowhere.any((1, 2)) | ((boards == 0) & ~fits.any(2)).any(1)

    def solved(self, boards):
        """(N,) bool: is every digit exactly once in every unit?"""
        placed = self.units.to(boards.device) @ F.one_hot(boards, self.n + 1)[..., 1:].float()
        return (placed == 1).all(2).all(1)

    # ---- the bank

    def fill(self, number, generator):
        """Random full grids (number, cells): guess where few digits fit, propagate, restart the boards that break."""
        boards = torch.zeros(number, self.n**2, dtype=torch.long)
        unfinished = torch.arange(number)
        while len(unfinished):
            now = boards[unfinished]
            fits = self.candidates(now)
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
            keep[more] = self.solved(self.propagate(trial[more])[0])
            if self.search:
                left = (more & ~keep).nonzero()[:, 0]  # the boards that a contradiction may still help
                unique = torch.ones(len(left), dtype=torch.bool)
                for digit in range(1, self.n + 1):
                    other = trial[left].clone()
                    other[range(len(left)), cell[left]] = digit
                    other = self.propagate(other)[0]
                    unique &= self.broken(other) | (grids[left, cell[left]] == digit)
                keep[left] = unique
            boards = torch.where(keep[:, None], trial, boards)
        return boards

    def load_bank(self, folder):
        """{split: {"puzzle", "grid" (N, cells), "difficulty" (N,)}}, from the folder if it is there."""
        puzzles = self.puzzles
        path = folder / f"sudoku-{self.box}-{puzzles}{'-search' if self.search else ''}.pt"
        with suppress(Exception):  # whatever a missing, foreign or damaged file raises: make the bank again
            return load_tensors(path)
        generator = torch.Generator().manual_seed(0)  # the bank is the same for all seeds
        with tqdm(total=self.n**2 + 1, desc=f"making {puzzles} {self.n}x{self.n} puzzles", leave=False) as bar:
            grid = self.fill(puzzles, generator)
            bar.update()
            puzzle = self.dig(grid, generator, bar)
        everything = {"puzzle": puzzle, "grid": grid, "difficulty": self.measure(puzzle)}
        label = torch.zeros(puzzles, self.n + 1, dtype=torch.long)
        label.scatter_(1, grid[:, : self.n], torch.arange(1, self.n + 1).expand(puzzles, -1))
        canonical = label.gather(1, grid)  # the grid relabelled to begin 1, 2, 3...
        bank = {split: {k: v[in_split(canonical, split)] for k, v in everything.items()} for split in SPLITS}
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        torch.save(bank, unfinished)
        os.replace(unfinished, path)
        return bank

    def file_bank(self, path):
        """Puzzles from a file as every split; a solution that the file does not give stays unknown (blank)."""
        puzzles, solutions = read_puzzles(path)
        if puzzles.shape[1] != self.n**2:
            raise ValueError(f"{path} holds boards of {puzzles.shape[1]} cells; box={self.box} has {self.n**2}")
        if (broken := self.broken(puzzles)).any():
            raise ValueError(f"{path}: puzzle {broken.int().argmax() + 1} contradicts itself")
        if (wrong := (solutions > 0).all(1) & ~self.solved(solutions)).any():
            raise ValueError(f"{path}: the solution of puzzle {wrong.int().argmax() + 1} is none")
        return dict.fromkeys(SPLITS, dict(puzzle=puzzles, grid=solutions, difficulty=self.measure(puzzles)))

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
        return sorted(set(self.bank[split]["difficulty"].tolist()))

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


def read_puzzles(path):
    """
    Puzzles from a text file, as (puzzles, solutions), each (N, cells) int64 with 0 for what is blank or unknown.

        53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79

    One puzzle a line: 81 characters (36 and 16 for the small boards), digits, with "." or "0" for a blank; then, if
    known, its solution after a comma or a space. Text from "#" on and empty lines are skipped. ValueError names the
    line and what is wrong with it.
    """
    rows, cells = [], None
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}") from None
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split("#")[0].replace(",", " ").split()
        if not fields:
            continue
        problem = None
        cells = cells or len(fields[0])
        allowed = ".0123456789"[: 2 + math.isqrt(cells)]
        if len(fields) > 2:
            problem = f"{len(fields)} fields; expected a puzzle and at most a solution"
        elif cells not in (16, 36, 81) or any(len(field) != cells for field in fields):
            lengths = " and ".join(str(len(field)) for field in fields)
            problem = f"{lengths} characters; expected {cells if rows else '81, 36 or 16'}"
        elif foreign := set("".join(fields)) - set(allowed):
            problem = f"{min(foreign)!r} is no digit of this board; expected one of {allowed}"
        else:
            boards = [[int(c) for c in field.replace(".", "0")] for field in fields]
            puzzle, solution = boards[0], boards[1] if len(boards) == 2 else [0] * cells
            if len(boards) == 2 and any(given and given != digit for given, digit in zip(puzzle, solution)):
                problem = "the solution changes a given digit"
        if problem:
            raise ValueError(f"{path} line {number}: {problem}")
        rows.append((puzzle, solution))
    if not rows:
        raise ValueError(f"{path} holds no puzzle")
    return tuple(torch.tensor(boards) for boards in zip(*rows))


TASKS["sudoku"] = Sudoku
