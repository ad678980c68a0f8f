"""
The rules of every verdict. A claim has parts, and each part compares numbers, one of each seed:

    more(name, this, that, by)          this is higher than that, by so much
    lower(name, this, that, by)         this loss is lower than that one, by so much
    as_good(name, this, that, within)   this is at most so much lower than that
    reaches(name, this, bar)            this is as high as a bar
    stays_below(name, this, bar)        this is lower than a bar

The margin of a part is the distance from what it asks for. It is answered with yes or no only if

    (a) the models that it needs have learned: `learned` has {name: (numbers, their bar)};
    (b) its bar can be reached, and can be missed: above a control that is perfect there is no room,
        nor below a loss of nearly 0, and a bar that the `weak` model passes, too, says nothing;
    (c) the margin is larger than its standard error, of the seeds and of the questions.

Otherwise it says "no difference seen", or "not tested" and what is missing: within the noise of a
bar, more seeds.
"""

from dataclasses import dataclass

import numpy as np

YES, NO, SAME, UNTESTED = "yes", "no", "no difference seen", "not tested"
QUESTIONS = 500  # of an accuracy, where a claim does not say otherwise
NOISE = f"{UNTESTED}: more seeds, for the margin is within the noise"
REPRODUCED, IN_PART, DEPENDS = "reproduced", "reproduced in part", "depends"
VERDICTS = (REPRODUCED, IN_PART, DEPENDS, "not reproduced", SAME, UNTESTED)  # the page's order


@dataclass
class Part:
    """A part of a claim, and whether it is shown."""

    name: str
    answer: str  # YES, NO, SAME, or UNTESTED and what is missing
    margin: float  # the mean of the seeds; negative: on the wrong side
    error: float  # one standard error of it


def more(name, this, that, by=0.0, **rules):
    inside = NOISE if by else SAME
    part = judged(name, np.subtract(this, that) - by, (this, that), inside, **rules)
    if rules.get("questions", QUESTIONS) and np.mean(that) + by + part.error >= 1:
        return not_tested(part, "the control leaves no room above it")
    return part


def is_clear(this, that):
    """Is this higher than that, by more than one standard error of the seeds?"""
    return more("", this, that, learned={}, questions=0).answer == YES


def lower(name, this, that, by=0.0, **rules):
    margins = np.subtract(that, this) - by
    inside = NOISE if by else SAME
    part = judged(name, margins, (this, that), inside, questions=0, **rules)
    if np.mean(that) - by - part.error <= 0:
        return not_tested(part, "the loss of the control leaves no room below it")
    return part


def as_good(name, this, that, within, *, weak, **rules):
    part = judged(name, np.subtract(this, that) + within, (this, that), NOISE, **rules)
    return can_be_missed(part, np.mean(weak) < np.mean(that) - within)


def reaches(name, this, bar, *, weak, **rules):
    part = judged(name, np.subtract(this, bar), (this,), NOISE, **rules)
    return can_be_missed(part, np.mean(weak) < bar)


def stays_below(name, this, bar, *, weak, **rules):
    part = judged(name, np.subtract(bar, this), (this,), NOISE, **rules)
    return can_be_missed(part, np.mean(weak) > bar)


def judged(
    name, margins, accuracies, inside, *, learned, questions=QUESTIONS, shared=False, missing=""
):
    """
    A part by the rules (a) and (c); `inside` is the answer if the margin is within the noise. The
    numbers are accuracies of so many questions each, or with questions=0 something else. If the
    seeds share their questions, more seeds do not lower the error of these. `missing` is a lack
    that the claim itself has found.
    """
    seeds = len(margins)
    variance = np.var(margins, ddof=1) / seeds if seeds > 1 else 0.0
    if questions:
        of_questions = sum(np.mean(p) * (1 - np.mean(p)) for p in accuracies) / questions
        variance += of_questions if shared else of_questions / seeds
    part = Part(name, inside, float(np.mean(margins)), float(variance**0.5))
    if abs(part.margin) > part.error:
        part.answer = YES if part.margin > 0 else NO
    if missing:
        return not_tested(part, missing)
    if len(margins) < 3:
        return not_tested(part, "three seeds")
    for model, (numbers, bar) in learned.items():
        if np.mean(numbers) < bar:
            return not_tested(
                part, f"{model} has not learned (mean {np.mean(numbers):.2f}, bar {bar})"
            )
    return part


def can_be_missed(part, is_missed):
    return part if is_missed else not_tested(part, "a model that misses the bar")


def not_tested(part, missing):
    if not part.answer.startswith(UNTESTED) or part.answer == NOISE:  # else more is missing
        part.answer = f"{UNTESTED}: {missing}"
    return part


def verdict_of(parts):
    """
    "reproduced" if all parts are shown, "in part" if none of the others is refuted, "depends" if
    one is; and each part with its answer.
    """
    answers = {part.answer.split(":")[0] for part in parts}
    if answers == {YES}:
        return REPRODUCED
    if YES in answers:
        kind = DEPENDS if NO in answers else IN_PART
    elif NO in answers:
        kind = "not reproduced"
    else:
        kind = SAME if SAME in answers else UNTESTED
    told = "; ".join(f"{part.name}: {part.answer}" for part in parts)
    return f"{kind} ({told})"


def kind_of(verdict):
    """Its first words: one of VERDICTS."""
    return verdict.split(" (")[0]
