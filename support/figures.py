"""
What the pictures of this project share: a backend without a screen, colours, sizes, and the numbers
beside each picture. A picture is WIDTH inches wide, which a README shows at about 850 pixels, so
text of 9 points can be read.
"""

import json
import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (after the backend is chosen)

WIDTH = 8.5
plt.rcParams.update(
    {"font.size": 11, "axes.titlesize": 11, "axes.spines.top": False, "axes.spines.right": False}
)

# told apart by every kind of eye (Okabe and Ito 2008)
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#777777"


def plain(value):
    """A value that JSON can hold: None where a number is nan or infinite."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(folder, name, figure, numbers=None):
    """
    NAME.png and NAME.json into a folder; without numbers, a further picture of those written
    before.
    """
    figure.savefig(folder / f"{name}.png", dpi=150)
    plt.close(figure)
    if numbers is None:
        print(f"wrote {folder}/{name}.png")
        return
    lines = [f"{json.dumps(key)}: {json.dumps(plain(value))}" for key, value in numbers.items()]
    (folder / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"wrote {folder}/{name}.png and {name}.json")


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


class Picture:
    """
    Shows a picture file where a notebook cell ends with it; FileNotFoundError if there is none.
    """

    def __init__(self, path):
        self.png = Path(path).read_bytes()

    def _repr_png_(self):  # what Jupyter asks for
        return self.png
