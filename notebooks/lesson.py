"""
What the lessons share. Your function is tried beside the lesson's own, and the notebook goes on
with one of them. Your guess is printed beside what came out. A run is trained once.
"""

import copy
import io
import json
import os
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import torch

import train
from support.figures import STYLE
from support.folder import other_flag

matplotlib.use("Agg")  # a lesson shows its pictures itself, see Drawn
plt.rcParams.update(STYLE)

FEW = "--steps 2 --eval_every 1 --eval_size 4 --batch 8"  # of training, for the test suite


def fast():
    """
    The folder where the test suite wants its runs, which have a few steps. None if a person runs
    the notebook.
    """
    return os.environ.get("LOOPED_FAST")


def trained(name, flags):
    """
    The model and the task of the run NAME. It is trained with these flags, unless it was trained
    before; a run that was interrupted is continued.
    """
    folder = Path(fast() or "runs/notebooks", name)
    config, metrics = folder / "config.json", folder / "metrics.jsonl"

    def step():
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        return json.loads(lines[-1])["step"] if lines else 0

    print("train.py", flags)
    if config.exists() and not fast():
        wanted, _ = train.parse_flags([*flags.split(), "--out", str(folder)])
        if other := other_flag(folder, wanted):
            found = f"{folder} was trained with another --{other}"
            raise ValueError(f"{found}: call this run by another name")
    if not config.exists() or step() < json.loads(config.read_text())["steps"]:
        again = ["--resume"] if config.exists() else ["--overwrite"]
        few = FEW.split() if fast() else []
        train.main(["--threads", "1", "--out", str(folder), *again, *flags.split(), *few])
    else:
        print(f"{folder} is there: {step():,} steps, trained before")
    model, task, _ = train.load_model(folder)
    return model, task


def guess(yours, found):
    """Print your guess, `...` if you have none, beside what came out."""
    said = "no guess" if yours is ... else f"your guess: {yours}"
    if isinstance(found, float):
        found = f"{found:.2f}"
    print(f"{said}; it is {found}")


def take(yours, ours, *arguments, mistakes=(), numbers=lambda result: result):
    """
    Returns `yours` if it gives on these arguments what `ours` gives, else `ours`, and prints which
    of them, and why. `mistakes` are pairs (function, text): if yours gives what such a function
    gives, the text is printed. What is compared are the `numbers` of a result.
    """

    def result_of(function):
        return numbers(function(*copy.deepcopy(arguments)))

    name, expected = yours.__name__, result_of(ours)
    try:
        found = result_of(yours)
    except NotImplementedError:
        print(f"{name}: not written yet, going on with the lesson's")
        return ours
    except Exception as error:  # whatever a reader's first try can raise
        print(f"{name}: {type(error).__name__}: {error}; going on with the lesson's")
        return ours
    if alike(found, expected):
        print(f"{name}: right")
        return yours
    said = [text for mistake, text in mistakes if alike(found, result_of(mistake))]
    print(f"{name}: {said[0] if said else difference(found, expected)}; going on with the lesson's")
    return ours


def alike(one, other):
    """Are two results the same, to four digits?"""
    try:
        one, other = (torch.as_tensor(each, dtype=torch.float64) for each in (one, other))
    except (TypeError, ValueError, RuntimeError):
        return False
    if one.shape != other.shape:
        return False
    return torch.allclose(one, other, rtol=1e-4, atol=1e-4, equal_nan=True)


def difference(found, expected):
    """How a result differs from the expected one, in words."""
    if found is None:
        return "it returns nothing"
    try:
        shapes = [tuple(torch.as_tensor(each).shape) for each in (found, expected)]
    except (TypeError, ValueError, RuntimeError):
        return f"it returns a {type(found).__name__}, wanted are numbers"
    if shapes[0] != shapes[1]:
        return f"its result has the shape {shapes[0]}, not {shapes[1]}"
    return "other numbers than expected"


class Drawn:
    """The figure that was drawn last. A cell that ends with it shows it."""

    def __init__(self):
        buffer = io.BytesIO()
        plt.savefig(buffer, format="png", dpi=100, bbox_inches="tight")
        plt.close()
        self.png = buffer.getvalue()

    def _repr_png_(self):  # what Jupyter asks for
        return self.png
