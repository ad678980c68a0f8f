"""
Is it right, and if not, which is the usual mistake? A function for each check: from what the submission answered (made
of tensors and numbers, by a process that is not trusted) to "" if it is right, else one line for the student.
"""

import json

import torch
from grader import table

IGNORE = -100
VERDICTS = ("reproduced", "not reproduced", "depends")  # of papers/experiment.py


def judge(check, answer, known):
    """`known`: what the course knows of this probe (make_known in build.py), or what grade.py has found out."""
    try:
        return compare(answer, known, check.name) if check.snapshot else globals()[check.name](answer, known)
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError, AttributeError) as error:
        return (
            f"the answer has not the form that it should have ({type(error).__name__}: {' '.join(str(error).split())})"
        )


# -----------------------------------------------------------------------------
# Against the answer of the solution, and those of solutions with a usual mistake


def compare(answer, known, check):
    if same(answer, known["right"]):
        return ""
    for message, wrong in known["wrong"].get(check, []):
        if same(answer, wrong):
            return message
    for name, right in known["right"].items():
        if differs(answer[name], right):
            return difference(name, answer[name], right)
    raise ValueError(f"{', '.join(set(answer) - set(known['right']))} was not asked")


def same(answer, right):
    return answer.keys() == right.keys() and not any(differs(answer[name], right[name]) for name in right)


def differs(answer, right):
    if torch.is_tensor(answer) != torch.is_tensor(right):
        return True
    if not torch.is_tensor(right):
        return answer != right
    if answer.shape != right.shape:
        return True
    return not torch.allclose(answer.double(), right.double(), rtol=1e-3, atol=1e-4)


def difference(name, answer, right):
    if torch.is_tensor(answer) and torch.is_tensor(right):
        if answer.shape != right.shape:
            return f"{name}: the shape is {tuple(answer.shape)}, not {tuple(right.shape)}"
        rows = (answer - right).double().abs().flatten(1).amax(1) > 1e-3 if right.dim() > 1 else None
        where = "" if rows is None or rows.all() else f", in {int(rows.sum())} of {len(rows)} rows alone"
        return f"{name}: the numbers are others{where}; the docstring says what is computed"
    return f"{name}: {answer!r} is not right"


# -----------------------------------------------------------------------------
# E3


def e3_pure(answer, known):
    for batch in answer["batches"].values():
        if not torch.equal(batch["tokens"], batch["again"]):
            return "the same generator gives another question: draw everything with generator=generator"
        if not torch.equal(batch["targets"], batch["targets_again"]):
            return "answer() answers the same question differently when asked again: it may use the tokens alone"
        if not torch.equal(batch["targets"], batch["backwards"]):
            return "answer() of a question changes with the other rows of the batch: each row is a question of its own"
    return ""


def e3_difficulty(answer, known):
    vocab_size = answer["vocab_size"]
    for name, batch in answer["batches"].items():
        tokens, targets, difficulty = batch["tokens"], batch["targets"], batch["difficulty"]
        if tokens.dtype != torch.int64 or not 0 <= int(tokens.min()) <= int(tokens.max()) < vocab_size:
            return f"tokens are int64 from 0 to vocab_size - 1 = {vocab_size - 1}, not {tokens.min()} to {tokens.max()}"
        if targets.shape != tokens.shape or not (targets != IGNORE).any(1).all():
            return "answer() has the shape of the tokens, and every question has a place where an answer is asked"
        asked = targets[targets != IGNORE]
        if not 0 <= int(asked.min()) <= int(asked.max()) < vocab_size:
            return f"an answer is a token, from 0 to {vocab_size - 1}, not {asked.min()} to {asked.max()}"
        measured = batch["measured"]
        if measured.shape != (len(tokens),):
            return f"measure() gives a difficulty for each question, (B,), not {tuple(measured.shape)}"
        if (measured == difficulty).float().mean() < 0.5:
            found = f"asked for difficulty {difficulty}, question() and measure() give {measured.median()}"
            beyond = "; is the width of the question that of training, whatever is asked?"
            return found + (beyond if name == "beyond" else ": both count the serial steps of the obvious solution")
    return ""


def e3_splits(answer, known):
    rows = {split: {tuple(row) for row in tokens.tolist()} for split, tokens in answer["splits"].items()}
    for split, questions in rows.items():
        if len(questions) < 10:
            return f"{split} has {len(questions)} different questions among 300 of the hardest: too few to measure"
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        if shared := len(rows[one] & rows[other]):
            return f"{one} and {other} share {shared} of the hardest questions: belongs() has to keep them apart"
    return ""


def e3_depth(answer, known):
    """Of several places where an answer is asked, one that is hard to guess is enough."""
    tokens, targets = answer["hardest"]["tokens"], answer["hardest"]["targets"]
    guessed = []
    for place in range(targets.shape[1]):
        asked = targets[:, place] != IGNORE
        if asked.sum() >= 200:
            guessed.append(best_guess(tokens[asked], targets[asked, place]))
    if not guessed:
        return "fewer than 200 of 1000 questions ask at any one place: there is not enough to judge"
    (share, i), always = min(each[0] for each in guessed), min(each[1] for each in guessed)
    if always > 0.6:
        return f"one answer is right in {always:.2f} of the hardest questions: nothing has to be thought"
    if share > 0.8:
        return f"who looks at token {i} alone is right in {share:.2f} of the hardest questions: one step is enough"
    return ""


def best_guess(tokens, said):
    """(accuracy of who looks at one token alone, which one), and of who always says the same; on the second half."""
    half, (words, said) = len(said) // 2, said.unique(return_inverse=True)
    always = (said[half:] == said[:half].mode().values).float().mean().item()
    found = []
    for i, column in enumerate(tokens.T):
        _, seen = column.unique(return_inverse=True)
        pairs = torch.zeros(int(seen.max()) + 1, len(words))
        pairs.index_put_((seen[:half], said[:half]), torch.ones(half), accumulate=True)
        found.append(((pairs.argmax(1)[seen[half:]] == said[half:]).float().mean().item(), i))
    return max(found), always


# -----------------------------------------------------------------------------
# E4


def full_flags(flags):
    """The flags that are trained; ValueError for those that are not free, or over the budget."""
    for name, value in flags.items():
        if name not in (*table.MOST, *table.FREE):
            free = ", ".join((*table.MOST, *table.FREE))
            raise ValueError(f"{name} is no setting of this exercise; choose from {free}")
        if type(value) not in (int, float, str, bool):
            raise ValueError(f"{name} must be a number, a word, True or False")
        if name in table.MOST and not (type(value) is int and 0 <= value <= table.MOST[name]):
            raise ValueError(f"{name}={value} is not within the budget: a whole number up to {table.MOST[name]}")
    return {**table.START, **flags, **table.WORLD}


def wrong_loops(loops):
    if bad := [each for each in loops if not 1 <= each <= table.MOST_LOOPS]:
        return f"loops_for() gives {bad[0]}, and a question gets 1 to {table.MOST_LOOPS} loops"
    return ""


def e4_recipe(answer, known):
    return answer["problem"]


def at_loops(answer, hops):
    return float(answer["accuracy"][hops - 1][answer["loops"][hops - 1] - 1])


def e4_trained(answer, known):
    if answer["problem"]:
        return "nothing was trained, see above"
    hops = range(1, table.HOPS + 1)
    reached = sum(at_loops(answer, each) for each in hops) / table.HOPS
    best = sum(float(answer["accuracy"][each - 1].max()) for each in hops) / table.HOPS
    if reached >= table.BAR_TRAINED:
        return ""
    found = f"1 to {table.HOPS} hops are right in {reached:.2f} of the cases, {table.BAR_TRAINED} are wanted: "
    if best >= table.BAR_TRAINED:
        return found + f"other loop counts reach {best:.2f}, so it is loops_for() that is wrong"
    return found + "did the loss come down, and the curriculum open all hops? (learning rate, steps, sampler)"


def e4_beyond(answer, known):
    if answer["problem"]:
        return "nothing was trained, see above"
    hops = 2 * table.HOPS
    reached, by_loops = at_loops(answer, hops), answer["accuracy"][hops - 1]
    best, loops = float(by_loops.max()), answer["loops"][hops - 1]
    if reached >= table.BAR_BEYOND:
        return ""
    found = f"{hops} hops are right in {reached:.2f} of the cases with {loops} loops, {table.BAR_BEYOND} are wanted: "
    if best >= table.BAR_BEYOND:
        more = "more" if int(by_loops.argmax()) + 1 > loops else "fewer"
        return (
            found
            + f"with {int(by_loops.argmax()) + 1} loops it would be {best:.2f}; give harder questions {more} loops"
        )
    if e4_trained(answer, known):
        return found + "first the trained hops"
    return found + "no loop count helps. What does attention see there that it has not seen in training (position)?"


# -----------------------------------------------------------------------------
# E5


def baseline(right):
    """(accuracy, loops) of the cheapest fixed count within 0.01 of the best, given right (loops, N)."""
    by_loops = right.float().mean(1)
    loops = int((by_loops >= by_loops.max() - 0.01).int().argmax()) + 1
    return float(by_loops[loops - 1]), loops


def e5_rule(answer, known):
    right, loops = known["right_after"], answer["loops"]
    accuracy, fixed = baseline(right)
    most = (1 - table.RULE_SAVES) * fixed
    reached, mean = float(right.gather(0, loops[None] - 1).float().mean()), float(loops.float().mean())
    if reached >= accuracy - table.RULE_LOSS and mean <= most:
        return ""
    found = (
        f"right in {reached:.2f} after {mean:.1f} loops on average; a fixed count needs {fixed} for {accuracy:.2f}: "
    )
    if loops.min() == loops.max():
        why = "does it measure the batch, not each sequence?"
        if loops.min() == len(right):
            why = "does the rule ever fall under the threshold?"
        if loops.min() == 1:
            why = "is the threshold too high?"
        return found + f"every question stops after {loops.min()} loops; {why}"
    if reached < accuracy - table.RULE_LOSS:
        return found + "it stops before the walk is over. Does the threshold fit, and do you look at all positions?"
    return found + f"as right, but at most {most:.1f} loops are wanted: threshold, or what is it that still moves?"


# -----------------------------------------------------------------------------
# E6: three files, of which none is run


def e6_form(answer, known):
    for name in ("experiment.py", "result.json", "page.md"):
        if name not in answer:
            return f"{table.EXPERIMENT}/{name} is missing"
    try:
        result = json.loads(answer["result.json"])
        seeds, found, verdict = result["seeds"], result["by_seed"], result["verdict"]
        names = {name for seed in found for name in seed}
    except (ValueError, KeyError, TypeError, RecursionError):
        return "result.json is not what papers/experiment.py writes: seeds, by_seed, verdict"
    if len(set(seeds)) < 3 or len(found) < len(seeds):
        return f"{len(set(seeds))} different seeds; three are asked for: one may be luck"
    if not any("control" in name for name in names):
        return f"no control among what was found ({', '.join(sorted(names)[:4])}): put the word into its name"
    if not str(verdict).startswith(VERDICTS):
        return f"the verdict begins with one of {', '.join(VERDICTS)}"
    words = len(answer["page.md"].split())
    if not 150 <= words <= 700:
        return f"page.md has {words} words; a page has 150 to 700"
    return ""
