"""
Exit rules: accuracy against the loops spent, for each rule of when to stop

`solve` lets each question stop on its own. Every rule is tried at several thresholds; for each rule the cheapest
threshold among those within 0.01 of its best accuracy on val is chosen, and reported on test, for easy questions
(trained difficulties) and hard ones apart. The rule "fixed" spends the same number of loops on every question.
"""

import torch
from tqdm import tqdm

from analyses.common import add_examples, add_factor, add_loops, difficulties_of, load_looped, main_of
from figures import BLUE, GREEN, GREY, ORANGE, WIDTH, label_ends, plt, seeds_text, write
from runs import fail
from tasks import IGNORE, stream
from train import trained_loops

MANY = True
THRESHOLDS = dict(
    settle=(0.3, 0.1, 0.05, 0.01, 0.001),
    kl=(0.1, 0.01, 0.001, 1e-4, 1e-6),
    entropy=(1.0, 0.3, 0.1, 0.03, 0.003),
)
STYLES = dict(fixed=(GREY, "-"), settle=(BLUE, "o-"), kl=(ORANGE, "s-"), entropy=(GREEN, "^-"))


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
        answers, part = batch.targets != IGNORE, {"difficulty": batch.difficulty}
        states = list(model.states(batch.tokens, loops))[1:]
        for t, h in enumerate(states, 1):
            right = task.check(batch, model.readout(h).argmax(-1))
            part["fixed", t] = torch.stack((right, torch.full_like(batch.difficulty, t)))
        for rule, thresholds in THRESHOLDS.items():
            for threshold in thresholds:
                logits, used = model.solve(batch.tokens, rule, threshold, loops, answers)
                part[rule, threshold] = torch.stack((task.check(batch, logits.argmax(-1)), used))
        parts.append({key: value.cpu() for key, value in part.items()})
    return join(parts)


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
    """The most accurate rule against the same count for every question."""
    ends = {rule: at_chosen(found, "hard") for rule, found in numbers["rules"].items()}
    rule = max(THRESHOLDS, key=lambda rule: ends[rule][0])
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
    print(f"\n{'rule':>8}  threshold (chosen on val)   easy: right, loops   hard: right, loops")
    for rule in ("fixed", *THRESHOLDS):
        found = numbers["rules"][rule] = summarise(rule, val, test, hard)
        easy, difficult = ("{:.3f} {:>6.1f}".format(*at_chosen(found, kind)) for kind in ("easy", "hard"))
        print(f"{rule:>8}  {found['chosen']:>25}   {easy:>18}   {difficult:>18}")
    write(runs[0], "exits", draw(numbers), numbers)


if __name__ == "__main__":
    main_of("exits")
