"""What the pictures of this project share: a backend without a screen, colours, and the numbers beside each picture."""

import json
import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (after the backend is chosen)

# told apart by every kind of eye (Okabe and Ito 2008)
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#777777"


def plain(value):
    """A value that JSON can hold: None where a number is nan or infinite."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(folder, name, figure, numbers):
    """NAME.png and NAME.json into a folder."""
    figure.savefig(folder / f"{name}.png", dpi=150)
    lines = [f"{json.dumps(key)}: {json.dumps(plain(value))}" for key, value in numbers.items()]
    (folder / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    plt.close(figure)
    print(f"wrote {folder}/{name}.png and {name}.json")


class Picture:
    """Shows a picture file where a notebook cell ends with it; FileNotFoundError if there is none."""

    def __init__(self, path):
        self.png = Path(path).read_bytes()

    def _repr_png_(self):  # what Jupyter asks for
        return self.png
