"""
Exit rules: accuracy against the loops spent, for each rule of when to stop

`solve` lets each question stop on its own. Every rule is tried at many thresholds; for each rule the cheapest threshold
among those within 0.01 of its best accuracy on val is chosen, and reported on test, for easy questions (trained
difficulties) and hard ones apart. The rule "fixed" spends the same number of loops on every question.

A rule looks at the state (settle), at how far the prediction moves (kl) or at how undecided it is (entropy). What it
looks at and where it looks are two things, so settle and kl are tried both at the answer alone and everywhere.
"""

import math

import torch
from tqdm import tqdm

from analyses.common import add_examples, add_factor, add_loops, difficulties_of, load_looped, main_of
from figures import BLUE, GREEN, GREY, ORANGE, WIDTH, label_ends, plt, seeds_text, write
from looped import entropy, kl, settle
from runs import fail
from tasks import IGNORE, stream
from train import trained_loops

MANY = True


def settle_at_answer(model, before, h, answer_mask, last):
    """How far the loop moved the states of the answers alone."""
    at_answer = answer_mask[..., None]
    return settle(model, before * at_answer, h * at_answer, answer_mask, last)


def kl_everywhere(model, before, h, answer_mask, last):
    """How far it moved the prediction, at whichever position it moved most."""
    return kl(model, before, h, torch.ones_like(answer_mask), last)


RULES = {"settle": settle, "settle at answer": settle_at_answer}
RULES |= {"kl": kl, "kl everywhere": kl_everywhere, "entropy": entropy}
THRESHOLDS = [float(f"{10 ** (-i / 2):.1e}") for i in range(17)]  # 1 to 1e-8, where float32 has little left to measure
STYLES = {"fixed": (GREY, "-"), "settle": (BLUE, "o-"), "settle at answer": (BLUE, "x:")}
STYLES |= {"kl": (ORANGE, "s-"), "kl everywhere": (ORANGE, "+:"), "entropy": (GREEN, "^-")}


def add_flags(parser):
    add_loops(parser, "the most loops to spend (default: six times the most of training, at most 64)")
    add_examples(parser, "five times the questions of each difficulty (default 500: 100 of each)")
    add_factor(parser)


# -----------------------------------------------------------------------------
# Measure


@torch.no_grad()
def measure_exits(model, task, flags, split, args):
    """
    One run: {"difficulty": (N,)}, and for each setting, (rule, threshold) or ("fixed", loops), (2, N): was the question
    answered right, and after how many loops?
    """
    loops = args.loops or min(64, 6 * trained_loops(flags, task)["largest"])
    size, top = max(2, args.examples // 5), task.max_difficulty
    difficulties = difficulties_of(task, split, args.factor)
    if task.grows:  # every third of the trained ones is enough
        difficulties = [d for d in difficulties if d > top or d % max(1, top // 3) == 0]
    parts = []
    for difficulty in tqdm(difficulties, desc="exits", leave=False):
        torch.manual_seed(stream(flags.seed, "starts", difficulty))  # for state_init="noise"
        batch = task.batch(split, 0, size, difficulty)
        answers = batch.targets != IGNORE
        right, measured = [], {rule: [] for rule in RULES}
        last = dict.fromkeys(RULES, torch.full((size,), math.inf, device=answers.device))
        before = None
        for h in model.states(batch.tokens, loops):
            if before is not None:
                right.append(task.check(batch, model.readout(h).argmax(-1)))
                for rule, measure in RULES.items():
                    last[rule] = measure(model, before, h, answers, last[rule])
                    measured[rule].append(last[rule])
            before = h
        right = torch.stack(right)  # (loops, N)
        part = {("fixed", t): used(right, torch.full_like(batch.difficulty, t)) for t in range(1, loops + 1)}
        for rule in RULES:
            values = torch.stack(measured[rule])
            for threshold in THRESHOLDS:
                stops = values < threshold
                stops[-1] = True
                part[rule, threshold] = used(right, stops.int().argmax(0) + 1)
        parts.append({key: value.cpu() for key, value in part.items()} | {"difficulty": batch.difficulty.cpu()})
    return join(parts)


def used(right, loops):
    """(2, N): was each question right (loops, N) after its number of loops (N,), and that number."""
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
    """One rule in exits.json: what it does at each setting, and at the chosen one for each difficulty."""
    settings = [key for key in test if key[0] == rule]
    chosen = choose(val, settings)
    found = dict(settings=[setting for _, setting in settings], chosen=chosen[1], by_difficulty=[])
    for kind, rows in (("easy", ~hard), ("hard", hard)):
        found[kind] = [test[key][:, rows].float().mean(1).tolist() for key in settings]  # [right, loops] of each
    difficulty = test["difficulty"]
    for each in difficulty.unique().tolist():
        right, used = test[chosen][:, difficulty == each].float()
        quartiles = used.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
        found["by_difficulty"].append(dict(difficulty=each, right=right.mean().item(), quartiles=quartiles))
    return found


def at_chosen(found, kind):
    """[accuracy, mean loops] of a rule at its chosen setting."""
    return found[kind][found["settings"].index(found["chosen"])]


# -----------------------------------------------------------------------------
# Draw


def draw(numbers):
    """Accuracy over loops spent on hard questions; the loops spent on each difficulty."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.4), layout="constrained")
    for rule, found in numbers["rules"].items():
        color, style = STYLES[rule]
        accuracy, used = zip(*found["hard"])
        left.plot(used, accuracy, style, color=color, ms=5, lw=1.2, label=rule)
        accuracy, used = at_chosen(found, "hard")
        left.plot(used, accuracy, "*", color=color, ms=16, mec="k", mew=0.7, zorder=3)
        rows = found["by_difficulty"]
        low, middle, high = zip(*[row["quartiles"] for row in rows])
        difficulties = [row["difficulty"] for row in rows]
        right.plot(difficulties, middle, style, color=color, ms=5)
        right.fill_between(difficulties, low, high, color=color, alpha=0.2, lw=0)
    left.set(xlabel="mean loops spent (star: chosen on val)", ylabel="accuracy (test)", ylim=(-0.03, 1.03))
    left.set_title(f"questions of {numbers['hard']}")
    left.legend(title="exit rule", loc="lower right", frameon=False)
    right.set(xlabel=f"difficulty ({numbers['unit']})", ylabel="loops spent", ylim=(0, None))
    right.set_title("at the star (median, quartiles)")
    ends = {rule: found["by_difficulty"][-1]["quartiles"][1] for rule, found in numbers["rules"].items()}
    label_ends(right, [(y, rule, STYLES[rule][0]) for rule, y in ends.items()], gap=0.07)
    figure.suptitle(title_of(numbers), size=12)
    return figure


def title_of(numbers):
    """The cheapest of the rules that are about as accurate as any, against the same count for every question."""
    ends = {rule: at_chosen(found, "hard") for rule, found in numbers["rules"].items()}
    best = max(ends[rule][0] for rule in RULES)
    rule = min((rule for rule in RULES if ends[rule][0] >= best - 0.01), key=lambda rule: ends[rule][1])
    found = "{}: {:.2f} right with {:.0f} loops on average".format(rule, *ends[rule])
    always = "{:.2f} with {:.0f} for every question".format(*ends["fixed"])
    return f"{found}, {always}\n({numbers['task']}, {numbers['hard']}, {seeds_text(numbers['seeds'])})"


# -----------------------------------------------------------------------------
# Say


def main(runs, args):
    loaded = load_looped(runs, args.device)
    _, task, _ = loaded[0]
    top = task.max_difficulty
    if task.grows and max(difficulties_of(task, "test", args.factor)) == top:
        fail("exits compares trained and harder questions, and there are no harder ones: raise --factor")
    val, test = (join([measure_exits(*run, split, args) for run in loaded]) for split in ("val", "test"))
    difficulty = test["difficulty"]
    hard = difficulty > top if task.grows else difficulty > difficulty.float().median()
    name = f"more than {top} {task.unit}" if task.grows else "the harder half"
    numbers = dict(task=loaded[0][2].task, seeds=[flags.seed for _, _, flags in loaded], questions=len(hard))
    numbers.update(unit=task.unit, hard=name, rules={})
    print(f"\n{'rule':>16}  threshold (chosen on val)   easy: right, loops   hard: right, loops")
    for rule in ("fixed", *RULES):
        found = numbers["rules"][rule] = summarise(rule, val, test, hard)
        easy, difficult = ("{:.3f} {:>6.1f}".format(*at_chosen(found, kind)) for kind in ("easy", "hard"))
        print(f"{rule:>16}  {found['chosen']:>25}   {easy:>18}   {difficult:>18}")
    write(runs[0], "exits", draw(numbers), numbers)


if __name__ == "__main__":
    main_of("exits")
