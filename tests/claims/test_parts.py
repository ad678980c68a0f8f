"""The rules of the verdicts, with numbers whose answer is plain."""

import pytest

from claims.parts import (
    NOISE,
    VERDICTS,
    Part,
    as_good,
    kind_of,
    lower,
    more,
    reaches,
    stays_below,
    verdict_of,
)

LEARNED = dict(learned={"the control": ([0.95, 0.95, 0.95], 0.9)})
FAILED = dict(learned={"the control": ([0.1, 0.2, 0.3], 0.9)})


@pytest.mark.parametrize(
    "this, answer",
    [
        ([0.9, 0.8, 0.85], "yes"),
        ([0.3, 0.2, 0.25], "no"),
        ([0.5, 0.6, 0.4], "no difference seen"),
        ([0.51, 0.52, 0.51], "no difference seen"),  # the questions leave that much open
    ],
)
def test_more(this, answer):
    assert more("a", this, [0.5, 0.5, 0.5], **LEARNED).answer == answer
    assert more("a", this, [0.5, 0.5, 0.5], **FAILED).answer == (
        "not tested: the control has not learned (mean 0.20, bar 0.9)"
    )


def test_the_error_is_of_the_seeds_and_of_the_questions():
    part = more("a", [0.6, 0.7, 0.8], [0.5, 0.5, 0.5], 0.1, **LEARNED)
    assert part.margin == pytest.approx(0.1)
    of_seeds, of_questions = 0.1**2, (0.7 * 0.3 + 0.5 * 0.5) / 500
    assert part.error == pytest.approx(((of_seeds + of_questions) / 3) ** 0.5)
    shared = more("a", [0.6, 0.7, 0.8], [0.5, 0.5, 0.5], 0.1, **LEARNED, shared=True)
    assert shared.error == pytest.approx((of_seeds / 3 + of_questions) ** 0.5)
    counted = more("a", [6, 7, 8], [5, 5, 5], questions=0, **LEARNED)
    assert counted.error == pytest.approx((1 / 3) ** 0.5) and counted.answer == "yes"


def test_within_the_noise_of_a_bar_more_seeds_are_needed():
    this, that = [0.60, 0.64, 0.62], [0.5, 0.5, 0.5]
    assert more("a", this, that, 0.12, **LEARNED).answer == NOISE
    assert more("a", [0.50, 0.52, 0.49], that, **LEARNED).answer == "no difference seen"


def test_above_a_perfect_control_there_is_no_room():
    for control, by in (([1.0] * 3, 0.0), ([0.81] * 3, 0.2)):
        part = more("a", [1.0] * 3, control, by, **LEARNED)
        assert part.answer == "not tested: the control leaves no room above it"
    assert more("a", [1.0] * 3, [0.9] * 3, **LEARNED).answer == "yes"
    assert more("a", [30] * 3, [20] * 3, questions=0, **LEARNED).answer == "yes"


@pytest.mark.parametrize(
    "this, control, answer",
    [
        ([0.3, 0.4, 0.5], [1.0, 1.0, 1.0], "yes"),
        ([1.3, 1.4, 1.5], [1.0, 1.0, 1.0], "no"),
        ([0.7, 1.2, 0.8], [1.0, 1.0, 1.0], NOISE),  # whether by 0.1, that is; it is lower
    ],
)
def test_a_lower_loss(this, control, answer):
    assert lower("a", this, control, 0.1, **LEARNED).answer == answer
    assert lower("a", this, control, 0.1, **FAILED).answer.startswith("not tested")


def test_below_a_loss_of_nearly_nothing_there_is_no_room():
    part = lower("a", [0.0] * 3, [0.08, 0.09, 0.08], 0.1, **LEARNED)
    assert part.answer == "not tested: the loss of the control leaves no room below it"


def test_three_seeds_at_least_and_what_the_claim_itself_misses():
    assert more("a", [0.9, 0.9], [0.1, 0.1], **LEARNED).answer == "not tested: three seeds"
    part = more("a", [0.9] * 3, [0.1] * 3, missing="more loops", **LEARNED)
    assert part.answer == "not tested: more loops"


@pytest.mark.parametrize(
    "this, weak, answer",
    [
        ([0.97, 0.98, 0.97], 0.2, "yes"),
        ([0.7, 0.8, 0.75], 0.2, "no"),
        ([0.94, 0.92, 0.96], 0.2, NOISE),
        ([0.97, 0.98, 0.97], 0.96, "not tested: a model that misses the bar"),
    ],
)
def test_as_good(this, weak, answer):
    assert as_good("a", this, [0.99] * 3, 0.05, weak=[weak], **LEARNED).answer == answer
    assert "not learned" in as_good("a", this, [0.99] * 3, 0.05, weak=[0.2], **FAILED).answer


@pytest.mark.parametrize(
    "this, weak, answer",
    [
        ([0.97, 0.98, 0.97], 0.2, "yes"),
        ([0.7, 0.8, 0.75], 0.2, "no"),
        ([0.89, 0.91, 0.9], 0.2, NOISE),
        ([0.97, 0.98, 0.97], 0.95, "not tested: a model that misses the bar"),
    ],
)
def test_a_bar_from_below_and_from_above(this, weak, answer):
    assert reaches("a", this, 0.9, weak=[weak], **LEARNED).answer == answer
    turned = [1 - each for each in this]
    assert stays_below("a", turned, 0.1, weak=[1 - weak], **LEARNED).answer == answer


@pytest.mark.parametrize(
    "answers, kind",
    [
        (["yes", "yes"], "reproduced"),
        (["yes", "not tested: seeds"], "reproduced in part"),
        (["yes", "no difference seen"], "reproduced in part"),
        (["yes", "no", "not tested: seeds"], "depends"),
        (["no", "no difference seen"], "not reproduced"),
        (["no difference seen", "not tested: seeds"], "no difference seen"),
        (["not tested: seeds"], "not tested"),
    ],
)
def test_the_verdict_of_parts(answers, kind):
    verdict = verdict_of([Part(f"part {i}", each, 0, 0) for i, each in enumerate(answers)])
    assert kind_of(verdict) == kind and kind in VERDICTS
    assert verdict == "reproduced" or all(f": {each}" in verdict for each in answers)
