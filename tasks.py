"""
What to think about: what a task is, and three of them whose answers need serial steps.

    multihop     c r2 r0 -> f       start at c, follow relation r2, then r0; where they lead has to
                                    be learned, no question tells it
    addition     36+47= -> 083      add numbers, all digits of the sum at once
    sudoku       complete a board

Every question knows its **difficulty**, the number of steps of its obvious serial solution: hops
walked, places that a carry is handed on, rounds of deduction. (A model may find a shorter way; the
analyses show if it does.) To train on difficulties up to D and to ask for more is the experiment
that the whole project is about. (Sudoku cannot make harder boards; there only the loops grow.)

A task draws questions, and computes their answers separately: `question` draws tokens, and
`answer` makes the targets from the tokens alone. (Sudoku takes both from a bank of boards.) A batch
is a pure function of the task's settings and of what it is asked for (split, step, size,
difficulty): asked again, it is the same batch.

A question belongs to one of the splits train, val and test. A hash of its tokens decides which
(support/hashing.py); of a board, a hash of the kind of its solution. The hash does not depend on
the seed, so no seed can move a test question into training. (It does depend on `salt`, a second
seed, with which a course makes hidden tests.) There are two exceptions, which are in all three
splits: the single facts of multihop, which have to be learned by heart, and boards from a file.

Three more tasks are in more_tasks/.
"""

import math
import re
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn import functional as F

from support.boards import HARDEST, LIMITS, SEARCH, Boards, bank_from_file, load_bank
from support.hashing import SPLITS, in_split, salted, stream

IGNORE = -100  # the target where no answer is asked, as in looped.py (PyTorch's ignore_index)
ANY = -1  # in place of a difficulty: any question will do


class Batch(NamedTuple):
    tokens: torch.Tensor  # (B, T) int64
    targets: torch.Tensor  # (B, T) int64, IGNORE where no answer is asked
    difficulty: torch.Tensor  # (B,) int64


@dataclass
class Task:
    """
    What all tasks share. Your own task sets vocab_size and max_difficulty in __post_init__ and
    writes `question`, `answer` and `measure`; README.md has one in 20 lines. (Or it has a bank of
    questions and writes its own `batch`, as Sudoku does.) To follow training, read these three,
    `batch` with `mixture` and `belongs`, and `check`, which tells the curriculum what is right. All
    else is for evaluation and for pictures.

    The fields of a task are flags of train.py, and the comments behind them are the help.
    Everything is drawn on the CPU, so that every device sees the same data.
    """

    _: KW_ONLY  # the fields below are given by name: MultiHop(3) means hops=3
    seed: int = 0  # of the questions, and of the facts that multihop draws once
    device: str = "cpu"  # where a batch is put
    salt: str = ""  # a second seed, which changes the splits, too: the secret of hidden tests

    # Constants: without a type they are no fields, and so no flags. A task changes what it needs.
    causal = True  # does each position see only what stands before it?
    coordinates = ()  # of boards: (row, column, box) of each cell
    unit = "steps"  # of difficulty
    # Can loops be counted from the difficulty? If not (Sudoku), train.py refuses --curriculum and
    # the samplers "blind" and "difficulty".
    counts_steps = True
    grows = True  # can `batch` make questions harder than max_difficulty?
    hardest = math.inf  # the hardest that it can make, if it grows
    splits = ("val",)  # evaluated during training
    more_splits = ()  # further names that `batch` takes, beside train, val and test

    # ---- what a task of your own has to write

    def question(self, generator, difficulty):
        """
        Tokens (B, T): one question for each difficulty (B,), drawn with the generator. Where one
        turns out to have another difficulty, `batch` draws again and fills it into the same tensor,
        so T may depend on the difficulties alone. The difficulty ANY, which only `mixture` asks
        for, means that any question will do.
        """
        raise NotImplementedError

    def answer(self, tokens):
        """The targets (B, T) of questions (B, T)."""
        raise NotImplementedError

    def measure(self, tokens):
        """The difficulty (B,) of questions (B, T)."""
        raise NotImplementedError

    # ---- what it may change

    def check(self, batch, prediction):
        """(B,) bool: is each answer in prediction (B, T) right?"""
        return ((prediction == batch.targets) | (batch.targets == IGNORE)).all(1)

    def belongs(self, tokens, split):
        """(B,) bool: which of the questions (B, T) belong to the split?"""
        return in_split(tokens, split, self.salt)

    def mixture(self, generator, size, low, high):
        """
        The difficulties (B,) of a mixed batch, between low and high. A task may write ANY for some:
        their questions are drawn at random and keep the difficulty that they happen to have, which
        may be above high.
        """
        return torch.randint(low, high + 1, (size,), generator=generator)

    def difficulties(self, split):
        """The difficulties at which a split is evaluated; by default, those of training."""
        return list(range(1, self.max_difficulty + 1))

    # ---- batches

    def batch(self, split, step, size, difficulty=None):
        """
        The Batch number `step` of a split (evaluations take number 0). `difficulty` is an int,
        which all its questions have, or (low, high), between which they are mixed (see `mixture`);
        None means all difficulties of training. A question of another split or another difficulty
        is drawn again. ValueError if none is found.
        """
        generator = self.generator(split, step)
        if isinstance(difficulty, int):
            wanted = torch.full((size,), difficulty)
        else:
            low, high = difficulty or (1, self.max_difficulty)
            wanted = self.mixture(generator, size, low, high)
        tokens = self.question(generator, wanted)
        for _ in range(2000):
            measured = self.measure(tokens)
            fits = self.belongs(tokens, split) & ((wanted == ANY) | (measured == wanted))
            if fits.all():
                return self.on_device(tokens, self.answer(tokens), measured)
            again = self.question(generator, wanted)  # for all; those that fit stay
            tokens = torch.where(fits[:, None], tokens, again)
        missing = int(wanted[~fits][0])
        raise ValueError(
            f"no {split} question of difficulty {missing} found: perhaps there are so few that "
            "none belongs to this split"
        )

    def generator(self, split, step):
        """The random numbers of one batch: they depend on seed, split, step and salt alone."""
        known = dict.fromkeys((*SPLITS, *self.splits, *self.more_splits))
        if split not in known:
            raise ValueError(f"split={split!r} is unknown; choose from {', '.join(known)}")
        return torch.Generator().manual_seed(salted(stream(self.seed, split, step), self.salt))

    def on_device(self, tokens, targets, difficulty):
        return Batch(tokens.to(self.device), targets.to(self.device), difficulty.to(self.device))

    # ---- words and pictures

    def show(self, tokens, prediction=None):
        """One question (T,), and the model's answer to it (T,) if given, for a person to read."""
        text = " ".join(self.name(token) for token in tokens.tolist())
        if prediction is None:
            return text
        return f"{text} -> {' '.join(self.name(token) for token in prediction.tolist())}"

    def name(self, token):
        """A token in print; here, its number."""
        return str(token)

    def name_of(self, difficulty):
        """A difficulty in print: "1 hop", "2 hops"."""
        unit = self.unit
        if difficulty == 1:
            unit = re.sub(r"s\b", "", unit, count=1)  # "places of carry": "place of carry"
        return f"{difficulty} {unit}"

    def truth(self, batch):
        """
        (B, T): for pictures, the right result at each position, also where training asks for none,
        such as the entity reached so far; IGNORE where there is none.
        """
        return batch.targets

    def parts(self, tokens):
        """{name: (B,) bool}: kinds of questions (B, T) whose accuracy is reported apart."""
        return {}

    # ---- only tasks of more_tasks/ change these

    def embedding(self, flags):
        """
        An nn.Module that replaces the model's embedding, or None. more_tasks/chains.py has one, for
        tokens that are made of two names.
        """
        return None

    def order(self, tokens):
        """The positions of one question (T,), in the order in which a picture shows them best."""
        return list(range(len(tokens)))

    def shortcuts(self, batch):
        """{name: prediction (B, T)} of simpler solvers. A model must beat them to show anything."""
        return {}


@dataclass
class MultiHop(Task):
    """
    Follow relations through facts that only the weights can know (Kohli 2026, arXiv 2604.07822).

        "c r2 r0 -> f"      start at c, follow r2, then follow r0: where are you?

    Each relation is a random permutation of the entities, drawn once for a seed. (Other maps would
    merge entities: after 6 such hops a third of the starts lead to one place, after 24 most do, and
    the last relations alone would give the answer away.)

    Tokens are the entities 0 .. E - 1, the relations E .. E + R - 1, and a padding behind short
    questions. The answer is read at the last relation. The difficulty is the number of hops.
    Questions of one hop are the facts themselves, so they are in every split.

    With `pause` = 2 the answer is read two places later, "c r2 r0 . . -> f". This is a control:
    the model gets more positions to think in, in place of more loops (Goyal et al. 2024).
    """

    hops: int = 6  # the most hops in training
    entities: int = 24  # entities of the world
    relations: int = 4  # relations, each a permutation of the entities
    pause: int = 0  # paddings between the question and the place where its answer is read

    unit = "hops"

    def __post_init__(self):
        if min(self.hops, self.entities, self.relations) < 1 or self.pause < 0:
            raise ValueError(
                "hops, entities and relations must be at least 1, and pause at least 0"
            )
        self.max_difficulty = self.hops
        self.pad = self.entities + self.relations
        self.vocab_size = self.pad + 1
        world = torch.Generator().manual_seed(salted(self.seed, self.salt))
        facts = [torch.randperm(self.entities, generator=world) for _ in range(self.relations)]
        self.facts = torch.stack(facts)  # (relations, entities): where each relation leads

    def question(self, generator, difficulty):
        B, T = len(difficulty), 1 + int(difficulty.max()) + self.pause
        start = torch.randint(self.entities, (B, 1), generator=generator)
        relations = torch.randint(self.relations, (B, T - 1), generator=generator) + self.entities
        beyond = torch.arange(T) > difficulty[:, None]
        return torch.cat((start, relations), dim=1).masked_fill(beyond, self.pad)

    def walk(self, tokens):
        """(B, T): the entity reached at each position of questions (B, T); padding stays there."""
        facts = self.facts.to(tokens.device)
        reached = [tokens[:, 0]]
        for relation in tokens[:, 1:].T:
            index = (relation - self.entities).clamp(max=self.relations - 1)  # padding: unused
            following = facts[index, reached[-1]]
            reached.append(torch.where(relation == self.pad, reached[-1], following))
        return torch.stack(reached, dim=1)

    def measure(self, tokens):
        return (tokens != self.pad).sum(1) - 1

    def answer(self, tokens):
        position = torch.arange(tokens.shape[1], device=tokens.device)
        last = position == self.measure(tokens)[:, None] + self.pause
        return self.walk(tokens).masked_fill(~last, IGNORE)

    def belongs(self, tokens, split):
        # in_split ignores trailing zeros: with 0 for padding, more padding changes no split
        from_1 = (tokens + 1).masked_fill(tokens == self.pad, 0)
        return in_split(from_1, split, self.salt) | (self.measure(tokens) == 1)

    def truth(self, batch):
        position = torch.arange(batch.tokens.shape[1], device=batch.tokens.device)
        end = self.measure(batch.tokens)[:, None] + self.pause
        return self.walk(batch.tokens).masked_fill((position == 0) | (position > end), IGNORE)

    def show(self, tokens, prediction=None):
        words = [self.name(token) for token in tokens.tolist() if token != self.pad]
        words += self.pause * ["."]
        if prediction is not None:
            words += ["->", self.name(int(prediction[len(words) - 1]))]
        return " ".join(words)

    def name(self, token):
        if token == self.pad:
            return "."
        if token >= self.entities:
            return f"r{token - self.entities}"
        return chr(ord("a") + token) if self.entities <= 26 else f"e{token}"


@dataclass
class Addition(Task):
    """
    Add two numbers, all digits of the sum at once, so that the loop and not the text has to move
    the carry.

        tokens     >  6 7  3 4  =      36 + 47, lowest digits first and in pairs
        targets         3    8  0      each digit of 83 at the second token of its pair, the last
                                       carry at "="; show() prints "36+47=083"

    A place decides by itself whether it hands on a carry, unless its two digits add up to nine:
    then it hands on whatever comes in from below. Call such a place a nine. The difficulty is one
    more than the longest run of nines, that is, how many places up a decision can reach: 1 if
    every place decides for itself; 4 for 9999 + 0001, where the lowest place (9 + 1) decides, and
    the three places above it are nines (9 + 0), which hand it on.

    The first token ">" says that nothing comes in. Without it, all positions of 55 + 55 would see
    nothing but fives, and attention, which averages what it sees, would give all of them the same.

    Half of a mixed batch has digits at random, where long runs are rare. The other half has a run
    planted. For difficulty 4 in numbers of 6 digits, lowest place first:

        sums of the places      3  12  9  9  9   5    a run of three nines; the 12 hands it a carry
        and mirrored           15   6  9  9  9  13    18 - s for each sum s: no carry enters

    Mirroring keeps the nines and reverses every other decision. It is done where a question has not
    got the carry that is wanted, so that one enters half of the planted runs, whatever their
    length: otherwise a model would learn to guess the carry from the length. Other nines stand
    elsewhere, not next to the run. If the difficulty
    exceeds the digits of training, the numbers have a quarter more digits than the difficulty, so
    that the run can lie in different places. Such a question is both harder and longer than those
    of training.
    """

    digits: int = 8  # digits of each number in training

    unit = "places of carry"
    EQUALS, START = 10, 11  # the tokens behind the digits 0 .. 9

    def __post_init__(self):
        if self.digits < 1:
            raise ValueError(f"digits must be at least 1, not {self.digits}")
        self.max_difficulty = self.digits
        self.vocab_size = 12

    def mixture(self, generator, size, low, high):
        planted = super().mixture(generator, size, low, high)
        at_random = torch.rand(size, generator=generator) < 0.5
        return planted.masked_fill(at_random, ANY)

    def question(self, generator, difficulty):
        B, n, hardest = len(difficulty), self.digits, int(difficulty.max())
        if hardest > n:
            n = hardest + hardest // 4
        a, b = torch.randint(10, (B, n, 2), generator=generator).unbind(2)
        planted = (difficulty != ANY)[:, None]

        # Where the run of nines stands, and whether a carry enters it. The example above has run 3,
        # wanted_carry 1, start 2 and offset -2 -1 0 1 2 3: the run is at the offsets 0 to 2.
        run = difficulty.clamp(min=1)[:, None] - 1  # (B, 1): how many nines
        wanted_carry = torch.arange(B)[:, None] % 2  # should one enter? In every other question
        room = n - run - wanted_carry  # a carry comes from a place below the run
        start = wanted_carry + (torch.rand((B, 1), generator=generator) * (room + 1)).long()
        offset = torch.arange(n) - start  # (B, n): of each place from the first nine of the run
        in_run = (offset >= 0) & (offset < run)
        beside_run = (offset == -1) | (offset == run)  # no nines here, so that the run ends

        # Other nines around it: a different share of the places in each question, larger where the
        # run is long (beside a short one they would often make a longer one, and `batch` would draw
        # again); and no nines by chance.
        share = torch.rand((B, 1), generator=generator) * run / (run + 1)
        others = (torch.rand((B, n), generator=generator) < share) & ~beside_run
        nines = planted & (in_run | others)
        by_chance = planted & ~nines & (a + b == 9)
        b = torch.where(by_chance, (b + 5) % 10, b)  # makes the sum 4 or 14
        b = torch.where(nines, 9 - a, b)

        # Mirror the question if a carry enters the run and should not, or the other way round.
        digits = torch.stack((a, b), dim=2).flatten(1)  # (B, 2 n)
        tokens = F.pad(digits, (1, 0), value=self.START)
        tokens = F.pad(tokens, (0, 1), value=self.EQUALS)
        mirrored = torch.where(tokens < 10, 9 - tokens, tokens)
        _, carry_now = self.runs(tokens)
        return torch.where(planted & (carry_now[:, None] != wanted_carry), mirrored, tokens)

    def sums(self, tokens):
        """(B, n): what the two digits of each place add up to, 0 .. 18, without a carry."""
        return tokens[:, 1:-1:2] + tokens[:, 2:-1:2]

    def runs(self, tokens):
        """
        The length (B,) of the longest run of nines, and the carry (B,), 1 or 0, that enters it and
        so leaves it, too. Of several longest runs, the one at the highest places counts. Without
        any nine, the length is 0, and the carry is the one out of the highest place.
        """
        run = longest = carry = carry_of_longest = torch.zeros_like(tokens[:, 0])
        for total in self.sums(tokens).T:
            run = torch.where(total == 9, run + 1, 0)
            carry = (total + carry) // 10
            carry_of_longest = torch.where(run >= longest, carry, carry_of_longest)
            longest = torch.maximum(longest, run)
        return longest, carry_of_longest

    def measure(self, tokens):
        longest, _ = self.runs(tokens)
        return longest + 1

    def answer(self, tokens):
        targets = torch.full_like(tokens, IGNORE)
        carry = torch.zeros_like(tokens[:, 0])
        for place, total in enumerate(self.sums(tokens).T):
            targets[:, 2 * place + 2] = (total + carry) % 10
            carry = (total + carry) // 10
        targets[:, -1] = carry
        return targets

    def belongs(self, tokens, split):
        # The lowest digits come first, so the trailing zeros that in_split ignores are the numbers'
        # leading ones. (a + b and b + a may be in different splits.)
        return in_split(tokens[:, 1:-1], split, self.salt)

    def parts(self, tokens):
        _, carried = self.runs(tokens)  # without any nine: the carry out of the highest place
        return {"a carry comes in": carried == 1, "none comes in": carried == 0}

    def show(self, tokens, prediction=None):
        def number(digits):
            return "".join(str(digit) for digit in reversed(digits))

        digits = tokens.tolist()
        text = f"{number(digits[1:-1:2])}+{number(digits[2:-1:2])}="
        if prediction is None:
            return text
        return text + number(prediction.tolist()[2:-1:2] + [int(prediction[-1])])

    def name(self, token):
        return {self.EQUALS: "=", self.START: ">"}.get(token, str(token))


@dataclass
class Sudoku(Task):
    """
    Complete a board: each row, column and box holds each digit once. Boxes of 2x2, 2x3 and 3x3
    cells make boards of 4x4, 6x6 and 9x9.

        3 . . .      3 2 4 1
        . 4 . .      1 4 2 3
        4 . 1 .      4 3 1 2
        . 1 . .      2 1 3 4

    This is a question, show(tokens), and its answer, show(tokens, prediction). The tokens are the
    cells, row by row: the digit, or 0 for a blank. This question begins 3 0 0 0 0 4. The targets
    are the digits of the blanks.

    Every puzzle has exactly one solution. The difficulty is the number of rounds of deduction. Each
    round fills in all singles at once, naked (a cell that only one digit fits) and hidden (a digit
    that fits only one cell of a row, column or box). Puzzles that singles do not solve need search
    and have the difficulty SEARCH = 32; a bank has them only with search=True.

    A puzzle is minimal if it gets a second solution as soon as any clue is taken away. Many of
    those that people publish are, and `minimal` makes a share of the bank so. Hard boards are rare
    among them as well; with `tries`, several are made of a grid, and the one of the most guesses is
    kept. In such a bank, puzzles that need search are graded by the guesses of a fixed solver, a
    mean that need not be whole (Boards.guesses): below 2 the difficulty is 32, and each doubling is
    one more: 33 from 2 on, 34 from 4, and 38 from 64 on.

    This task draws from a bank of boards, so it has no `question` and no `answer`, but a `batch` of
    its own. The bank is made once and kept in the folder `banks`, or read from a `file`. A batch
    renames the digits at random, so that each board of the bank stands for n! boards.

    Grids that are equal up to a symmetry (other names for the digits, rows or columns swapped, ..)
    are in the same split, because a model with position="grid" can hardly tell them apart. Of such
    classes of grids there are 49 on 6x6. On 4x4 there are only two, too few for three splits; there
    only grids with the same digits up to their names count as equal, so the 4x4 test says little.
    """

    box: str = "2x2"  # 2x2 | 2x3 | 3x3 for boards of 4x4, 6x6, 9x9
    puzzles: int = 10_000  # puzzles in the bank
    search: bool = False  # also puzzles that singles do not solve
    minimal: float = 0.0  # share of the puzzles dug until no clue can go (needs search)
    tries: int = 1  # minimal puzzles dug from each grid, of which the hardest is kept
    banks: str = "runs/banks"  # the folder where banks are kept
    file: str = ""  # puzzles from a file instead, as every split
    first_puzzles: int = 0  # only so many of the file (0: all)

    causal = False
    grows = False
    counts_steps = False
    unit = "rounds of singles"

    def __post_init__(self):
        if self.puzzles < 50:
            raise ValueError(
                f"puzzles must be at least 50, not {self.puzzles}: each split needs some"
            )
        if not 0 <= self.minimal <= 1 or (self.minimal and not self.search):
            raise ValueError(f"minimal={self.minimal} must be 0 to 1, and above 0 it needs search")
        if self.tries < 1 or (self.tries > 1 and not self.minimal):
            raise ValueError(f"tries={self.tries} must be at least 1, and above 1 it needs minimal")
        self.boards = Boards(self.box)
        self.n, self.coordinates = self.boards.n, self.boards.coordinates
        self.vocab_size = self.n + 1

    @property
    def graded(self):
        """Do the guesses grade the puzzles that need search?"""
        return self.minimal > 0 and not self.file

    @cached_property
    def bank(self):
        """
        {split: {"puzzle" and "grid" (N, cells), "difficulty" (N,)}}. It is made when a batch is
        first asked for, so that a trained model is loaded without it.
        """
        if self.file:  # `analyze.py solve` tells the rest
            read = bank_from_file(self.boards, self.file, self.first_puzzles)
            bank, self.lines, self.skipped, self.ratings = read
            return bank
        where = dict(folder=Path(self.banks), salt=self.salt)
        harder = dict(minimal=self.minimal, tries=self.tries)
        return load_bank(self.boards, self.puzzles, self.search, **where, **harder)

    @cached_property
    def max_difficulty(self):
        return int(self.bank["train"]["difficulty"].max())

    def batch(self, split, step, size, difficulty=None):
        generator, bank = self.generator(split, step), self.bank[split]
        if isinstance(difficulty, int):
            low = high = difficulty
        else:
            low, high = difficulty or (0, HARDEST)
        fits = (bank["difficulty"] >= low) & (bank["difficulty"] <= high)
        rows = fits.nonzero()[:, 0]
        if not len(rows):
            have = ", ".join(str(each) for each in bank["difficulty"].unique().tolist())
            raise ValueError(f"no {split} puzzle has difficulty {low}..{high}; there are {have}")
        rows = rows[torch.randint(len(rows), (size,), generator=generator)]
        names = torch.rand((size, self.n), generator=generator).argsort(1) + 1
        names = F.pad(names, (1, 0))  # a new name for each digit; a blank stays a blank
        tokens = names.gather(1, bank["puzzle"][rows])
        grid = names.gather(1, bank["grid"][rows])
        targets = grid.masked_fill(tokens > 0, IGNORE)
        return self.on_device(tokens, targets, bank["difficulty"][rows])

    def measure(self, tokens):
        return self.boards.difficulty(tokens, self.graded)

    def check(self, batch, prediction):
        """An answer is right if it is a valid board; the targets are not looked at."""
        return self.boards.solved(torch.where(batch.tokens > 0, batch.tokens, prediction))

    def difficulties(self, split):
        """
        Those with at least 20 puzzles in the split: an accuracy over fewer says little. (If none
        has 20, those with the most.)
        """
        values, counts = self.bank[split]["difficulty"].unique(return_counts=True)
        return values[counts >= min(20, counts.max())].tolist()

    def name_of(self, difficulty):
        if difficulty < SEARCH:
            return super().name_of(difficulty)
        if not self.graded:
            return "search"
        if difficulty == HARDEST:
            return f"search, {LIMITS[-1]} guesses or more"
        low, high = list(pairwise((1, *LIMITS)))[difficulty - SEARCH]
        return f"search, {low} to {high} guesses"

    def truth(self, batch):
        return torch.where(batch.tokens > 0, batch.tokens, batch.targets)

    def show(self, tokens, prediction=None):
        if prediction is not None:
            tokens = torch.where(tokens > 0, tokens, prediction)
        rows = tokens.view(self.n, self.n).tolist()
        return "\n".join(" ".join(self.name(token) for token in row) for row in rows)

    def name(self, token):
        return str(token or ".")


TASKS = {"multihop": MultiHop, "addition": Addition, "sudoku": Sudoku}  # more in more_tasks/
