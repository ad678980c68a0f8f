"""
What the pictures of this project share: figures without a screen, colours, sizes, and the numbers
beside each picture. A picture is WIDTH inches wide, which a README shows at about 850 pixels, so
text of 9 points can be read. To import this file changes nothing for the notebook of somebody else.
"""

import json
import math
from types import SimpleNamespace

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from PIL import Image  # matplotlib brings it

WIDTH = 8.5
STYLE = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def in_style():
    """Within `with in_style():` or under `@in_style()`, what is drawn has the style of ours."""
    return matplotlib.rc_context(STYLE)


def figure(**options):
    new = Figure(**options)
    FigureCanvasAgg(new)
    return new


def subplots(rows=1, columns=1, figsize=None, layout=None, **options):
    new = figure(figsize=figsize, layout=layout)
    return new, new.subplots(rows, columns, **options)


# What we use of matplotlib.pyplot, which itself would open windows and keep every figure.
plt = SimpleNamespace(figure=figure, subplots=subplots, cm=matplotlib.cm)
plt.Rectangle, plt.MaxNLocator = Rectangle, MaxNLocator

# told apart by every kind of eye (Okabe and Ito 2008)
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#777777"


def plain(value):
    """A value that JSON can hold: None where a number is nan or infinite."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def save_figure(figure, path, dpi):
    """A picture file, in which the names of files stand as they are: a $ begins no formula."""
    for text in figure.findobj(Text):
        if text.get_text():  # the numbers of a logarithmic axis, which are formulas, come later
            text.set_parse_math(False)
            text.set_text(text.get_text().encode(errors="replace").decode())
    figure.savefig(path, dpi=dpi)


def write(folder, name, figure, numbers=None):
    """
    NAME.json and NAME.png into a folder; without numbers, a further picture of those written
    before.
    """
    if numbers is not None:
        lines = [f"{json.dumps(key)}: {json.dumps(plain(value))}" for key, value in numbers.items()]
        (folder / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    save_figure(figure, folder / f"{name}.png", dpi=150)
    print(f"wrote {folder}/{name}.png" + (f" and {name}.json" if numbers is not None else ""))


def frame_of(figure):
    """What a figure shows now, as a frame of a picture that moves."""
    figure.set_dpi(75)
    figure.canvas.draw()
    figure.set_layout_engine("none")  # else the parts of a later frame would lie elsewhere
    size, pixels = figure.canvas.get_width_height(), bytes(figure.canvas.buffer_rgba())
    return Image.frombytes("RGBA", size, pixels).convert("RGB").quantize(64)


def write_frames(path, frames, milliseconds):
    """A GIF whose frames stand for so long, the first and the last one for longer."""
    durations = [1500, *[milliseconds] * (len(frames) - 2), 4000]
    first, *others = frames
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0)
    print(f"wrote {path}")


def seeds_text(seeds):
    """How many seeds stand behind a picture, in words: of a list of seeds, or of their number."""
    n = seeds if isinstance(seeds, int) else len(seeds)
    return f"{n} seed{'s' * (n != 1)}"


def label_ends(axis, labels, gap=0.06):
    """
    Write each curve's name at its right end instead of a legend: labels are (y, text, color), y
    where the curve ends. Names that would stand closer than `gap` (a share of the axis's height)
    are moved apart; so that they stand where the curves end, call this when everything is drawn.
    """
    ends = [
        axis.transAxes.inverted().transform(axis.transData.transform((0, y)))[1]
        for y, _, _ in labels
    ]
    order = sorted(range(len(labels)), key=lambda i: ends[i])
    for height, i in zip(spread([ends[i] for i in order], gap), order):
        _, text, color = labels[i]
        axis.text(1.02, height, text, color=color, va="center", transform=axis.transAxes)


def spread(heights, gap):
    """Sorted numbers, moved as little as they need to be at least `gap` apart."""
    groups = []  # (numbers, their middle): those that touch are spread around their common middle
    for height in heights:
        group = [[height], height]
        while (
            groups
            and groups[-1][1] + gap * len(groups[-1][0]) / 2 > group[1] - gap * len(group[0]) / 2
        ):
            group[0] = groups.pop()[0] + group[0]
            group[1] = sum(group[0]) / len(group[0])
        groups.append(group)
    return [
        middle + gap * (i - (len(part) - 1) / 2)
        for part, middle in groups
        for i in range(len(part))
    ]
