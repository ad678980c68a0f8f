"""
What to think about: what a task is, and four generated ones whose answers need serial steps (sudoku.py has a fifth).

Every example knows its **difficulty**, the steps of its obvious serial solution: hops walked, places a carry travels,
rounds of constraint propagation. (A model may find a shortcut; the analyses show it.) Training on difficulty <= D and
asking for more is the experiment that the whole project is about.

A task writes questions and, separately, answers them: `question` draws tokens without looking at any answer, `answer`
computes the targets from the tokens alone. A batch is a pure function of (seed, split, step), and a question belongs
to exactly one of the splits train, val and test, whatever the seed. Nothing here knows the model.
"""

import hashlib
import math
import re
from dataclasses import KW_ONLY, dataclass, field
from typing import NamedTuple

import torch
from torch.nn import functional as F

SPLITS = {"train": (0, 1, 2, 3, 4, 5, 6, 7), "val": (8,), "test": (9,)}  # tenths of all questions
IGNORE = -100  # the target where no answer is asked (PyTorch's ignore_index)


class Batch(NamedTuple):
    tokens: torch.Tensor  # (B, T) int64
    targets: torch.Tensor  # (B, T) int64, IGNORE where no answer is asked
    difficulty: torch.Tensor  # (B,) int64


def tenth(rows, salt=""):
    """Hash each row of integers (N, T) to 0..9. Zeros do not count: padding with them changes nothing."""
    # of the 12 kinds of 4x4 Sudoku grids, the seed 10 gives each split two or more
    generator = torch.Generator().manual_seed(salted(10, salt))
    weights = torch.randint(2**62, (rows.shape[1],), generator=generator)
    return (scramble((rows * weights).sum(1)) & 0x7FFFFFFF) % 10  # products and sums wrap around modulo 2**64


def scramble(x):
    """Of integers, as good as random ones that are the same each time."""
    x = (x ^ (x >> 31)) * 0x5851F42D4C957F2D
    return x ^ (x >> 33)


def in_split(rows, split, salt=""):
    """(N,) bool: which rows of integers (N, T) belong to the split."""
    return torch.isin(tenth(rows, salt), torch.tensor(SPLITS[split]))


def stream(*names):
    """A seed for the random numbers of one purpose: stream(0, "train", 17). No purpose shifts another's numbers."""
    return int.from_bytes(hashlib.sha256(repr(names).encode()).digest()[:7], "little")


def salted(seed, salt):
    """A seed as another salt has it: each salt has worlds, splits and questions of its own, that of "" are as ever."""
    return stream(salt, seed) if salt else seed


@dataclass
class Task:
    """
    What the tasks share. Your own task sets vocab_size, block_size and max_difficulty and writes question(), answer()
    and measure(); the README does it in 20 lines. All is drawn on the CPU, so that every device sees the same data.
    The fields of a task are flags of train.py, and their comments the help.
    """

    _: KW_ONLY
    seed: int = 0  # of the world and of the questions drawn
    device: str = "cpu"  # where a batch is put
    salt: str = ""  # a course's hidden tests have another: other worlds, splits and questions for every seed

    causal = True  # does each position see only what stands before it?
    coordinates = ()  # of boards: (row, column, box) of each cell
    grows = True  # can batch() ask for more than max_difficulty?
    hardest = math.inf  # what it can ask for at most, if it grows
    counts_steps = True  # is difficulty a count of loops, such that a curriculum or a loop count can follow it?
    unit = "steps"  # of difficulty
    splits = ("val",)  # what training reports
    more_splits = ()  # what there is beside these and train, val and test

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
        return in_split(tokens, split, self.salt)

    def mixture(self, generator, size, low, high):
        """The difficulties (B,) of a mixed batch; -1 leaves one to chance."""
        return torch.randint(low, high + 1, (size,), generator=generator)

    def generator(self, split, step):
        """The random numbers of one batch: nothing drawn before or elsewhere can change them."""
        known = dict.fromkeys((*SPLITS, *self.splits, *self.more_splits))
        if split not in known:
            raise ValueError(f"split={split!r} is unknown; choose from {', '.join(known)}")
        return torch.Generator().manual_seed(salted(stream(self.seed, split, step), self.salt))

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

    def parts(self, tokens):
        """{name: (B,) bool}: kinds of questions (B, T) that an accuracy should be told apart for; most tasks: none."""
        return {}

    def order(self, tokens):
        """The positions of one question (T,) in the order in which a picture shows them best."""
        return list(range(len(tokens)))

    def shortcuts(self, batch):
        """{name: prediction (B, T)} of those who do less than is asked: a score near theirs shows nothing."""
        return {}

    def name_of(self, difficulty):
        """A difficulty in words."""
        unit = re.sub(r"s\b", "", self.unit, count=1) if difficulty == 1 else self.unit
        return f"{difficulty} {unit}"

    def truth(self, batch):
        """(B, T): what a perfect thinker has in mind at each position, IGNORE where that has no meaning."""
        return batch.targets

    def show(self, tokens, prediction=None):
        """One question (T,), and the model's answer to it (T,) if given, as a line that a person can read."""
        text = " ".join(map(self.name, tokens.tolist()))
        return text if prediction is None else f"{text} -> {' '.join(map(self.name, prediction.tolist()))}"

    def name(self, token):
        """What a token is called in print; here, its number."""
        return str(token)


@dataclass
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

    hops: int = 6  # the most hops in training
    entities: int = 24  # entities of the world
    relations: int = 4  # relations, each a permutation of the entities
    pause: int = 0  # pads between the question and the place where its answer is read

    unit = "hops"

    def __post_init__(self):
        if min(self.hops, self.entities, self.relations) < 1 or self.pause < 0:
            raise ValueError("multihop needs at least one hop, one entity and one relation, and no negative pause")
        self.max_difficulty = self.hops
        self.pad = self.entities + self.relations
        self.vocab_size, self.block_size = self.pad + 1, self.hops + 1 + self.pause
        world = torch.Generator().manual_seed(salted(self.seed, self.salt))
        self.facts = torch.stack([torch.randperm(self.entities, generator=world) for _ in range(self.relations)])

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
        entities_from_1 = (tokens + 1).masked_fill(tokens == self.pad, 0)  # so that zeros are padding alone
        return in_split(entities_from_1, split, self.salt) | (self.measure(tokens) == 1)

    def show(self, tokens, prediction=None):
        words = [self.name(token) for token in tokens.tolist() if token != self.pad]
        words += self.pause * ["."]
        answer = [] if prediction is None else ["->", self.name(int(prediction[len(words) - 1]))]
        return " ".join(words + answer)

    def name(self, token):
        if token >= self.entities:
            return "." if token == self.pad else f"r{token - self.entities}"
        return chr(ord("a") + token) if self.entities <= 26 else f"e{token}"


@dataclass
class Composition(MultiHop):
    """
    The world of grokking: two hops from a finite list, and facts that are trained but never composed (Wang et al.
    2024, Kohli et al. 2026).

        "e7 r2 . -> e40"      a fact
        "e7 r2 r0 -> e3"      a composition of two facts

    Each relation leads from each entity to a random one. A share of the facts is `alone`: training shows them, but no
    composition with one of them. A hash divides the compositions of the others into train, of which a share `composed`
    is shown, val and test; those two ask for generalisation in distribution (ID). The compositions of two alone facts
    ask for systematic generalisation (OOD); a hash divides them into the splits "alone", which training reports, and
    "alone_test". Every fact is in all the other splits.
    """

    entities: int = 64  # entities of the world
    relations: int = 10  # relations, each leading from each entity to a random one
    alone: float = 0.1  # the share of the facts that training never composes
    composed: float = 1.0  # the share of the training compositions that are shown
    hops: int = field(default=2, init=False)
    pause: int = field(default=0, init=False)

    grows = False
    splits = ("train", "val", "alone")  # what training reports
    more_splits = ("alone_test",)

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.alone < 1 or not 0 < self.composed <= 1:
            raise ValueError(
                f"alone={self.alone} and composed={self.composed} are shares: over 0, at most 1, alone less than 1"
            )
        entities, relations = self.entities, self.relations
        world = torch.Generator().manual_seed(salted(stream(self.seed, "world"), self.salt))
        self.facts = torch.randint(entities, (relations, entities), generator=world)
        is_alone = torch.rand(relations, entities, generator=world) < self.alone
        start, first, second = torch.cartesian_prod(*map(torch.arange, (entities, relations, relations))).T
        tokens = torch.stack((start, entities + first, entities + second), dim=1)
        facts = tokens[second == 0].index_fill(1, torch.tensor(2), self.pad)
        parts = torch.stack((is_alone[first, start], is_alone[second, self.facts[first, start]]))
        self.listed = {(split, 1): facts for split in SPLITS}
        self.listed |= {(split, 2): tokens[~parts.any(0) & self.belongs(tokens, split)] for split in SPLITS}
        alone = tokens[parts.all(0)]
        apart = tenth(alone, self.salt) % 2 == 1
        self.listed["alone", 2], self.listed["alone_test", 2] = alone[~apart], alone[apart]
        shown = torch.rand(len(self.listed["train", 2]), generator=world) < self.composed
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
        return [2] if split.startswith("alone") else [1, 2]


@dataclass
class PHop(Task):
    """
    p-hop induction in context, nothing to memorise (Sanford et al. 2024, Saunshi et al. 2025).

        "[>>]badcabdc" -> "d"   the last letter is c; hop 1: behind the previous c stands a; hop 2: behind the previous
                                a stands d

    One ">" for each hop, and letters up to the width of the longest question of the batch. Any three neighbours differ,
    and no walk may end early: else one hop less, or two, would often give the same answer. Tokens: letters 0..A-1, then
    "[", ">" and "]"; "[" lets the first ">" know that it is the first. The p-hop of every letter that has one is a
    target; check() grades the last. Difficulty: p.
    """

    hops: int = 4  # the most hops in training
    length: int = 32  # letters of the shortest text
    alphabet: int = 4  # different letters

    unit = "hops"

    def __post_init__(self):
        if self.hops < 1 or self.alphabet < 4:
            raise ValueError("phop needs at least one hop and four letters")
        self.hardest = self.length // 3  # a hop goes back by three places on average
        if self.hops > self.hardest:
            raise ValueError(f"length={self.length} is too short to walk hops={self.hops}: make it {3 * self.hops}")
        self.max_difficulty = self.hops
        self.vocab_size, self.block_size = self.alphabet + 3, self.hops + 2 + self.length

    def question(self, generator, difficulty):
        T = max(self.max_difficulty, int(difficulty.max())) + 2 + self.length
        score = torch.rand(len(difficulty), T, self.alphabet, generator=generator)
        text = score.argmax(2)
        for i in range(2, T):  # each letter: the highest score of those that the two before it are not
            text[:, i] = score[:, i].scatter(1, text[:, i - 2 : i], -1).argmax(1)
        place, end = torch.arange(T), 1 + difficulty[:, None]
        tokens = torch.where(place < end, self.alphabet + 1, text)
        tokens[:, 0] = self.alphabet
        return torch.where(place == end, self.alphabet + 2, tokens)

    def measure(self, tokens):
        return (tokens == self.alphabet + 1).sum(1)

    def hop(self, tokens):
        """(B, T): for each letter, the place behind the previous occurrence of that letter; 0 where there is none."""
        here = torch.arange(tokens.shape[1], device=tokens.device)
        before = F.pad(tokens[:, :-1], (1, 0), value=-1)
        # [b, i, j]: does i's letter stand before j, which is not behind i?
        behind = (tokens[:, :, None] == before[:, None]) & (here <= here[:, None])
        return torch.where(behind & (tokens < self.alphabet)[:, :, None], here, 0).amax(2)

    def walk(self, tokens, hops):
        """(B, T): the place of each letter after `hops` (B,) hops, 0 where the walk ended before."""
        hop, place = self.hop(tokens), torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        for step in range(max(hops.tolist(), default=0)):
            place = torch.where((step < hops)[:, None], hop.gather(1, place), place)
        return place

    def answer(self, tokens):
        place = self.walk(tokens, self.measure(tokens))
        return tokens.gather(1, place).masked_fill((tokens >= self.alphabet) | (place == 0), IGNORE)

    def belongs(self, tokens, split):
        walks = self.walk(tokens, self.measure(tokens))[:, -1] > 0
        return super().belongs(tokens, split) & walks

    def check(self, batch, prediction):
        return prediction[:, -1] == batch.targets[:, -1]

    def shortcuts(self, batch):
        """A hop or two less than asked."""
        fewer = [(f"{less} hop{'s' * (less > 1)} less", (batch.difficulty - less).clamp(min=0)) for less in (1, 2)]
        return {name: batch.tokens.gather(1, self.walk(batch.tokens, hops)) for name, hops in fewer}

    def show(self, tokens, prediction=None):
        text = "".join(self.name(token) for token in tokens.tolist())
        return text if prediction is None else f"{text} -> {self.name(int(prediction[-1]))}"

    def name(self, token):
        return chr(ord("a") + token) if token < self.alphabet else "[>]"[token - self.alphabet]


@dataclass
class Addition(Task):
    """
    Add two numbers, all digits of the sum at once, so that the loop and not the text has to move the carry.

        "> 6 7 3 4 ="     36 + 47, lowest digits first and in pairs; the digits of 83 are read behind each pair and the
             3   8 0      last carry at "="; show() prints "36+47=083"

    Whether a place hands a carry on is decided in it, unless its two digits add up to 9: then it hands on what comes in
    from below. Difficulty: one more than the longest run of such nines, the places that a decision ("a carry", "none")
    travels up from where it is made: 1 if every place decides for itself, n for 99..9 + 1 (n digits). ">" decides, too:
    nothing comes in. Without it 55 + 55 would be the same to every position, as all see nothing but fives.

    Half of a mixed batch is uniform over numbers (long runs are rare there), half has a run of a uniform length planted
    somewhere, and shorter ones around it. A carry comes into every second of the planted runs: else a model learns to
    guess one from a long run. Runs longer than in training stand in numbers a quarter longer than they.
    """

    digits: int = 8  # digits of each number in training

    unit = "places of carry"

    def __post_init__(self):
        if self.digits < 1:
            raise ValueError(f"digits must be at least 1, not {self.digits}")
        self.max_difficulty = self.digits
        self.vocab_size, self.block_size = 12, 2 * self.digits + 2

    def mixture(self, generator, size, low, high):
        planted = super().mixture(generator, size, low, high)
        natural = torch.rand(size, generator=generator) < 0.5
        return planted.masked_fill(natural, -1)

    def question(self, generator, difficulty):
        B, n, longest = len(difficulty), self.digits, int(difficulty.max())
        if longest > n:
            n = longest + longest // 4
        a, b = torch.randint(10, (B, n, 2), generator=generator).unbind(2)
        planted = (difficulty > 0)[:, None]
        run = difficulty.clamp(min=1)[:, None] - 1  # (B, 1), so many nines
        carry = torch.arange(B)[:, None] % 2  # is one to come into it? then the run cannot begin at the lowest place
        start = carry + (torch.rand((B, 1), generator=generator) * (n - run - carry + 1)).long()
        place = torch.arange(n) - start  # the run is at 0 .. run - 1, and what stands beside it decides
        share = torch.rand((B, 1), generator=generator) * run / (run + 1)
        others = (torch.rand((B, n), generator=generator) < share) & (place != -1) & (place != run)
        nines = planted & (others | ((place >= 0) & (place < run)))
        by_chance = planted & ~nines & (a + b == 9)
        b = torch.where(by_chance, (b + 5) % 10, b)  # these sums are now 4 or 14
        b = torch.where(nines, 9 - a, b)
        tokens = torch.stack((a, b), dim=2).flatten(1)
        tokens = F.pad(F.pad(tokens, (1, 0), value=11), (0, 1), value=10)
        mirrored = torch.where(tokens < 10, 9 - tokens, tokens)  # 18 - sum: nines stay, other decisions turn around
        return torch.where(planted & (self.runs(tokens)[1][:, None] != carry), mirrored, tokens)

    def sums(self, tokens):
        """(B, n): what the two digits of each place add up to, 0..18, without carry."""
        return tokens[:, 1:-1:2] + tokens[:, 2:-1:2]

    def runs(self, tokens):
        """The longest run of nines (B,) and whether a carry, 1 or 0, comes into it (of several: into the highest)."""
        run = longest = carry = carried = torch.zeros_like(tokens[:, 0])
        for total in self.sums(tokens).T:
            run = torch.where(total == 9, run + 1, 0)
            carry = (total + carry) // 10
            carried = torch.where(run >= longest, carry, carried)
            longest = torch.maximum(longest, run)
        return longest, carried

    def measure(self, tokens):
        return self.runs(tokens)[0] + 1

    def parts(self, tokens):
        carried = self.runs(tokens)[1] == 1
        return {"a carry comes in": carried, "none comes in": ~carried}

    def answer(self, tokens):
        targets = torch.full_like(tokens, IGNORE)
        carry = torch.zeros_like(tokens[:, 0])
        for place, total in enumerate(self.sums(tokens).T):
            targets[:, 2 * place + 2] = (total + carry) % 10
            carry = (total + carry) // 10
        targets[:, -1] = carry
        return targets

    def belongs(self, tokens, split):
        return in_split(tokens[:, 1:-1], split, self.salt)  # digits only: leading zeros do not make another question

    def show(self, tokens, prediction=None):
        def number(digits):
            return "".join(map(str, reversed(digits)))

        digits = tokens.tolist()
        text = f"{number(digits[1:-1:2])}+{number(digits[2:-1:2])}="
        return text if prediction is None else text + number([*prediction.tolist()[2:-1:2], int(prediction[-1])])

    def name(self, token):
        return "=>"[token - 10] if token >= 10 else str(token)


TASKS = {"multihop": MultiHop, "composition": Composition, "phop": PHop, "addition": Addition}  # sudoku.py adds its own
