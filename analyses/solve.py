"""
The puzzles of a file, by a Sudoku model: how many boards are right after each loop

    python analyze.py solve runs/sudoku --file puzzles.txt

Every puzzle of the file (one a line, see sudoku.read_puzzles) is asked once; those that logic by singles solves and
those that need search are counted apart.
"""

from pathlib import Path

import torch
from tqdm import tqdm

from analyses.common import add_loops, main_of
from figures import BLUE, ORANGE, WIDTH, label_ends, plt, seeds_text, write
from runs import fail
from sudoku import Sudoku
from tasks import IGNORE, Batch
from train import load_model

MANY = False


def add_flags(parser):
    parser.add_argument("--file", default="", help="one puzzle a line, digits with . or 0 for blanks")
    add_loops(parser, "the most loops to try (default: eight times those of training)")


@torch.no_grad()
def measure(model, task, bank, loops):
    """(loops, N) float: is each board right after each loop?"""
    right = []
    for part in tqdm(bank["puzzle"].split(256), desc="solving", leave=False):
        part = part.to(next(model.parameters()).device)
        batch = Batch(part, torch.full_like(part, IGNORE), None)
        states = list(model.states(part, loops))[1:]
        right.append(torch.stack([task.check(batch, model.readout(h).argmax(-1)) for h in states]).cpu())
    return torch.cat(right, dim=1).float()


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
    bank, loops = Sudoku(box=task.box, file=args.file).bank["test"], args.loops or 8 * flags.loops
    right = measure(model, task, bank, loops)
    search = bank["difficulty"] == task.SEARCH
    kinds = {"solved by singles": ~search, "need search": search}
    numbers = dict(file=Path(args.file).name, seeds=[flags.seed], loops=list(range(1, loops + 1)))
    numbers["trained_loops"] = flags.loops
    for name, rows in kinds.items():
        boards = right[:, rows].mean(1).tolist() if rows.any() else None
        numbers[name] = dict(puzzles=int(rows.sum()), boards=boards)
        if boards:
            at = sorted({min(flags.loops, loops), loops})
            final = ", ".join(f"{boards[n - 1]:.3f} at {n}" for n in at)
            print(f"{rows.sum()} puzzles, {name}: boards right {final} loops")
    write(runs[0], "solve", draw(numbers, kinds), numbers)


if __name__ == "__main__":
    main_of("solve")
