"""
Sudoku: solve the puzzles of a file, and count the right boards after each loop

    python analyze.py solve runs/sudoku --board "3....4..4.1..1.."
    python analyze.py solve runs/sudoku --file puzzles.txt --out solved.txt

--board shows one puzzle as it fills, loop by loop, and what can be said of the answer without
knowing the solution: did the loop come to rest, and do the rules hold? "--board -" reads the puzzle
from the standard input, on one line or as a board. --animate draws it, too, solve.gif: all starts
beside one another.

Of a file (support/puzzle_files.py says what it may look like) every puzzle is asked once. Those
that logic by singles solves and those that need search are counted apart. A table tells how many
are right by their number of clues, by the guesses that a solver needs (support/boards.py), and by
the ratings of the file, if it has any.
--out writes a line for each puzzle, and behind it the rules that it breaks.

A loop that is started from noise may end elsewhere. --starts 9 asks each puzzle eight more times
so, and keeps the answer that stands stillest: the one with the least |f(h) - h| / |h|. No solution
is looked at (equilibrium reasoners, 2026). With --renamed the others are not started from noise but
asked the same puzzle with other names for its digits. To the rules this is the same puzzle, but not
to the embeddings of the model, so it takes another way to the answer.
"""

import math
import sys
from contextlib import suppress
from pathlib import Path

import torch
from tqdm import tqdm

from analyses.common import add_loops, at_least, load
from analyses.fixedpoint import with_state
from analyses.solve_more import animate, stillest
from looped import LoopedGPT, settle
from support.boards import SEARCH
from support.figures import BLUE, ORANGE, WIDTH, label_ends, plt, seeds_text, write
from support.hashing import stream
from support.processes import fail
from support.puzzle_files import puzzles_in
from tasks import Sudoku

MANY = False
SURE = 0.9  # the probability from which on a digit is shown before the last loop
CLUES = (0.22, 0.26, 0.31, 0.36)  # limits of the table, shares of the cells: 17, 21, .. of 81
GUESSES = (0, 2, 5, 10, 20, 50)  # limits of the table
FEW = 8  # so many different ratings have a row each; of more, a row is a fifth of the puzzles
_, AT_REST = LoopedGPT.exit_rules["settle"]  # how far a loop at rest moves the state at most


def add_flags(parser):
    parser.add_argument("--board", default="", help="one puzzle; - reads it from standard input")
    text = "the puzzles, one a line or a board over several lines"
    parser.add_argument("--file", default="", help=text)
    parser.add_argument("--out", default="", help="a file for the solved boards")
    text = "only so many puzzles of the file (default: all)"
    parser.add_argument("--first", type=at_least(0), default=0, help=text)
    text = "the usual start and others from noise; the stillest answer is kept (default 1)"
    parser.add_argument("--starts", type=at_least(1), default=1, help=text)
    text = "the others have their digits renamed, and start as usual"
    parser.add_argument("--renamed", action="store_true", help=text)
    text = "also solve.gif, in which the starts of a --board fill side by side"
    parser.add_argument("--animate", action="store_true", help=text)
    add_loops(parser, "the most loops to try (default: eight times those of training)")


# --------------------------------------------------------------------------------------------------
# Measure


@torch.no_grad()
def solve(model, task, puzzles, loops, starts=1, seed=0, renamed=False):
    """
    The boards (N, cells) after the last loop, the best of all starts; and for the usual start
    (loops, N) float: is each board right after each loop?
    """
    boards, right, device = [], [], next(model.parameters()).device
    parts = puzzles.split(256)
    for number, part in enumerate(tqdm(parts, desc="solving", leave=False, disable=None)):
        part = part.to(device)
        states = list(model.states(part, loops))
        by_loop = [filled(part, model.readout(h)) for h in states[1:]]
        right.append(torch.stack([task.boards.solved(each).float() for each in by_loop]))
        best, least = by_loop[-1], moved(model, *states[-2:])
        torch.manual_seed(stream(seed, "restarts", number))
        for _ in range(starts - 1):
            question, start, digit = another_start(model, task, part, states[0], renamed)
            *_, before, h = model.states(question, loops, h=start)
            movement = moved(model, before, h)
            stiller = movement < least
            answer = digit[filled(question, model.readout(h))]
            best = torch.where(stiller[:, None], answer, best)
            least = torch.minimum(movement, least)
        boards.append(best)
    return torch.cat(boards).cpu(), torch.cat(right, dim=1).cpu()


@torch.no_grad()
def each_start(model, task, puzzle, loops, starts=1, seed=0, renamed=False):
    """
    What `solve` does to one puzzle (1, cells), start by start: the boards after each loop (loops,
    cells), and how far each loop moves the state (loops,).
    """
    first, _ = model.states(puzzle, 1)
    ways = [(puzzle, None, torch.arange(task.n + 1, device=puzzle.device))]
    torch.manual_seed(stream(seed, "restarts", 0))
    ways += [another_start(model, task, puzzle, first, renamed) for _ in range(starts - 1)]
    for question, start, digit in ways:
        states = list(model.states(question, loops, h=start))
        boards = [digit[filled(question, model.readout(h))] for h in states[1:]]
        movements = [moved(model, before, h) for before, h in zip(states, states[1:])]
        yield torch.cat(boards).cpu(), torch.cat(movements).cpu()


def another_start(model, task, puzzles, first, renamed):
    """
    Puzzles (N, cells) to be asked and the states to start from, None: as usual. And for each digit
    of an answer, the one that it stands for, (digits + 1,); 0 is a blank.
    """
    digit = torch.arange(task.n + 1, device=puzzles.device)
    if not renamed:
        noise = torch.randn_like(model.proper_state(first))
        return puzzles, with_state(model, first, noise), digit
    digit[1:] = digit[1:][torch.randperm(task.n)]
    name = digit.argsort()
    return name[puzzles], None, digit


def filled(puzzle, logits):
    """The puzzle (B, cells), its blanks filled in from the logits (B, cells, digits)."""
    return torch.where(puzzle > 0, puzzle, logits.argmax(-1))


def moved(model, before, h):
    """How far a loop moved the state, (B,)."""
    return settle(model, before, h, answer_mask=None, last=None)


def broken_rules(task, board):
    """What is wrong with a board (cells,), in words: ["5 stands 2 times in row 3", ..]."""
    names = [f"{kind} {i}" for kind in ("row", "column", "box") for i in range(1, task.n + 1)]
    found = []
    for name, cells in zip(names, task.boards.units):
        digits, counts = board[cells].unique(return_counts=True)
        for digit, count in zip(digits.tolist(), counts.tolist()):
            if digit and count > 1:
                found.append(f"{digit} stands {count} times in {name}")
    return found


def by_kind(values, limits, unit, right, kept):
    """
    A row for each range of values (N,), up to the first of the limits, up to the second, ..: how
    many puzzles it has, and the shares of right ones after the usual start and of all starts.
    """
    rows, low = [], -math.inf
    for high in (*limits, math.inf):
        inside = (values > low) & (values <= high)
        if inside.any():
            name = f"at most {high:g}" if high < math.inf else f"more than {low:g}"
            rows.append(row_of(f"{name} {unit}", inside, right, kept))
        low = high
    return rows


def by_rating(ratings, right, kept):
    """
    The same for the ratings of a file, texts (N), "" where there is none: a row for each rating, or
    for each fifth of the puzzles if there are many different numbers. (Many different words, such
    as names, are no ratings.)
    """
    known = sorted(set(ratings) - {""}, key=lambda rating: (number_of(rating), rating))
    if len(known) > FEW:
        numbers = torch.tensor([number_of(rating) for rating in ratings])
        finite = numbers[numbers < math.inf]
        limits = finite.quantile(torch.tensor([0.2, 0.4, 0.6, 0.8])) if len(finite) else finite
        numbers[numbers == math.inf] = math.nan  # in no row
        return by_kind(numbers, limits.unique().tolist(), "(rating)", right, kept)
    rows = []
    for rating in known:
        inside = torch.tensor([each == rating for each in ratings])
        rows.append(row_of(f"{rating} (rating)", inside, right, kept))
    return rows


def row_of(name, inside, right, kept):
    """Of the puzzles `inside` (N,) bool: how many, and the shares of right ones."""
    return dict(
        name=name,
        puzzles=int(inside.sum()),
        boards=right[inside].mean().item(),
        kept=kept[inside].mean().item(),
    )


def number_of(rating):
    """The number that a text is; infinite if it is none."""
    with suppress(ValueError):
        if math.isfinite(number := float(rating)):
            return number
    return math.inf


# --------------------------------------------------------------------------------------------------
# One board


def read_board(task, text):
    """The puzzle (1, cells) in a text, which has to be of the task's size."""
    puzzle = puzzles_in(text, "--board").puzzles[:1]
    if puzzle.shape[1] != task.n**2:
        fail(f"--board has {puzzle.shape[1]} cells; this model knows boards of {task.n**2}")
    if puzzle.max() > task.n:
        fail(f"--board has the digit {puzzle.max()}; this model knows 1 to {task.n}")
    return puzzle


@torch.no_grad()
def say_board(model, task, puzzle, loops, starts=1, seed=0, renamed=False):
    """
    How a puzzle (1, cells) fills, and whether to trust the answer. Returns what `each_start` found.
    """
    if rules := broken_rules(task, puzzle[0]):
        print(f"note: the givens break the rules: {', '.join(rules)}")
    puzzle = puzzle.to(next(model.parameters()).device)
    blank = puzzle == 0
    shown = {2**i for i in range(loops.bit_length())} | {loops}
    for t, h in enumerate(model.states(puzzle, loops)):
        if t not in shown:
            continue
        probability, digit = model.readout(h).softmax(-1).max(-1)
        sure = blank & (probability >= SURE)
        print(f"\nafter loop {t}: sure of {sure.sum()} of {blank.sum()} blanks")
        print(task.show(puzzle[0], digit.masked_fill(~sure, 0)[0]))
    found = list(each_start(model, task, puzzle, loops, starts, seed, renamed))
    board = found[stillest(found)][0][-1]
    _, usual_movements = found[0]
    which = f"the stillest answer of {starts} starts" if starts > 1 else "the answer"
    print(f"\n{which}:\n{task.show(board)}\n\n{rest_in_words(usual_movements.tolist())}")
    rules = broken_rules(task, board)
    print(f"wrong: {', '.join(rules)}" if rules else "right: the rules hold")
    return found


def rest_in_words(movements):
    """From which loop on did the state move by less than AT_REST?"""
    restless = [t for t, movement in enumerate(movements, 1) if not movement < AT_REST]
    loops, since = len(movements), (restless or [0])[-1] + 1
    if since > loops:
        return f"not at rest: loop {loops} still moved the state by {movements[-1]:.2f}; try more"
    return f"at rest from loop {since} on (of the usual start)"


# --------------------------------------------------------------------------------------------------
# Draw


def draw(numbers, kinds):
    """The share of right boards over loops, a curve for each kind of puzzle."""
    figure, axis = plt.subplots(figsize=(WIDTH, 4.4), layout="constrained")
    loops, ends, total, right = numbers["loops"], [], 0, 0.0
    for name, color in zip(kinds, (BLUE, ORANGE)):
        boards, puzzles = numbers[name]["boards"], numbers[name]["puzzles"]
        if boards:
            axis.plot(loops, boards, color=color)
            ends.append((boards[-1], f"{puzzles} puzzles,\n{name}", color))
            total, right = total + puzzles, right + puzzles * boards[-1]
    axis.axvline(numbers["trained_loops"], color="k", lw=0.8, ls="--")
    axis.set(xlabel="loops (dashed: training)", xscale="log")
    axis.set(ylabel="share of the boards right", ylim=(-0.03, 1.03))
    label_ends(axis, ends, gap=0.14)
    share = f"{right / total:.2f} of the boards are right after {loops[-1]} loops"
    axis.set_title(f"{share} ({numbers['file']}, {seeds_text(numbers['seeds'])})")
    return figure


# --------------------------------------------------------------------------------------------------
# Say


def main(runs, args):
    model, task, flags = load(runs[0], args.device, needs=("states", "readout", "proper_state"))
    if not isinstance(task, Sudoku) or not (args.file or args.board):
        fail("solve wants the run of a Sudoku model, and --board PUZZLE or --file PUZZLES")
    if args.animate and not args.board:
        fail("solve draws a picture that moves of one puzzle: --animate wants --board")
    if args.board:
        text = sys.stdin.read() if args.board == "-" else args.board
        puzzle = read_board(task, text)
        loops = args.loops or 8 * flags.loops
        found = say_board(model, task, puzzle, loops, args.starts, flags.seed, args.renamed)
        if args.animate:
            animate(task, puzzle[0], found, runs[0] / "solve.gif")
        return
    asked = Sudoku(box=task.box, file=args.file, first_puzzles=args.first)
    bank, loops = asked.bank["test"], args.loops or 8 * flags.loops
    for text in asked.skipped:
        print(f"skipped {text}")
    starts = args.starts, flags.seed, args.renamed
    boards, right = solve(model, asked, bank["puzzle"], loops, *starts)
    search = bank["difficulty"] >= SEARCH
    kinds = {"solved by singles": ~search, "need search": search}
    numbers = dict(
        file=Path(args.file).name,
        seeds=[flags.seed],
        loops=list(range(1, loops + 1)),
        trained_loops=flags.loops,
        starts=args.starts,
        renamed=args.renamed,
        skipped=len(asked.skipped),
    )
    ends = asked.boards.solved(boards).float()
    for name, rows in kinds.items():
        found = numbers[name] = dict(puzzles=int(rows.sum()), boards=None, kept=None)
        if rows.any():
            found.update(boards=right[:, rows].mean(1).tolist(), kept=ends[rows].mean().item())
            at = sorted({min(flags.loops, loops), loops})
            text = ", ".join(f"{found['boards'][n - 1]:.3f} at {n}" for n in at) + " loops"
            if args.starts > 1:
                text += f"; the stillest of {args.starts} starts {found['kept']:.3f}"
            print(f"{found['puzzles']} puzzles, {name}: boards right {text}")
    clues, guesses = (bank["puzzle"] > 0).sum(1), asked.boards.guesses(bank["puzzle"])
    limits = [math.floor(share * task.n**2) for share in CLUES]
    numbers["by_clues"] = by_kind(clues, limits, "clues", right[-1], ends)
    numbers["by_guesses"] = by_kind(guesses, GUESSES, "guesses", right[-1], ends)
    numbers["by_rating"] = by_rating(asked.ratings, right[-1], ends)
    for row in numbers["by_clues"] + numbers["by_guesses"] + numbers["by_rating"]:
        text = f"{row['name']:>20}: {row['puzzles']:>5} puzzles, right {row['boards']:.3f}"
        print(text + (f", stillest {row['kept']:.3f}" if args.starts > 1 else ""))
    write(runs[0], "solve", draw(numbers, kinds), numbers)
    say_boards(asked, bank["puzzle"], boards, args.out)


def say_boards(task, puzzles, boards, path):
    """
    The boards: a few on the screen, or all into a file, a line each; with the rules that they
    break.
    """
    lines, broken = [], []
    for number, board in zip(task.lines, boards):
        rules = broken_rules(task, board)
        broken.append(f"line {number}, wrong: {', '.join(rules)}" if rules else "")
        lines.append("".join(map(str, board.tolist())) + (f"  # {broken[-1]}" if rules else ""))
    if path:
        try:
            Path(path).write_text("\n".join(lines) + "\n")
        except OSError as error:
            fail(f"cannot write {path}: {error.strerror}")
        print(f"wrote {len(lines)} boards to {path}")
        return
    for puzzle, board, text in list(zip(puzzles, boards, broken))[:3]:
        print(f"\n{task.show(puzzle, board)}" + (f"\n{text}" if text else ""))
    if len(lines) > 3:
        print(f"\n(3 of {len(lines)} boards; --out FILE writes all)")
