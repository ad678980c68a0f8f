"""IsoFLOP bookkeeping: the price of a step against blocks counted while they run, the best loops of a known curve."""

import math

import pytest
import torch
from helpers import build, paper, tokens

parcae = paper("parcae")


@pytest.mark.parametrize("loops", [2, 3, 8])
def test_the_price_of_a_step_is_that_of_the_blocks_that_ran(loops):
    model, ran = build(norm="pre", injection="diagonal", loops=loops, backprop_loops=-(-loops // 2)), []
    model.core[0].register_forward_hook(lambda *_: ran.append(torch.is_grad_enabled()))
    model.loss(tokens(), tokens(2), loops)
    assert parcae.cost(loops) == len(ran) + 2 * sum(ran)  # a backward pass counts as two


@pytest.mark.parametrize("loops", [2, 5, 16])
def test_the_best_loops_are_the_lowest_point(loops):
    curve = {f"100, {each}": math.exp((math.log2(each) - math.log2(loops)) ** 2 - 3) for each in parcae.LOOPS}
    assert parcae.best([curve], 100) == pytest.approx(loops)


def test_beyond_what_was_tried_the_last_one_is_the_best():
    falling = {f"100, {each}": 1 / each**2 for each in parcae.LOOPS}
    assert parcae.best([falling], 100) == parcae.LOOPS[-1]
    rising = {f"100, {each}": float(each) for each in parcae.LOOPS}
    assert parcae.best([rising], 100) == parcae.LOOPS[0]


@pytest.mark.parametrize(
    "best, flat, verdict", [((2, 8), True, "reproduced"), ((8, 8), True, "depends"), ((8, 2), False, "not")]
)
def test_the_verdict(best, flat, verdict):
    found, last = {}, parcae.BUDGETS[-1]
    for budget in parcae.BUDGETS:
        for loops in parcae.LOOPS:
            found[f"{budget}, {loops}"] = math.exp((math.log2(loops) - math.log2(best[budget == last])) ** 2)
    found["by loop"] = [2.0] + 63 * [1.0] if flat else [2.0 - 0.01 * t for t in range(64)]
    assert parcae.judge([found])[1].startswith(verdict)
