"""
The puzzles of a file, by a Sudoku model: the solved boards, and how many are right after each loop

    python analyze.py solve runs/sudoku --file puzzles.txt --out solved.txt

Every puzzle of the file (boards.py says what it may look like) is asked once; those that logic by singles solves and
those that need search are counted apart. --out writes a line for each puzzle, and behind it the rules that it breaks.

A loop started from noise may end elsewhere. --restarts 8 asks each puzzle eight more times so, and keeps the answer
that stands stillest, |f(h) - h| / |h| being least: no solution is looked at (equilibrium reasoners, 2026).
"""

from pathlib import Path

import torch
from tqdm import tqdm

from analyses.common import add_loops, at_least, main_of
from figures import BLUE, ORANGE, WIDTH, label_ends, plt, seeds_text, write
from runs import fail
from sudoku import Sudoku
from tasks import stream
from train import load_model

MANY = False


def add_flags(parser):
    parser.add_argument("--file", default="", help="the puzzles, one a line or a board over several lines")
    parser.add_argument("--out", default="", help="a file for the solved boards")
    text = "starts from noise, beside the usual one; the answer that stands stillest is kept (default 0)"
    parser.add_argument("--restarts", type=at_least(0), default=0, help=text)
    add_loops(parser, "the most loops to try (default: eight times those of training)")


@torch.no_grad()
def solve(model, task, puzzles, loops, restarts=0, seed=0):
    """
    The boards (N, cells) after the last loop, the best of all starts; and for the usual start (loops, N) float: is each
    board right after each loop?
    """
    boards, right = [], []
    for number, part in enumerate(tqdm(puzzles.split(256), desc="solving", leave=False)):
        part = part.to(next(model.parameters()).device)
        states = list(model.states(part, loops))
        by_loop = [filled(part, model.readout(h)) for h in states[1:]]
        right.append(torch.stack([task.solved(each).float() for each in by_loop]))
        best, least = by_loop[-1], moved(states[-2], states[-1])
        torch.manual_seed(stream(seed, "restarts", number))
        for _ in range(restarts):
            *_, before, h = model.states(part, loops, h=torch.randn_like(states[0]))
            movement = moved(before, h)
            best = torch.where((movement < least)[:, None], filled(part, model.readout(h)), best)
            least = torch.minimum(movement, least)
        boards.append(best)
    return torch.cat(boards).cpu(), torch.cat(right, dim=1).cpu()


def filled(puzzle, logits):
    return torch.where(puzzle > 0, puzzle, logits.argmax(-1))


def moved(before, h):
    return (h - before).flatten(1).norm(dim=1) / h.flatten(1).norm(dim=1)


def broken_rules(task, board):
    """What is wrong with a full board (cells,), in words: ["5 stands 2 times in row 3", ..]."""
    names = [f"{kind} {i}" for kind in ("row", "column", "box") for i in range(1, task.n + 1)]
    found = []
    for name, cells in zip(names, task.units):
        digits, counts = board[cells].unique(return_counts=True)
        for digit, count in zip(digits.tolist(), counts.tolist()):
            if count > 1:
                found.append(f"{digit} stands {count} times in {name}")
    return found


def draw(numbers, kinds):
    figure, axis = plt.subplots(figsize=(WIDTH, 4.4), layout="constrained")
    loops, trained, ends = numbers["loops"], numbers["trained_loops"], []
    for name, color in zip(kinds, (BLUE, ORANGE)):
        boards = numbers[name]["boards"]
        if boards:
            axis.plot(loops, boards, color=color)
            ends.append((boards[-1], f"{numbers[name]['puzzles']} puzzles,\n{name}", color))
    axis.axvline(trained, color="k", lw=0.8, ls="--")
    axis.set(xlabel="loops (dashed: training)", ylabel="share of the boards right", ylim=(-0.03, 1.03), xscale="log")
    label_ends(axis, ends, gap=0.14)
    total = sum(numbers[name]["puzzles"] for name in kinds)
    right = sum(numbers[name]["puzzles"] * numbers[name]["boards"][-1] for name in kinds if numbers[name]["boards"])
    basis = f"{numbers['file']}, {seeds_text(numbers['seeds'])}"
    axis.set_title(f"{right / total:.2f} of the boards are right after {loops[-1]} loops ({basis})")
    return figure


def main(runs, args):
    model, task, flags = load_model(runs[0], args.device)
    if not isinstance(task, Sudoku) or not args.file:
        fail("solve wants the run of a Sudoku model and --file PUZZLES")
    asked = Sudoku(box=task.box, file=args.file)
    for text in asked.skipped:
        print(f"skipped {text}")
    bank, loops = asked.bank["test"], args.loops or 8 * flags.loops
    boards, right = solve(model, asked, bank["puzzle"], loops, args.restarts, flags.seed)
    search = bank["difficulty"] == task.SEARCH
    kinds = {"solved by singles": ~search, "need search": search}
    numbers = dict(file=Path(args.file).name, seeds=[flags.seed], loops=list(range(1, loops + 1)))
    numbers.update(trained_loops=flags.loops, restarts=args.restarts, skipped=len(asked.skipped))
    ends = asked.solved(boards).float()
    for name, rows in kinds.items():
        curve = right[:, rows].mean(1).tolist() if rows.any() else None
        numbers[name] = dict(puzzles=int(rows.sum()), boards=curve, kept=ends[rows].mean().item() if curve else None)
        if curve:
            at = sorted({min(flags.loops, loops), loops})
            final = ", ".join(f"{curve[n - 1]:.3f} at {n}" for n in at)
            kept = f"; the stillest of {args.restarts + 1} starts {numbers[name]['kept']:.3f}" if args.restarts else ""
            print(f"{rows.sum()} puzzles, {name}: boards right {final} loops{kept}")
    say_boards(asked, bank["puzzle"], boards, args.out)
    write(runs[0], "solve", draw(numbers, kinds), numbers)


def say_boards(task, puzzles, boards, path):
    """The boards: a few on the screen, or all into a file, a line each; with the rules that they break."""
    lines = []
    for line, board in zip(task.lines, boards):
        broken = broken_rules(task, board)
        wrong = f"  # line {line}, wrong: {', '.join(broken)}" if broken else ""
        lines.append("".join(map(str, board.tolist())) + wrong)
    if path:
        try:
            Path(path).write_text("\n".join(lines) + "\n")
        except OSError as error:
            fail(f"cannot write {path}: {error.strerror}")
        print(f"wrote {len(lines)} boards to {path}")
    for puzzle, board, text in list(zip(puzzles, boards, lines))[: 0 if path else 3]:
        print(f"\n{task.show(puzzle, board)}" + (f"\n{text.partition('  # ')[2]}" if "#" in text else ""))
    if not path and len(lines) > 3:
        print(f"\n(3 of {len(lines)} boards; --out FILE writes all)")


if __name__ == "__main__":
    main_of("solve")
