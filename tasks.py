"""
What to think about: five generated tasks whose answers need serial steps.

Every example knows its **difficulty**, the steps of its obvious serial solution: hops walked, places a carry travels,
rounds of constraint propagation. (A model may find a shortcut; the analyses show it.) Training on difficulty <= D and
asking for more is the experiment that the whole project is about.

A task writes questions and, separately, answers them: `question` draws tokens without looking at any answer, `answer`
computes the targets from the tokens alone. A batch is a pure function of (seed, split, step), and a question belongs
to exactly one of the splits train, val and test, whatever the seed. Nothing here knows the model.
"""

import hashlib
import math
import os
import re
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn import functional as F
from tqdm import tqdm

SPLITS = {"train": (0, 1, 2, 3, 4, 5, 6, 7), "val": (8,), "test": (9,)}  # tenths of all questions
IGNORE = -100  # the target where no answer is asked (PyTorch's ignore_index)


class Batch(NamedTuple):
    tokens: torch.Tensor  # (B, T) int64
    targets: torch.Tensor  # (B, T) int64, IGNORE where no answer is asked
    difficulty: torch.Tensor  # (B,) int64


def tenth(rows):
    """Hash each row of integers (N, T) to 0..9. Zeros do not count: padding with them changes nothing."""
    # of the 12 kinds of 4x4 Sudoku grids, the seed 10 gives each split two or more
    generator = torch.Generator().manual_seed(10)
    weights = torch.randint(2**62, (rows.shape[1],), generator=generator)
    x = (rows * weights).sum(1)  # wraps around modulo 2**64
    x = (x ^ (x >> 31)) * 0x5851F42D4C957F2D
    return ((x ^ (x >> 33)) & 0x7FFFFFFF) % 10


def in_split(rows, split):
    """(N,) bool: which rows of integers (N, T) belong to the split."""
    return torch.isin(tenth(rows), torch.tensor(SPLITS[split]))


def stream(*names):
    """A seed for the random numbers of one purpose: stream(0, "train", 17). No purpose shifts another's numbers."""
    return int.from_bytes(hashlib.sha256(repr(names).encode()).digest()[:7], "little")


class Task:
    """
    What the tasks share. Your own task sets vocab_size, block_size and max_difficulty and writes question(), answer()
    and measure(); the README does it in 20 lines. All is drawn on the CPU, so that every device sees the same data.
    """

    causal = True  # does each position see only what stands before it?
    coordinates = ()  # of boards: (row, column, box) of each cell
    grows = True  # can batch() ask for more than max_difficulty?
    unit = "steps"  # of difficulty
    splits = ("val",)  # what training reports

    def __init__(self, seed=0, device="cpu"):
        self.seed, self.device = seed, device

    def question(self, generator, difficulty):
        """Tokens (B, T): a question of each difficulty (B,)."""
        raise NotImplementedError

    def answer(self, tokens):
        """Targets (B, T) of the questions (B, T)."""
        raise NotImplementedError

    def measure(self, tokens):
        """Difficulty (B,) of the questions (B, T)."""
        raise NotImplementedError

    def belongs(self, tokens, split):
        """(B,) bool: which of the questions (B, T) belong to the split."""
        return in_split(tokens, split)

    def mixture(self, generator, size, low, high):
        """The difficulties (B,) of a mixed batch; -1 leaves one to chance."""
        return torch.randint(low, high + 1, (size,), generator=generator)

    def generator(self, split, step):
        """The random numbers of one batch: nothing drawn before or elsewhere can change them."""
        known = dict.fromkeys((*SPLITS, *self.splits))
        if split not in known:
            raise ValueError(f"split={split!r} is unknown; choose from {', '.join(known)}")
        return torch.Generator().manual_seed(stream(self.seed, split, step))

    def batch(self, split, step, size, difficulty=None):
        """
        The step-th Batch of a split: of exactly this difficulty (int), of the task's mixture from (low, high), or of
        its mixture up to max_difficulty (None). ValueError if the split has no such question.
        """
        generator = self.generator(split, step)
        if isinstance(difficulty, int):
            wanted = torch.full((size,), difficulty)
        else:
            wanted = self.mixture(generator, size, *(difficulty or (1, self.max_difficulty)))
        tokens = self.question(generator, wanted)
        for _ in range(2000):
            measured = self.measure(tokens)
            fits = self.belongs(tokens, split) & ((wanted < 0) | (measured == wanted))
            if fits.all():
                return Batch(*(part.to(self.device) for part in (tokens, self.answer(tokens), measured)))
            tokens = torch.where(fits[:, None], tokens, self.question(generator, wanted))  # draw the others again
        raise ValueError(
            f"no {split} question of difficulty {wanted[~fits][0]} found: too few questions are that short"
        )

    def difficulties(self, split):
        """The difficulties that training asks for, as far as the split has them."""
        return list(range(1, self.max_difficulty + 1))

    def check(self, batch, prediction):
        """(B,) bool: is each answer in prediction (B, T) right?"""
        return ((prediction == batch.targets) | (batch.targets == IGNORE)).all(1)

    def name_of(self, difficulty):
        """A difficulty in words."""
        unit = re.sub(r"s\b", "", self.unit, count=1) if difficulty == 1 else self.unit
        return f"{difficulty} {unit}"

    def truth(self, batch):
        """(B, T): what a perfect thinker has in mind at each position, IGNORE where that has no meaning."""
        return batch.targets

    def show(self, tokens, prediction=None):
        """One question (T,), and the model's answer to it (T,) if given, as a line that a person can read."""
        raise NotImplementedError


class MultiHop(Task):
    """
    Follow relations through facts that only the weights can know (Kohli et al. 2026).

        "c r2 r0 -> f"      from c along r2, from there along r0: where are you?

    Each relation is a fixed random permutation of the entities; without that, the last relations alone would give the
    answer away. Tokens: entities 0..E-1, relations E..E+R-1, and a pad behind short questions. The answer is read at
    the last relation. Difficulty: hops. One-hop questions are the facts themselves, so they are in every split.

    With `pause` = 2 the answer is read two pads later, "c r2 r0 . . -> f": more positions to think in instead of more
    loops (Goyal et al. 2024), a control.
    """

    unit = "hops"

    def __init__(self, hops=6, entities=24, relations=4, pause=0, **rest):
        super().__init__(**rest)
        if min(hops, entities, relations) < 1 or pause < 0:
            raise ValueError("multihop needs at least one hop, one entity and one relation, and no negative pause")
        self.max_difficulty, self.entities, self.relations, self.pause = hops, entities, relations, pause
        self.pad = entities + relations
        self.vocab_size, self.block_size = self.pad + 1, hops + 1 + pause
        world = torch.Generator().manual_seed(self.seed)
        self.facts = torch.stack([torch.randperm(entities, generator=world) for _ in range(relations)])

    def question(self, generator, difficulty):
        B, T = len(difficulty), int(difficulty.max()) + 1 + self.pause
        start = torch.randint(self.entities, (B, 1), generator=generator)
        hops = torch.randint(self.relations, (B, T - 1), generator=generator) + self.entities
        beyond = torch.arange(T) > difficulty[:, None]
        return torch.cat((start, hops), dim=1).masked_fill(beyond, self.pad)

    def walk(self, tokens):
        """(B, T): the entity reached at each position of the questions (B, T); it stays where it is on padding."""
        place, facts = [tokens[:, 0]], self.facts.to(tokens.device)
        for relation in tokens[:, 1:].T:
            hop = facts[(relation - self.entities).clamp(max=self.relations - 1), place[-1]]
            place.append(torch.where(relation == self.pad, place[-1], hop))
        return torch.stack(place, dim=1)

    def truth(self, batch):
        place = torch.arange(batch.tokens.shape[1], device=batch.tokens.device)
        unasked = (place == 0) | (place > self.measure(batch.tokens)[:, None] + self.pause)
        return self.walk(batch.tokens).masked_fill(unasked, IGNORE)

    def measure(self, tokens):
        return (tokens != self.pad).sum(1) - 1

    def answer(self, tokens):
        last = torch.arange(tokens.shape[1], device=tokens.device) == self.measure(tokens)[:, None] + self.pause
        return self.walk(tokens).masked_fill(~last, IGNORE)

    def belongs(self, tokens, split):
        return in_split((tokens + 1).masked_fill(tokens == self.pad, 0), split) | (self.measure(tokens) == 1)

    def show(self, tokens, prediction=None):
        words = [self.name(token) for token in tokens.tolist() if token != self.pad]
        words += self.pause * ["."]
        answer = [] if prediction is None else ["->", self.name(int(prediction[len(words) - 1]))]
        return " ".join(words + answer)

    def name(self, token):
        if token >= self.entities:
            return "." if token == self.pad else f"r{token - self.entities}"
        return chr(ord("a") + token) if self.entities <= 26 else f"e{token}"


class Composition(MultiHop):
    """
    The world of grokking: two hops from a finite list, and facts that are trained but never composed (Wang et al.
    2024, Kohli et al. 2026).

        "e7 r2 . -> e40"      a fact
        "e7 r2 r0 -> e3"      a composition of two facts

    Each relation leads from each entity to a random one. A share of the facts is `alone`: training shows them, but no
    composition with one of them. A hash divides the compositions of the others into train, of which a share `composed`
    is shown, val and test; those two ask for generalisation in distribution (ID). The split "alone" holds the
    compositions of two alone facts, which ask for systematic generalisation (OOD). Every fact is in all the others.
    """

    grows = False
    splits = ("train", "val", "alone")  # what training reports

    def __init__(self, entities=64, relations=10, alone=0.1, composed=1.0, **rest):
        super().__init__(hops=2, entities=entities, relations=relations, **rest)
        if not 0 < alone < 1 or not 0 < composed <= 1:
            raise ValueError(f"alone={alone} and composed={composed} are shares: over 0, at most 1, alone less than 1")
        world = torch.Generator().manual_seed(stream(self.seed, "world"))
        self.facts = torch.randint(entities, (relations, entities), generator=world)
        is_alone = torch.rand(relations, entities, generator=world) < alone
        start, first, second = torch.cartesian_prod(*map(torch.arange, (entities, relations, relations))).T
        tokens = torch.stack((start, entities + first, entities + second), dim=1)
        facts = tokens[second == 0].index_fill(1, torch.tensor(2), self.pad)
        parts = torch.stack((is_alone[first, start], is_alone[second, self.facts[first, start]]))
        self.listed = {(split, 1): facts for split in SPLITS}
        self.listed |= {(split, 2): tokens[~parts.any(0) & self.belongs(tokens, split)] for split in SPLITS}
        self.listed["alone", 2] = tokens[parts.all(0)]
        shown = torch.rand(len(self.listed["train", 2]), generator=world) < composed
        self.listed["train", 2] = self.listed["train", 2][shown]
        if empty := [split for (split, _), listed in self.listed.items() if not len(listed)]:
            raise ValueError(f"no {empty[0]} questions in a world of {entities} entities and {relations} relations")

    def batch(self, split, step, size, difficulty=None):
        """Without repetition as long as the list lasts. A mixture is uniform over all facts and compositions."""
        generator = self.generator(split, step)
        low, high = (difficulty, difficulty) if isinstance(difficulty, int) else difficulty or (1, 2)
        listed = torch.cat([self.listed.get((split, hops), self.facts[:0, :3]) for hops in range(low, high + 1)])
        if not len(listed):
            raise ValueError(f"no {split} question of difficulty {difficulty} in this world")
        order = torch.randperm(len(listed), generator=generator)
        tokens = listed[order.repeat(-(-size // len(order)))[:size]]
        return Batch(*(part.to(self.device) for part in (tokens, self.answer(tokens), self.measure(tokens))))

    def difficulties(self, split):
        return [2] if split == "alone" else [1, 2]


class PHop(Task):
    """
    p-hop induction in context, nothing to memorise (Sanford et al. 2024, Saunshi et al. 2025).

        ">>|badcabdc" -> "d"    the last letter is c; hop 1: behind the previous c stands a; hop 2: behind the previous
                                a stands d. A letter that never came before stays where it is.

    One ">" for each hop, a bar, and random letters up to the width of the longest question of the batch. Tokens:
    letters 0..A-1, ">" is A, the bar A + 1. The p-hop of every letter is a target; check() grades the last.
    Difficulty: p.
    """

    unit = "hops"

    def __init__(self, hops=4, length=32, alphabet=4, **rest):
        super().__init__(**rest)
        if min(hops, length, alphabet) < 1:
            raise ValueError("phop needs at least one hop, one position and one letter")
        if hops > length:
            raise ValueError(f"hops={hops} cannot be walked in a text of length={length}")
        self.max_difficulty, self.length, self.alphabet = hops, length, alphabet
        self.vocab_size, self.block_size = alphabet + 2, hops + 1 + length

    def question(self, generator, difficulty):
        T = max(self.max_difficulty, int(difficulty.max())) + 1 + self.length
        text = torch.randint(self.alphabet, (len(difficulty), T), generator=generator)
        place, bar = torch.arange(T), difficulty[:, None]
        return text.masked_fill(place < bar, self.alphabet).masked_fill(place == bar, self.alphabet + 1)

    def measure(self, tokens):
        return (tokens == self.alphabet).sum(1)

    def hop(self, tokens):
        """(B, T): for each letter, the place behind the previous occurrence of that letter, or else its own place."""
        here = torch.arange(tokens.shape[1], device=tokens.device)
        before = F.pad(tokens[:, :-1], (1, 0), value=-1)
        behind = (tokens[:, :, None] == before[:, None]) & (
            here <= here[:, None]
        )  # [b, i, j]: i's letter stands before j
        return torch.where(behind, here, -1).amax(2).where(behind.any(2), here)

    def answer(self, tokens):
        hop, place = self.hop(tokens), torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        p = self.measure(tokens)
        for step in range(int(p.max())):
            place = torch.where((step < p)[:, None], hop.gather(1, place), place)
        return tokens.gather(1, place).masked_fill(tokens >= self.alphabet, IGNORE)

    def check(self, batch, prediction):
        return prediction[:, -1] == batch.targets[:, -1]

    def show(self, tokens, prediction=None):
        text = "".join(self.name(token) for token in tokens.tolist())
        return text if prediction is None else f"{text} -> {self.name(int(prediction[-1]))}"

    def name(self, token):
        return chr(ord("a") + token) if token < self.alphabet else ">|"[token - self.alphabet]


class Addition(Task):
    """
    Add two numbers, all digits of the sum at once, so that the loop and not the text has to move the carry.

        "6 7 3 4 ="     36 + 47, lowest digits first and in pairs; the digits of 83 are read behind each pair and the
          3   8 0       last carry at "="; show() prints "36+47=083"

    Difficulty: the longest way that one carry travels, in places: 0 without a carry, n for 99..9 + 1. Half of a mixed
    batch is uniform over numbers (long carries are rare there), half has one of a uniform length planted.
    """

    unit = "places of carry"

    def __init__(self, digits=8, **rest):
        super().__init__(**rest)
        if digits < 1:
            raise ValueError(f"digits must be at least 1, not {digits}")
        self.max_difficulty = self.digits = digits
        self.vocab_size, self.block_size = 11, 2 * digits + 1

    def mixture(self, generator, size, low, high):
        planted = super().mixture(generator, size, low, high)
        natural = torch.rand(size, generator=generator) < 0.5
        return planted.masked_fill(natural, -1)

    def question(self, generator, difficulty):
        B, n = len(difficulty), max(self.digits, int(difficulty.max()))
        a, b = torch.randint(10, (2, B, n), generator=generator)
        u, v = torch.rand((2, B, n), generator=generator)
        place, planted = torch.arange(n), (difficulty >= 0)[:, None]
        start = (torch.rand(B, generator=generator) * (n - difficulty + 1)).long()[:, None]
        end = start + difficulty[:, None]
        # plant: a carry is born at `start` by a sum over 9, sums of 9 hand it on, and at `end` it dies
        born = planted & (place == start) & (place < end)
        hands_on = planted & (place > start) & (place < end)
        alone = torch.rand((B, 1), generator=generator) < 0.5  # half the time no other carry
        dies = planted & ~born & ~hands_on & (alone | (place == end))
        a = torch.where(born, 1 + (9 * u).long(), torch.where(dies, (9 * u).long(), a))
        b = torch.where(
            born, 9 - (a * v).long(), torch.where(hands_on, 9 - a, torch.where(dies, ((9 - a) * v).long(), b))
        )
        return torch.cat((torch.stack((a, b), dim=2).flatten(1), torch.full_like(a[:, :1], 10)), dim=1)

    def sums(self, tokens):
        """(B, n): what the two digits of each place add up to, 0..18, without carry."""
        return tokens[:, 0:-1:2] + tokens[:, 1::2]

    def measure(self, tokens):
        travelled = longest = torch.zeros_like(tokens[:, 0])
        for total in self.sums(tokens).T:
            travelled = torch.where(total > 9, 1, torch.where((total == 9) & (travelled > 0), travelled + 1, 0))
            longest = torch.maximum(longest, travelled)
        return longest

    def answer(self, tokens):
        targets = torch.full_like(tokens, IGNORE)
        carry = torch.zeros_like(tokens[:, 0])
        for place, total in enumerate(self.sums(tokens).T):
            targets[:, 2 * place + 1] = (total + carry) % 10
            carry = (total + carry) // 10
        targets[:, -1] = carry
        return targets

    def belongs(self, tokens, split):
        return in_split(tokens[:, :-1], split)  # without "=": leading zeros do not make another question

    def show(self, tokens, prediction=None):
        def number(digits):
            return "".join(map(str, reversed(digits)))

        digits = tokens.tolist()
        text = f"{number(digits[0:-1:2])}+{number(digits[1::2])}="
        return text if prediction is None else text + number([*prediction.tolist()[1::2], int(prediction[-1])])

    def name(self, token):
        return "=" if token == 10 else str(token)


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

    Boards are drawn from a bank, made once and kept in `cache`; relabelling the digits makes n! boards of each. A
    grid's split is a hash of the grid relabelled to begin 1, 2, 3..., so no relabelling leaves its split.
    """

    causal, grows, unit = False, False, "rounds of singles"
    SEARCH = 32

    def __init__(self, box="2x2", puzzles=10_000, search=False, cache="runs/banks", file=None, **rest):
        super().__init__(**rest)
        if puzzles < 50:
            raise ValueError(f"puzzles must be at least 50, so that every split has some, not {puzzles}")
        if box not in ("2x2", "2x3", "3x3"):
            raise ValueError(f"box={box!r} is unknown; choose from 2x2, 2x3, 3x3")
        self.box, self.search = box, search
        rows, columns = map(int, box.split("x"))
        n = self.n = rows * columns
        self.vocab_size, self.block_size = n + 1, n * n
        where = [(cell // n, cell % n) for cell in range(n * n)]
        self.coordinates = tuple((r, c, r // rows * rows + c // columns) for r, c in where)
        axes = torch.tensor(self.coordinates).T  # (3, cells)
        self.units = torch.stack([axis == i for axis in axes for i in range(n)]).float()  # (3n, cells)
        self.bank = self.file_bank(file) if file else self.load_bank(Path(cache), puzzles)
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
                asked = (more & ~keep).nonzero()[:, 0]
                unique = torch.ones(len(asked), dtype=torch.bool)
                for digit in range(1, self.n + 1):
                    other = trial[asked].clone()
                    other[range(len(asked)), cell[asked]] = digit
                    other = self.propagate(other)[0]
                    unique &= self.broken(other) | (grids[asked, cell[asked]] == digit)
                keep[asked] = unique
            boards = torch.where(keep[:, None], trial, boards)
        return boards

    def load_bank(self, cache, puzzles):
        """{split: {"puzzle", "grid" (N, cells), "difficulty" (N,)}}, from the cache if it is there."""
        path = cache / f"sudoku-{self.box}-{puzzles}{'-search' if self.search else ''}.pt"
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
        cache.mkdir(parents=True, exist_ok=True)
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


def load_tensors(path, device="cpu"):
    """What torch.save wrote; ValueError if its checksums, which PyTorch ignores, are wrong. Executes nothing."""
    if zipfile.ZipFile(path).testzip():
        raise ValueError(f"{path} is damaged")
    return torch.load(path, map_location=device, weights_only=True)


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


TASKS = {"multihop": MultiHop, "composition": Composition, "phop": PHop, "addition": Addition, "sudoku": Sudoku}
