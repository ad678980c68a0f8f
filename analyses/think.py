"""
What the model would answer after each loop, for one question of each of a few difficulties

The state after every loop is read as if it were the last: the hop walked, the carry moved, the board filling. The first
test question of half, once and twice the trained difficulty is shown, in the terminal and as a picture; with --animate
also as one that moves, think.gif, a frame for each loop.
"""

import torch
from PIL import Image

from analyses.common import add_loops, difficulties_of, main_of
from figures import BLUE, GREY, ORANGE, WIDTH, plt, write
from sudoku import Sudoku
from tasks import IGNORE
from train import load_model

MANY = False


def add_flags(parser):
    add_loops(parser, "the loops to show (default: as many as training allows that difficulty, or twice --loops)")
    parser.add_argument("--animate", action="store_true", help="also think.gif, in which the loops come one by one")


# -----------------------------------------------------------------------------
# Measure


def questions(task, flags, loops):
    """[(difficulty, loops)] to be shown."""
    top = task.max_difficulty
    chosen = [max(1, top // 2), top, min(2 * top, task.hardest)]
    if not task.grows:
        chosen = difficulties_of(task, "test", 1)[-3:]
    if loops:
        return [(difficulty, loops) for difficulty in chosen]
    if not flags.tied:
        return [(difficulty, flags.loops) for difficulty in chosen]
    if flags.sampler in ("blind", "difficulty"):
        return [(difficulty, difficulty + flags.lead + flags.slack) for difficulty in chosen]
    return [(difficulty, 2 * flags.loops) for difficulty in chosen]


@torch.no_grad()
def measure_question(model, task, difficulty, loops):
    """One question (T,), what a perfect thinker has in mind (T,), the predictions (loops, T), and which are right."""
    batch = task.batch("test", 0, 1, difficulty)
    predictions = [model.readout(h).argmax(-1) for h in model.states(batch.tokens, loops)][1:]
    right = [bool(task.check(batch, prediction)) for prediction in predictions]
    settled = next((t for t in range(1, loops + 1) if all(right[t - 1 :])), None)
    found = dict(difficulty=difficulty, tokens=batch.tokens[0].cpu(), truth=task.truth(batch)[0].cpu(), right=right)
    found.update(predictions=torch.cat(predictions).cpu(), settled=settled)
    found["title"] = f"{task.name_of(difficulty)}: " + (f"right from loop {settled}" if settled else "not solved")
    return found


# -----------------------------------------------------------------------------
# Draw


def draw_sequences(task, found):
    """A panel for each question: a row for each loop, as far as something happens, a column for each position."""
    rows = [min(len(each["right"]), (each["settled"] or len(each["right"])) + 2) for each in found]
    width = max(len(each["tokens"]) for each in found)
    figsize = (max(WIDTH, 0.25 * width), 0.25 * sum(rows) + 0.75 * len(found) + 0.6)
    figure, axes = plt.subplots(
        len(found), figsize=figsize, height_ratios=[n + 1 for n in rows], layout="constrained", squeeze=False
    )
    for axis, each, n in zip(axes[:, 0], found, rows):
        names = [task.name(token) for token in each["tokens"].tolist()]
        wide = max(map(len, names)) > 3
        for x, position in enumerate(task.order(each["tokens"])):
            truth = each["truth"][position].item()
            style = dict(rotation=90, va="bottom") if wide else dict(va="center")
            axis.text(x, 0.4 if wide else 0, names[position], ha="center", weight="bold", **style)
            for y, prediction in enumerate(each["predictions"][:n, position].tolist(), 1):
                if truth != IGNORE:
                    back, front = (BLUE, "white") if prediction == truth else ("#eeeeee", GREY)
                    axis.add_patch(plt.Rectangle((x - 0.5, y - 0.5), 1, 1, color=back, ec="white"))
                    axis.text(x, y, task.name(prediction), ha="center", va="center", color=front, size=10)
        axis.set(xlim=(-0.6, width - 0.4), ylim=(n + 0.5, -0.5), xticks=[], ylabel="loops")
        axis.set_title(each["title"], loc="left", pad=40 if wide else None)
        axis.set_yticks(range(n + 1), ["question", *range(1, n + 1)], fontsize=9)
        axis.tick_params(length=0)
        axis.set_frame_on(False)
    return figure


def draw_boards(task, found):
    """A row of boards for each question, after 1, 2, 4, .. loops and the last."""
    loops = len(found[0]["right"])
    columns = sorted({*(t for t in (1, 2, 4, 8, 16, 32) if t < loops), loops})
    size = WIDTH / len(columns)
    figsize = (WIDTH, (size + 0.35) * len(found) + 0.6)
    figure, axes = plt.subplots(len(found), len(columns), figsize=figsize, layout="constrained", squeeze=False)
    for row, each in zip(axes, found):
        for axis, t in zip(row, columns):
            draw_board(axis, task, each["tokens"].tolist(), each["truth"].tolist(), each["predictions"][t - 1].tolist())
            axis.set_title(f"loop {t}")
        row[0].set_ylabel(each["title"].replace(": ", "\n"))
    return figure


def draw_board(axis, task, tokens, truth, prediction):
    """A Sudoku board after some loops: givens black, the right digits of the model blue, its wrong ones orange."""
    n, (rows, columns) = task.n, map(int, task.box.split("x"))
    for cell, given in enumerate(tokens):
        style = dict(color=BLUE if prediction[cell] == truth[cell] else ORANGE)
        if given:
            style = dict(color="black", weight="bold")
        axis.text(cell % n, cell // n, task.name(given or prediction[cell]), ha="center", va="center", size=10, **style)
    for i in range(n + 1):
        axis.axhline(i - 0.5, color="k", lw=1.6 if i % rows == 0 else 0.3)
        axis.axvline(i - 0.5, color="k", lw=1.6 if i % columns == 0 else 0.3)
    axis.set(xlim=(-0.55, n - 0.45), ylim=(n - 0.45, -0.55), xticks=[], yticks=[], aspect="equal")
    axis.set_frame_on(False)


# -----------------------------------------------------------------------------
# Move


def animate(task, found, path, title):
    """think.gif: the question alone, then a frame for each loop; half a second each, the last one longer."""
    loops = max(len(each["right"]) for each in found)
    if isinstance(task, Sudoku):
        figure, axes = plt.subplots(1, len(found), figsize=(WIDTH, WIDTH / len(found) + 0.9), layout="constrained")
    else:
        figure = draw_sequences(task, found)
        axes = figure.axes
    figure.set_dpi(75)
    frames, heading = [], figure.suptitle("", size=12)
    for t in range(loops + 1):
        for axis, each in zip(axes, found):
            if isinstance(task, Sudoku):
                show_board(axis, task, each, t)
            else:
                show_rows(axis, t)
        heading.set_text(f"{title}, after {t} loop{'s' * (t != 1)}")
        figure.canvas.draw()
        figure.set_layout_engine("none")  # else a later frame would lie elsewhere
        frame = Image.frombytes("RGBA", figure.canvas.get_width_height(), bytes(figure.canvas.buffer_rgba()))
        frames.append(frame.convert("RGB").quantize(64))
    plt.close(figure)
    durations = [1500, *[500] * (loops - 1), 4000]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0)
    print(f"wrote {path}")


def show_rows(axis, t):
    """Of what draw_sequences drew, the question and the first t loops."""
    for cell in axis.patches:
        cell.set_visible(cell.get_y() < t)
    for text in axis.texts:
        text.set_visible(text.get_position()[1] <= max(t, 0.5))


def show_board(axis, task, each, t):
    """The board after t loops, at first the givens alone."""
    t = min(t, len(each["right"]))
    shown = each["predictions"][t - 1] if t else torch.zeros_like(each["tokens"])
    axis.clear()
    draw_board(axis, task, each["tokens"].tolist(), each["truth"].tolist(), shown.tolist())
    axis.set_title(each["title"].replace(": ", "\n"))


# -----------------------------------------------------------------------------
# Say


def say(task, found):
    print(f"\n{found['title']}\n{task.show(found['tokens'])}")
    for t, (prediction, right) in enumerate(zip(found["predictions"], found["right"]), 1):
        if not isinstance(task, Sudoku):
            named = zip(prediction.tolist(), found["truth"].tolist())
            thought = [task.name(p) if truth != IGNORE else " " for p, truth in named]
            print(f"  loop {t:>2}: {' '.join(thought)}{'   right' if right else ''}")
        elif t in (1, len(found["right"])) or right != found["right"][t - 2]:
            print(f"after loop {t}{', right' if right else ''}:\n{task.show(found['tokens'], prediction)}")


def main(runs, args):
    model, task, flags = load_model(runs[0], args.device)
    found = [measure_question(model, task, *each) for each in questions(task, flags, args.loops)]
    examples = []
    for each in found:
        say(task, each)
        shown = [task.show(each["tokens"], prediction) for prediction in each["predictions"]]
        question = task.show(each["tokens"])
        examples.append(dict(difficulty=each["difficulty"], question=question, after_loop=shown, right=each["right"]))
    figure = (draw_boards if isinstance(task, Sudoku) else draw_sequences)(task, found)
    trained = f"{flags.task}, trained to {task.name_of(task.max_difficulty)}"
    figure.suptitle(f"the answer after each loop (blue: right)\n{trained}", size=12)
    if args.animate:
        animate(task, found, runs[0] / "think.gif", f"{trained}: the answer (blue: right)")
    write(runs[0], "think", figure, dict(task=flags.task, seeds=[flags.seed], examples=examples))


if __name__ == "__main__":
    main_of("think")
