"""
How `analyze.py think` shows what it has measured: rows of tokens or boards, and the picture that
moves, think.gif. The analysis itself is in analyze.py.
"""

import torch

from support.figures import BLUE, GREY, ORANGE, WIDTH, frame_of, plt, write_frames
from tasks import IGNORE, Sudoku


def draw(task, asked):
    """The figure of some questions, each as analyze.measure_question returns it."""
    return draw_boards(task, asked) if isinstance(task, Sudoku) else draw_sequences(task, asked)


def in_words(task, question):
    """What think.json has of a question."""
    return dict(
        difficulty=question["difficulty"],
        question=task.show(question["tokens"]),
        after_loop=[task.show(question["tokens"], said) for said in question["predictions"]],
        right=question["right"],
    )


# --------------------------------------------------------------------------------------------------
# Tokens


def draw_sequences(task, asked):
    """
    A panel for each question: a column for each position, and a row for each loop until two loops
    after the answer is there.
    """
    rows = []  # how many loops each panel shows
    for question in asked:
        loops = len(question["right"])
        rows.append(min(loops, (question["right_from"] or loops) + 2))
    width = max(len(question["tokens"]) for question in asked)
    figure, axes = plt.subplots(
        len(asked),
        figsize=(max(WIDTH, 0.25 * width), 0.25 * sum(rows) + 0.75 * len(asked) + 0.6),
        height_ratios=[n + 1 for n in rows],
        layout="constrained",
        squeeze=False,
    )
    middle = dict(ha="center", va="center")
    for axis, question, n in zip(axes[:, 0], asked, rows):
        names = [task.name(token) for token in question["tokens"].tolist()]
        long = max(map(len, names)) > 3  # long names are turned and stand above the panel
        style = dict(ha="center", va="bottom", rotation=90) if long else middle
        for x, position in enumerate(task.order(question["tokens"])):
            axis.text(x, 0.4 if long else 0, names[position], weight="bold", **style)
            truth = question["truth"][position].item()  # an intermediate result, too
            if truth == IGNORE:
                continue
            for y, prediction in enumerate(question["predictions"][:n, position].tolist(), 1):
                back, front = (BLUE, "white") if prediction == truth else ("#eeeeee", GREY)
                corner = (x - 0.5, y - 0.5)
                axis.add_patch(plt.Rectangle(corner, 1, 1, color=back, ec="white"))
                axis.text(x, y, task.name(prediction), color=front, size=10, **middle)
        axis.set(xlim=(-0.6, width - 0.4), ylim=(n + 0.5, -0.5), xticks=[], ylabel="loops")
        axis.set_title(question["title"], loc="left", pad=40 if long else None)
        axis.set_yticks(range(n + 1), ["question", *range(1, n + 1)], fontsize=9)
        axis.tick_params(length=0)
        axis.set_frame_on(False)
    return figure


# --------------------------------------------------------------------------------------------------
# Boards


def draw_boards(task, asked):
    """A row of boards for each question: after 1, 2, 4, .. loops, and after the last."""
    loops = len(asked[0]["right"])
    columns = [t for t in (1, 2, 4, 8, 16, 32) if t < loops] + [loops]
    size = WIDTH / len(columns)
    figure, axes = plt.subplots(
        len(asked),
        len(columns),
        figsize=(WIDTH, (size + 0.35) * len(asked) + 0.6),
        layout="constrained",
        squeeze=False,
    )
    for row, question in zip(axes, asked):
        for axis, t in zip(row, columns):
            draw_answer(axis, task, question, question["predictions"][t - 1])
            axis.set_title(f"loop {t}")
        row[0].set_ylabel(question["title"].replace(": ", "\n"))
    return figure


def draw_answer(axis, task, question, prediction):
    draw_board(axis, task, question["tokens"], prediction, prediction != question["truth"])


def draw_board(axis, task, puzzle, board, wrong):
    """
    A board, all (cells,): its givens are black, the digits of the model blue, and orange where they
    are `wrong`.
    """
    n, height, width = task.n, task.boards.rows, task.boards.columns  # of the board, of a box
    for cell, (given, digit) in enumerate(zip(puzzle.tolist(), board.tolist())):
        style = dict(color=ORANGE if wrong[cell] else BLUE)
        if given:
            digit, style = given, dict(color="black", weight="bold")
        style.update(ha="center", va="center", size=10)
        axis.text(cell % n, cell // n, task.name(digit), **style)
    for i in range(n + 1):
        axis.axhline(i - 0.5, color="k", lw=1.6 if i % height == 0 else 0.3)
        axis.axvline(i - 0.5, color="k", lw=1.6 if i % width == 0 else 0.3)
    axis.set(xlim=(-0.55, n - 0.45), ylim=(n - 0.45, -0.55), xticks=[], yticks=[], aspect="equal")
    axis.set_frame_on(False)


def say_boards(task, asked):
    """The board after the first and the last loop, and wherever it becomes right or wrong."""
    last = len(asked["right"])
    for t, (prediction, right) in enumerate(zip(asked["predictions"], asked["right"]), 1):
        if t in (1, last) or right != asked["right"][t - 2]:
            print(f"after loop {t}{', right' if right else ''}:")
            print(task.show(asked["tokens"], prediction))


# --------------------------------------------------------------------------------------------------
# The picture that moves


def animate(task, asked, path, title):
    """
    think.gif: the question alone, then a frame for each loop. A frame stands for half a second, the
    first and the last one longer.
    """
    loops = max(len(question["right"]) for question in asked)
    boards = isinstance(task, Sudoku)
    if boards:
        size = (WIDTH, WIDTH / len(asked) + 0.9)
        figure, _ = plt.subplots(1, len(asked), figsize=size, layout="constrained")
    else:
        figure = draw_sequences(task, asked)
    axes, heading = figure.axes, figure.suptitle("", size=12)
    frames = []
    for t in range(loops + 1):
        for axis, question in zip(axes, asked):
            if boards:
                show_board(axis, task, question, t)
            else:
                show_rows(axis, t)
        heading.set_text(f"{title}, after {t} loop{'s' if t != 1 else ''}")
        frames.append(frame_of(figure))
    write_frames(path, frames, milliseconds=500)


def show_rows(axis, t):
    """Of what draw_sequences drew, the question and the first t loops."""
    for cell in axis.patches:
        cell.set_visible(cell.get_y() < t)
    for text in axis.texts:
        text.set_visible(text.get_position()[1] <= max(t, 0.5))


def show_board(axis, task, question, t):
    """The board after t loops; before the first, the givens alone."""
    t = min(t, len(question["right"]))
    digits = question["predictions"][t - 1] if t else torch.zeros_like(question["tokens"])
    axis.clear()
    draw_answer(axis, task, question, digits)
    axis.set_title(question["title"].replace(": ", "\n"))
