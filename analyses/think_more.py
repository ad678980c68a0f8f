"""
What `analyze.py think` draws beside its rows of tokens: boards, and the picture that moves,
think.gif. The analysis itself is in analyze.py.
"""

import torch
from PIL import Image

from support.figures import BLUE, ORANGE, WIDTH, plt
from tasks import Sudoku

# --------------------------------------------------------------------------------------------------
# Boards


def draw_boards(task, found):
    """A row of boards for each question: after 1, 2, 4, .. loops, and after the last."""
    loops = len(found[0]["right"])
    columns = [t for t in (1, 2, 4, 8, 16, 32) if t < loops] + [loops]
    size = WIDTH / len(columns)
    figure, axes = plt.subplots(
        len(found),
        len(columns),
        figsize=(WIDTH, (size + 0.35) * len(found) + 0.6),
        layout="constrained",
        squeeze=False,
    )
    for row, each in zip(axes, found):
        for axis, t in zip(row, columns):
            draw_board(axis, task, each, each["predictions"][t - 1])
            axis.set_title(f"loop {t}")
        row[0].set_ylabel(each["title"].replace(": ", "\n"))
    return figure


def draw_board(axis, task, each, prediction):
    """A board: its givens are black, the right digits of the model blue, its wrong ones orange."""
    n, height, width = task.n, task.boards.rows, task.boards.columns  # of the board, of a box
    cells = zip(each["tokens"].tolist(), each["truth"].tolist(), prediction.tolist())
    for cell, (given, truth, digit) in enumerate(cells):
        style = dict(color=BLUE if digit == truth else ORANGE)
        if given:
            digit, style = given, dict(color="black", weight="bold")
        style.update(ha="center", va="center", size=10)
        axis.text(cell % n, cell // n, task.name(digit), **style)
    for i in range(n + 1):
        axis.axhline(i - 0.5, color="k", lw=1.6 if i % height == 0 else 0.3)
        axis.axvline(i - 0.5, color="k", lw=1.6 if i % width == 0 else 0.3)
    axis.set(xlim=(-0.55, n - 0.45), ylim=(n - 0.45, -0.55), xticks=[], yticks=[], aspect="equal")
    axis.set_frame_on(False)


def say_boards(task, found):
    """The board after the first and the last loop, and wherever it becomes right or wrong."""
    last = len(found["right"])
    for t, (prediction, right) in enumerate(zip(found["predictions"], found["right"]), 1):
        if t in (1, last) or right != found["right"][t - 2]:
            print(f"after loop {t}{', right' if right else ''}:")
            print(task.show(found["tokens"], prediction))


# --------------------------------------------------------------------------------------------------
# The picture that moves


def animate(task, found, draw_sequences, path, title):
    """
    think.gif: the question alone, then a frame for each loop. A frame stands for half a second, the
    first and the last one longer.
    """
    loops = max(len(each["right"]) for each in found)
    boards = isinstance(task, Sudoku)
    if boards:
        size = (WIDTH, WIDTH / len(found) + 0.9)
        figure, _ = plt.subplots(1, len(found), figsize=size, layout="constrained")
    else:
        figure = draw_sequences(task, found)
    axes, heading = figure.axes, figure.suptitle("", size=12)
    figure.set_dpi(75)
    frames = []
    for t in range(loops + 1):
        for axis, each in zip(axes, found):
            if boards:
                show_board(axis, task, each, t)
            else:
                show_rows(axis, t)
        heading.set_text(f"{title}, after {t} loop{'s' if t != 1 else ''}")
        figure.canvas.draw()
        figure.set_layout_engine("none")  # else the parts of a later frame would lie elsewhere
        size, pixels = figure.canvas.get_width_height(), bytes(figure.canvas.buffer_rgba())
        frames.append(Image.frombytes("RGBA", size, pixels).convert("RGB").quantize(64))
    plt.close(figure)
    milliseconds = [1500, *[500] * (loops - 1), 4000]
    first, *others = frames
    first.save(path, save_all=True, append_images=others, duration=milliseconds, loop=0)
    print(f"wrote {path}")


def show_rows(axis, t):
    """Of what draw_sequences drew, the question and the first t loops."""
    for cell in axis.patches:
        cell.set_visible(cell.get_y() < t)
    for text in axis.texts:
        text.set_visible(text.get_position()[1] <= max(t, 0.5))


def show_board(axis, task, each, t):
    """The board after t loops; before the first, the givens alone."""
    t = min(t, len(each["right"]))
    digits = each["predictions"][t - 1] if t else torch.zeros_like(each["tokens"])
    axis.clear()
    draw_board(axis, task, each, digits)
    axis.set_title(each["title"].replace(": ", "\n"))
