"""
Sudoku: solve the puzzles of a file, and count the right boards after each loop

    python analyze.py solve runs/sudoku --file puzzles.txt --out solved.txt

Every puzzle of the file (support/puzzle_files.py says what it may look like) is asked once. Those
that logic by singles solves and those that need search are counted apart. --out writes a line for
each puzzle, and behind it the rules that it breaks.

A loop that is started from noise may end elsewhere. --restarts 8 asks each puzzle eight more times
so, and keeps the answer that stands stillest: the one with the least |f(h) - h| / |h|. No solution
is looked at (equilibrium reasoners, 2026).
"""

from pathlib import Path

import torch
from tqdm import tqdm

from analyses.common import add_loops, at_least, load, main_of
from analyses.fixedpoint import with_state
from support.boards import SEARCH
from support.figures import BLUE, ORANGE, WIDTH, label_ends, plt, seeds_text, write
from support.hashing import stream
from support.processes import fail
from tasks import Sudoku

MANY = False


def add_flags(parser):
    text = "the puzzles, one a line or a board over several lines"
    parser.add_argument("--file", default="", help=text)
    parser.add_argument("--out", default="", help="a file for the solved boards")
    text = "only so many puzzles of the file (default: all)"
    parser.add_argument("--first", type=at_least(0), default=0, help=text)
    text = "starts from noise beside the usual one; the stillest answer is kept (default 0)"
    parser.add_argument("--restarts", type=at_least(0), default=0, help=text)
    add_loops(parser, "the most loops to try (default: eight times those of training)")


# --------------------------------------------------------------------------------------------------
# Measure


@torch.no_grad()
def solve(model, task, puzzles, loops, restarts=0, seed=0):
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
        first, before, last = (model.proper_state(states[t]) for t in (0, -2, -1))
        best, least = by_loop[-1], moved(before, last)
        torch.manual_seed(stream(seed, "restarts", number))
        for _ in range(restarts):
            start = with_state(model, states[0], torch.randn_like(first))
            *_, before, h = model.states(part, loops, h=start)
            movement = moved(model.proper_state(before), model.proper_state(h))
            stiller = movement < least
            best = torch.where(stiller[:, None], filled(part, model.readout(h)), best)
            least = torch.minimum(movement, least)
        boards.append(best)
    return torch.cat(boards).cpu(), torch.cat(right, dim=1).cpu()


def filled(puzzle, logits):
    """The puzzle (B, cells), its blanks filled in from the logits (B, cells, digits)."""
    return torch.where(puzzle > 0, puzzle, logits.argmax(-1))


def moved(before, h):
    """How far a loop moved the state, (B,)."""
    return (h - before).flatten(1).norm(dim=1) / h.flatten(1).norm(dim=1)


def broken_rules(task, board):
    """What is wrong with a full board (cells,), in words: ["5 stands 2 times in row 3", ..]."""
    names = [f"{kind} {i}" for kind in ("row", "column", "box") for i in range(1, task.n + 1)]
    found = []
    for name, cells in zip(names, task.boards.units):
        digits, counts = board[cells].unique(return_counts=True)
        for digit, count in zip(digits.tolist(), counts.tolist()):
            if count > 1:
                found.append(f"{digit} stands {count} times in {name}")
    return found


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
    if not isinstance(task, Sudoku) or not args.file:
        fail("solve wants the run of a Sudoku model and --file PUZZLES")
    asked = Sudoku(box=task.box, file=args.file, first_puzzles=args.first)
    for text in asked.skipped:
        print(f"skipped {text}")
    bank, loops = asked.bank["test"], args.loops or 8 * flags.loops
    boards, right = solve(model, asked, bank["puzzle"], loops, args.restarts, flags.seed)
    search = bank["difficulty"] == SEARCH
    kinds = {"solved by singles": ~search, "need search": search}
    numbers = dict(
        file=Path(args.file).name,
        seeds=[flags.seed],
        loops=list(range(1, loops + 1)),
        trained_loops=flags.loops,
        restarts=args.restarts,
        skipped=len(asked.skipped),
    )
    ends = asked.boards.solved(boards).float()
    for name, rows in kinds.items():
        found = numbers[name] = dict(puzzles=int(rows.sum()), boards=None, kept=None)
        if rows.any():
            found.update(boards=right[:, rows].mean(1).tolist(), kept=ends[rows].mean().item())
            at = sorted({min(flags.loops, loops), loops})
            text = ", ".join(f"{found['boards'][n - 1]:.3f} at {n}" for n in at) + " loops"
            if args.restarts:
                text += f"; the stillest of {args.restarts + 1} starts {found['kept']:.3f}"
            print(f"{found['puzzles']} puzzles, {name}: boards right {text}")
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


if __name__ == "__main__":
    main_of("solve")
