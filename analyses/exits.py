"""
Exit rules: accuracy against the loops spent, for each rule of when to stop

`solve` lets each question stop on its own. Every rule is tried at many thresholds. For each rule
the cheapest threshold among those within 0.01 of its best accuracy on val is chosen, and reported
on test, for easy questions (trained difficulties) and hard ones apart. The rule "fixed" spends the
same number of loops on every question.

A rule looks at the state (settle), at how far the prediction moves (kl) or at how undecided it is
(entropy). What it looks at and where it looks are two things, so settle and kl are tried both at
the answer alone and everywhere. A model that was trained to stop has a rule of its own in
`exit_rules` (the gate of Ouro, say), which is tried as well.
"""

import math

import torch
from tqdm import tqdm

from analyses.common import (
    add_examples,
    add_factor,
    add_loops,
    difficulties_of,
    load_looped,
)
from looped import LoopedGPT, settle
from support.figures import BLUE, GREEN, GREY, ORANGE, WIDTH, label_ends, plt, seeds_text, write
from support.hashing import stream
from support.processes import fail
from tasks import IGNORE
from train import trained_loops

MANY = True

# --------------------------------------------------------------------------------------------------
# The rules, beside `settle` of looped.py, where it says what a rule is given: `model.solve(tokens,
# kl, threshold=0.001)` stops by one of them.


def settle_at_answer(model, before, h, answer_mask, last):
    """How far the loop moved the states of the answers alone."""
    at_answer = answer_mask[..., None]
    return settle(model, before * at_answer, h * at_answer, answer_mask, last)


def kl(model, before, h, answer_mask, last):
    """
    How far it moved the prediction: KL(p_t, p_(t-1)) in nats, the largest at an answer (Kohli
    2026).
    """
    log_p, log_q = model.readout(h).log_softmax(-1), model.readout(before).log_softmax(-1)
    moved = (log_p.exp() * (log_p - log_q)).sum(-1)  # (B, T)
    return moved.masked_fill(~answer_mask, -math.inf).amax(1)


def kl_everywhere(model, before, h, answer_mask, last):
    """How far it moved the prediction, at whichever position it moved most."""
    return kl(model, before, h, torch.ones_like(answer_mask), last)


def entropy(model, before, h, answer_mask, last):
    """How undecided the prediction is: its entropy in nats, the largest at an answer."""
    log_p = model.readout(h).log_softmax(-1)
    undecided = (log_p.exp() * -log_p).sum(-1)  # (B, T)
    return undecided.masked_fill(~answer_mask, -math.inf).amax(1)


RULES = {  # as in LoopedGPT.exit_rules: {name: (rule, usual threshold)}
    "settle": LoopedGPT.exit_rules["settle"],
    "settle at answer": (settle_at_answer, 0.05),
    "kl": (kl, 0.001),
    "kl everywhere": (kl_everywhere, 0.001),
    "entropy": (entropy, 0.1),
}
# 1, 0.32, 0.1, .. to 1e-8, where float32 has little left to measure
THRESHOLDS = [float(f"{10 ** (-i / 2):.1e}") for i in range(17)]
STYLES = {  # the colour and the style of each rule
    "fixed": (GREY, "-"),
    "settle": (BLUE, "o-"),
    "settle at answer": (BLUE, "x:"),
    "kl": (ORANGE, "s-"),
    "kl everywhere": (ORANGE, "+:"),
    "entropy": (GREEN, "^-"),
}
OWN_STYLES = [("#CC79A7", "d-"), ("k", "v-"), ("#CC79A7", "P:"), ("k", "*:")]  # a model's own rules


def rules_of(model):
    """All rules for a model, {name: (rule, usual threshold)}: those above, and then its own."""
    own = {}
    for name, rule in model.exit_rules.items():
        if name not in LoopedGPT.exit_rules and name not in RULES:
            own[name] = rule
    return RULES | own


def thresholds_of(name, usual):
    """The thresholds to try for a rule; the scale of a model's own rule only the model knows."""
    if name in RULES:
        return THRESHOLDS
    near_one = (0.999, 0.99, 0.97, 0.95, 0.9, 0.8, 0.7, 0.5)  # for rules that measure chances
    return sorted({*THRESHOLDS, *near_one, usual}, reverse=True)


def add_flags(parser):
    add_loops(parser, "most loops to spend (default: six times the most of training, at most 64)")
    text = "five times the questions of each difficulty (default 500, which asks 100 of each)"
    add_examples(parser, text)
    add_factor(parser)


# --------------------------------------------------------------------------------------------------
# Measure


@torch.no_grad()
def measure_exits(model, task, flags, split, args):
    """
    One run: {"difficulty": (N,)}, and for each setting, (rule, threshold) or ("fixed", loops),
    (2, N): was the question answered right, and after how many loops?
    """
    loops = args.loops or min(64, 6 * trained_loops(flags, task)["largest"])
    size, top = max(2, args.examples // 5), task.max_difficulty
    difficulties = difficulties_of(task, split, args.factor)
    if task.grows:  # every third of the trained ones is enough
        third = max(1, top // 3)
        difficulties = [d for d in difficulties if d > top or d % third == 0]
    rules, parts = rules_of(model), []
    for difficulty in tqdm(difficulties, desc="exits", leave=False, disable=None):
        torch.manual_seed(stream(flags.seed, "starts", difficulty))  # for state_init="noise"
        batch = task.batch(split, 0, size, difficulty)
        right, measured = follow(model, task, batch, rules, loops)
        part = {"difficulty": batch.difficulty}
        for t in range(1, loops + 1):
            part["fixed", t] = used(right, torch.full_like(batch.difficulty, t))
        for name, (_, usual) in rules.items():
            for threshold in thresholds_of(name, usual):
                stops = measured[name] < threshold
                stops[-1] = True
                first = stops.int().argmax(0) + 1  # (N,): the loop after which each question stops
                part[name, threshold] = used(right, first)
        parts.append({key: value.cpu() for key, value in part.items()})
    return join(parts)


def follow(model, task, batch, rules, loops):
    """
    After each loop: is each question right, (loops, N), and what does each rule measure, {name:
    (loops, N)}?
    """
    answers = batch.targets != IGNORE
    nothing = torch.full((len(answers),), math.inf, device=answers.device)
    right, measured = [], {name: [nothing] for name in rules}
    before = None
    for h in model.states(batch.tokens, loops):
        if before is not None:
            right.append(task.check(batch, model.readout(h).argmax(-1)))
            for name, (measure, _) in rules.items():
                last = measured[name][-1]
                measured[name].append(measure(model, before, h, answers, last))
        before = h
    return torch.stack(right), {name: torch.stack(each[1:]) for name, each in measured.items()}


def used(right, loops):
    """(2, N): was each question right (loops, N) after its number of loops (N,); that number."""
    return torch.stack((right.gather(0, loops[None] - 1)[0], loops))


def join(parts):
    """Questions (.., N) of several dictionaries side by side."""
    return {key: torch.cat([part[key] for part in parts], dim=-1) for key in parts[0]}


def choose(val, settings):
    """The cheapest setting on val among those within 0.01 of the best accuracy."""
    accuracy = {key: val[key][0].float().mean() for key in settings}
    good = [key for key in settings if accuracy[key] >= max(accuracy.values()) - 0.01]
    return min(good, key=lambda key: val[key][1].float().mean())


def summarise(rule, val, test, hard):
    """One rule in exits.json: what it does at each setting, and at the chosen one in detail."""
    settings = [key for key in test if key[0] == rule]
    chosen = choose(val, settings)
    found = dict(settings=[setting for _, setting in settings], chosen=chosen[1], by_difficulty=[])
    for kind, rows in (("easy", ~hard), ("hard", hard)):
        # [right, loops] of each setting
        found[kind] = [test[key][:, rows].float().mean(1).tolist() for key in settings]
    difficulty = test["difficulty"]
    for each in difficulty.unique().tolist():
        right, spent = test[chosen][:, difficulty == each].float()
        quartiles = spent.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
        row = dict(difficulty=each, right=right.mean().item(), quartiles=quartiles)
        found["by_difficulty"].append(row)
    return found


def at_chosen(found, kind):
    """[accuracy, mean loops] of a rule at its chosen setting."""
    return found[kind][found["settings"].index(found["chosen"])]


# --------------------------------------------------------------------------------------------------
# Draw


def styles_of(rules):
    """{rule: (colour, style)}."""
    own = [rule for rule in rules if rule not in STYLES]
    return STYLES | {rule: OWN_STYLES[i % len(OWN_STYLES)] for i, rule in enumerate(own)}


def draw(numbers):
    """Accuracy over loops spent on hard questions; the loops spent on each difficulty."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.4), layout="constrained")
    styles, ends = styles_of(numbers["rules"]), []
    for rule, found in numbers["rules"].items():
        color, style = styles[rule]
        accuracy, spent = zip(*found["hard"])
        left.plot(spent, accuracy, style, color=color, ms=5, lw=1.2, label=rule)
        accuracy, spent = at_chosen(found, "hard")
        left.plot(spent, accuracy, "*", color=color, ms=16, mec="k", mew=0.7, zorder=3)
        rows = found["by_difficulty"]
        low, middle, high = zip(*[row["quartiles"] for row in rows])
        difficulties = [row["difficulty"] for row in rows]
        right.plot(difficulties, middle, style, color=color, ms=5)
        right.fill_between(difficulties, low, high, color=color, alpha=0.2, lw=0)
        ends.append((middle[-1], rule, color))
    left.set(xlabel="mean loops spent (star: chosen on val)", ylabel="accuracy (test)")
    left.set(ylim=(-0.03, 1.03))
    left.set_title(f"questions of {numbers['hard']}")
    left.legend(title="exit rule", loc="lower right", frameon=False)
    right.set(xlabel=f"difficulty ({numbers['unit']})", ylabel="loops spent", ylim=(0, None))
    right.set_title("at the star (median, quartiles)")
    label_ends(right, ends, gap=0.07)
    figure.suptitle(title_of(numbers), size=12)
    return figure


def title_of(numbers):
    """
    The cheapest of the rules that are about as accurate as any, against the same count for every
    question.
    """
    ends = {rule: at_chosen(found, "hard") for rule, found in numbers["rules"].items()}
    fixed = ends.pop("fixed")
    best = max(accuracy for accuracy, _ in ends.values())
    good = [rule for rule, (accuracy, _) in ends.items() if accuracy >= best - 0.01]
    rule = min(good, key=lambda rule: ends[rule][1])
    found = "{}: {:.2f} right with {:.0f} loops on average".format(rule, *ends[rule])
    always = "{:.2f} with {:.0f} for every question".format(*fixed)
    basis = f"{numbers['task']}, {numbers['hard']}, {seeds_text(numbers['seeds'])}"
    return f"{found}, {always}\n({basis})"


# --------------------------------------------------------------------------------------------------
# Say


def main(runs, args):
    needs = ("states", "readout", "proper_state", "exit_rules")
    loaded = load_looped(runs, args.device, needs)
    model, task, flags = loaded[0]
    top = task.max_difficulty
    if task.grows and max(difficulties_of(task, "test", args.factor)) == top:
        fail("exits asks questions harder than in training, and there are none: raise --factor")
    val, test = (
        join([measure_exits(*run, split, args) for run in loaded]) for split in ("val", "test")
    )
    difficulty = test["difficulty"]
    hard = difficulty > top if task.grows else difficulty > difficulty.float().median()
    numbers = dict(
        task=flags.task,
        seeds=[flags.seed for _, _, flags in loaded],
        questions=len(hard),
        unit=task.unit,
        hard=f"more than {top} {task.unit}" if task.grows else "the harder half",
        rules={},
    )
    head = "threshold (chosen on val)   easy: right, loops   hard: right, loops"
    print(f"\n{'rule':>16}  {head}")
    for rule in ("fixed", *rules_of(model)):
        found = numbers["rules"][rule] = summarise(rule, val, test, hard)
        easy = "{:.3f} {:>6.1f}".format(*at_chosen(found, "easy"))
        difficult = "{:.3f} {:>6.1f}".format(*at_chosen(found, "hard"))
        print(f"{rule:>16}  {found['chosen']:>25}   {easy:>18}   {difficult:>18}")
    write(runs[0], "exits", draw(numbers), numbers)
