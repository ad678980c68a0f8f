"""
Looped Transformers are Better at Learning Learning Algorithms (Yang et al. 2024, arXiv 2311.12424)

The model is papers/in_context_regression.py; regression.py makes the prompts and trains. Does one
layer, looped b times, do what a stack of b layers does, and does its error stay when it loops on?
The control has its loss on loop b alone. Beside them: gradient descent, and least squares.

    python -m claims.in_context_regression --seeds 23 24 25    13 to 16 minutes a seed on one thread
"""

import torch

from claims.experiment import Claim, run_claim
from claims.regression import D, error_by_loop, fit, gradient_descent, least_squares, prompts
from claims.rows import COLORS
from papers.in_context_regression import RegressionConfig, RegressionGPT
from support.fast import speed_up
from support.figures import WIDTH, label_ends, plt
from support.hashing import stream

LOOPS, LAST = 12, 8  # b and T
CLAIM = Claim(
    name="in_context_regression",
    title="Looped Transformers are Better at Learning Learning Algorithms (Yang et al. 2024)",
    arxiv="2311.12424",
    changes="z_0 = 0, z <- f(z + x) on real vectors; loss on the last T of b loops",
    claim="one looped layer matches the stack on least squares, and its error stays flat past b "
    "loops",
    theirs="1 layer looped as good as 12 layers, flat past b = 30 (20 dimensions)",
    note=f"{D} dimensions, b = {LOOPS}, T = {LAST}; a pair is one token, and sees all others; no "
    "curriculum. On seeds 20 to 22, which chose b, the steps and the stack's norm, the errors were "
    "0.0017, after 5 b 0.0017, of the stack 0.0003; with 2,000 steps 0.0035, 0.0048 (which is not "
    "flat) and 0.0011",
)
LOOPED, FINAL = "looped, loss on the last T", "looped, loss on loop b alone"
STACK, DESCENT = f"stack of {LOOPS} layers", "gradient descent"
MODELS = {
    LOOPED: dict(loops=LOOPS, last=LAST),
    FINAL: dict(loops=LOOPS, last=0),
    STACK: dict(  # with post-norm it does not learn
        loops=LOOPS, last=0, tied=False, injection="none", state_init="embed", norm="pre"
    ),
}


def measure(lab):
    size = 8 if lab.tiny else 2000
    test = prompts(lab.seed, "test", 0, size)
    for name, settings in MODELS.items():
        torch.manual_seed(stream(lab.seed, "weights"))
        model = speed_up(RegressionGPT(RegressionConfig(**settings)))
        model = fit(lab, name.replace(" ", "_"), model)
        curve = error_by_loop(model, *test, LOOPS if name == STACK else 5 * LOOPS)
        parameters = sum(p.numel() for p in model.core.parameters())
        row = dict(model=name, at_b=curve[LOOPS], at_5b=curve[-1], parameters=parameters)
        yield row | dict(by_loop=curve)
    curve = descent(prompts(lab.seed, "val", 0, 10 * size), test)
    yield dict(model=DESCENT, at_b=curve[LOOPS], by_loop=curve)
    yield dict(model="least squares", error=least_squares(*test))


def descent(val, test):
    """The error on test after each number of steps, each with the rate that is best on val."""
    rates = [0.05 * i for i in range(1, 25)]  # on few prompts, rare ones would explode unseen
    by_rate = torch.tensor([gradient_descent(*val, 5 * LOOPS, rate) for rate in rates])
    best = by_rate.nan_to_num(1e9).argmin(0).tolist()
    errors = [gradient_descent(*test, t + 1, rates[i])[-1] for t, i in enumerate(best)]
    return [1.0, *errors]


def judge(table):
    ours = table.tell(["model"], dict(at_b=4, at_5b=4))
    at_b, at_5b = (table.medians(column, over="model") for column in ("at_b", "at_5b"))
    matches, flat = at_b[LOOPED] <= 1.25 * at_b[STACK], at_5b[LOOPED] <= 1.25 * at_b[LOOPED]
    if matches and flat:
        drifts = at_5b[FINAL] > 2 * at_b[FINAL]
        verdict = "reproduced"
        verdict += "" if drifts else ", but the loss on loop b alone stays flat, too"
    elif flat and at_b[FINAL] <= 1.25 * at_b[STACK]:
        verdict = "depends: flat with one loss, as good as the stack with the other"
    elif flat:
        verdict = "depends: flat, but the stack is better"
    elif matches:
        verdict = "depends: as good as the stack, but not flat"
    else:
        verdict = "not reproduced"
    return f"error (share of the variance) at b = {LOOPS}: {ours}", verdict


def draw(table):
    figure, axis = plt.subplots(figsize=(WIDTH, 4.5), layout="constrained")
    ends, colors = [], {LOOPED: COLORS[1], FINAL: COLORS[3], STACK: COLORS[2], DESCENT: COLORS[0]}
    for name, color in colors.items():
        style = "--" if name == DESCENT else "-"
        table.curves(axis, "by_loop", first=0, style=style, color=color, model=name)
        end = min(curve[-1] for curve in table.values("by_loop", model=name))
        ends.append((end, name.replace(", ", ",\n"), color))
    axis.axvline(LOOPS, color="black", ls=":", label="b, the loops of training")
    axis.set(yscale="log", xlabel="loops (layers, steps)")
    axis.set_ylabel("squared error (share of the variance of y)")
    axis.legend()
    label_ends(axis, ends, 0.12)
    return figure


if __name__ == "__main__":
    run_claim(CLAIM, measure, judge, draw)
