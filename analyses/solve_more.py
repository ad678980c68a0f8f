"""
The picture that moves of `analyze.py solve --board`: one puzzle from several starts.
"""

import math

import torch

from analyses.think_more import draw_board
from support.figures import GREEN, WIDTH, frame_of, plt, write_frames


def animate(task, puzzle, found, path):
    """
    Of a puzzle (cells,), a board for each start, as it fills. `found` has the boards after each
    loop (loops, cells) and the movements of the state (loops,) of each start. Digits that break a
    rule are orange; the solution is not looked at. In the end the stillest start has a green frame.
    """
    loops = len(found[0][0])
    columns = min(5, math.ceil(len(found) ** 0.5))
    rows = math.ceil(len(found) / columns)
    size = WIDTH, (WIDTH / columns + 0.3) * rows + 0.4
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    heading = figure.suptitle("", size=12)
    for axis in axes.flat[len(found) :]:
        axis.set_axis_off()
    frames = []
    for t in loops_shown(loops):
        for axis, (boards, movements) in zip(axes.flat, found):
            axis.clear()
            board = boards[t - 1] if t else puzzle
            draw_board(axis, task, puzzle, board, breaks_a_rule(task, board))
            axis.set_title(f"moves by {movements[t - 1]:.1g}" if t else "")
        heading.set_text(f"after {t} loop{'s' * (t != 1)} (orange: breaks a rule)")
        if t == loops:
            heading.set_text(f"after {t} loops (green: the stillest of {len(found)})")
            axis = axes.flat[stillest(found)]
            frame = plt.Rectangle((0, 0), 1, 1, transform=axis.transAxes)
            frame.set(fill=False, edgecolor=GREEN, linewidth=5, clip_on=False)
            axis.add_patch(frame)
        frames.append(frame_of(figure))
    write_frames(path, frames, milliseconds=300)


def stillest(found):
    """Which of the starts moves its state least in its last loop?"""
    return min(range(len(found)), key=lambda i: found[i][1][-1])


def loops_shown(loops):
    """0 .. 16, 18 .. 32, 36 .. 64 and so on: fewer of the later loops, but the last of all."""
    shown, t = [0], 1
    while t < loops:
        shown.append(t)
        t += max(1, 2 ** (t.bit_length() - 4))
    return [*shown, loops]


def breaks_a_rule(task, board):
    """Which cells (cells,) have a digit that stands again in their row, column or box?"""
    wrong = torch.zeros(len(board), dtype=torch.bool)
    for cells in task.boards.units:
        digits = board[cells]
        twice = (digits[:, None] == digits[None]).sum(1) > 1
        wrong[cells] |= twice & (digits > 0)
    return wrong
