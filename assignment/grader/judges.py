"""
Is an answer right, and if not, which is the usual mistake? There is a function for each check. It
takes what the submission answered, which is made of tensors and numbers by a process that is not
trusted, and returns "" if the answer is right, else one line for the student.
"""

import json

import torch
from grader import table

IGNORE = -100
VERDICTS = ("reproduced", "not reproduced", "depends")  # of claims/experiment.py


def judge(check, answer, known):
    """`known` is what the course knows of this probe (make_known in build.py)."""
    try:
        if check.snapshot:
            return compare(answer, known, check.name)
        return globals()[check.name](answer, known)
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError, AttributeError) as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return f"the answer has not the form that it should have ({what})"


# --------------------------------------------------------------------------------------------------
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
    unasked = ", ".join(set(answer) - set(known["right"]))
    raise ValueError(f"{unasked} was not asked")


def same(answer, right):
    if answer.keys() != right.keys():
        return False
    return not any(differs(answer[name], right[name]) for name in right)


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
        where = ""
        if right.dim() > 1:
            rows = (answer - right).double().abs().flatten(1).amax(1) > 1e-3
            if not rows.all():
                where = f" in {int(rows.sum())} of {len(rows)} rows"
        return f"{name}: the numbers are wrong{where}; the docstring says what is computed"
    return f"{name}: {answer!r} is not right"


# --------------------------------------------------------------------------------------------------
# E3


def e3_pure(answer, known):
    for batch in answer["batches"].values():
        if not torch.equal(batch["tokens"], batch["again"]):
            found = "the same generator gives another question"
            return f"{found}: draw everything with generator=generator"
        if not torch.equal(batch["targets"], batch["targets_again"]):
            found = "answer() answers the same question differently when asked again"
            return f"{found}: it may use the tokens alone"
        if not torch.equal(batch["targets"], batch["backwards"]):
            found = "answer() of a question changes with the other rows of the batch"
            return f"{found}: each row is a question of its own"
    return ""


def e3_difficulty(answer, known):
    vocab_size = answer["vocab_size"]
    for name, batch in answer["batches"].items():
        tokens, targets, difficulty = batch["tokens"], batch["targets"], batch["difficulty"]
        low, high = int(tokens.min()), int(tokens.max())
        if tokens.dtype != torch.int64 or not 0 <= low <= high < vocab_size:
            wanted = f"int64 from 0 to vocab_size - 1 = {vocab_size - 1}"
            return f"tokens are {wanted}, not {low} to {high}"
        if targets.shape != tokens.shape or not (targets != IGNORE).any(1).all():
            wanted = "answer() has the shape of the tokens"
            return f"{wanted}, and in every question some place asks for an answer"
        asked = targets[targets != IGNORE]
        low, high = int(asked.min()), int(asked.max())
        if not 0 <= low <= high < vocab_size:
            return f"an answer is a token, from 0 to {vocab_size - 1}, not {low} to {high}"
        measured = batch["measured"]
        if measured.shape != (len(tokens),):
            return (
                f"measure() gives a difficulty for each question, (B,), not {tuple(measured.shape)}"
            )
        if (measured == difficulty).float().mean() < 0.5:
            given = f"question() and measure() give {measured.median()}"
            why = ": both count the serial steps of the obvious solution"
            if name == "beyond":
                why = "; is the width of the question that of training, whatever is asked?"
            return f"asked for difficulty {difficulty}, {given}{why}"
    return ""


def e3_splits(answer, known):
    rows = {}
    for split, tokens in answer["splits"].items():
        rows[split] = {tuple(row) for row in tokens.tolist()}
    for split, questions in rows.items():
        if len(questions) < 10:
            found = f"{split} has {len(questions)} different questions among 300 of the hardest"
            return f"{found}: too few to measure"
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        if shared := len(rows[one] & rows[other]):
            found = f"{one} and {other} share {shared} of the hardest questions"
            return f"{found}: belongs() has to keep them apart"
    return ""


def e3_depth(answer, known):
    """If answers are asked at several places, one place that is hard to guess is enough."""
    tokens, targets = answer["hardest"]["tokens"], answer["hardest"]["targets"]
    guessed = []
    for place in range(targets.shape[1]):
        asked = targets[:, place] != IGNORE
        if asked.sum() >= 200:
            guessed.append(best_guess(tokens[asked], targets[asked, place]))
    if not guessed:
        return "no place is asked in 200 of 1000 questions: that is not enough to judge"
    (share, i), always = min(each[0] for each in guessed), min(each[1] for each in guessed)
    hardest = "of the hardest questions"
    if always > 0.6:
        return f"one answer is right in {always:.2f} {hardest}: nothing has to be thought"
    if share > 0.8:
        return f"a look at token {i} alone is right in {share:.2f} {hardest}: one step is enough"
    return ""


def best_guess(tokens, said):
    """
    Two crude solvers that learn from the first half of the questions and are judged on the second.
    (accuracy, token) of the solver that looks at one token alone, the best one; and the accuracy of
    the solver that always gives the same answer.
    """
    half, (words, said) = len(said) // 2, said.unique(return_inverse=True)
    always = (said[half:] == said[:half].mode().values).float().mean().item()
    found = []
    for i, column in enumerate(tokens.T):
        _, seen = column.unique(return_inverse=True)
        pairs = torch.zeros(int(seen.max()) + 1, len(words))
        pairs.index_put_((seen[:half], said[:half]), torch.ones(half), accumulate=True)
        likeliest = pairs.argmax(1)[seen[half:]]
        found.append(((likeliest == said[half:]).float().mean().item(), i))
    return max(found), always


# --------------------------------------------------------------------------------------------------
# E4


def full_flags(flags):
    """The flags that are trained. ValueError if one is not free, or over the budget."""
    for name, value in flags.items():
        if name not in (*table.MOST, *table.FREE):
            free = ", ".join((*table.MOST, *table.FREE))
            raise ValueError(f"{name} is no setting of this exercise; choose from {free}")
        if type(value) not in (int, float, str, bool):
            raise ValueError(f"{name} must be a number, a word, True or False")
        if name in table.MOST and not (type(value) is int and 0 <= value <= table.MOST[name]):
            most = f"a whole number up to {table.MOST[name]}"
            raise ValueError(f"{name}={value} is not within the budget: {most}")
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
    share = f"in {reached:.2f} of the cases, {table.BAR_TRAINED} are wanted"
    why = "did the loss come down, and the curriculum open all hops? (lr, steps, sampler)"
    if best >= table.BAR_TRAINED:
        why = f"other loop counts reach {best:.2f}, so loops_for() is what is wrong"
    return f"1 to {table.HOPS} hops are right {share}: {why}"


def e4_beyond(answer, known):
    if answer["problem"]:
        return "nothing was trained, see above"
    hops = 2 * table.HOPS
    reached, by_loops = at_loops(answer, hops), answer["accuracy"][hops - 1]
    best, loops = float(by_loops.max()), answer["loops"][hops - 1]
    if reached >= table.BAR_BEYOND:
        return ""
    share = f"in {reached:.2f} of the cases with {loops} loops, {table.BAR_BEYOND} are wanted"
    found = f"{hops} hops are right {share}: "
    if best >= table.BAR_BEYOND:
        better = int(by_loops.argmax()) + 1
        more = "more" if better > loops else "fewer"
        found += f"with {better} loops it would be {best:.2f}"
        return f"{found}; give harder questions {more} loops"
    if e4_trained(answer, known):
        return f"{found}first the trained hops"
    why = "What does attention see there that it has not seen in training (position)?"
    return f"{found}no loop count helps. {why}"


# --------------------------------------------------------------------------------------------------
# E5


def baseline(right):
    """(accuracy, loops) of the cheapest fixed count within 0.01 of the best; right (loops, N)."""
    by_loops = right.float().mean(1)
    loops = int((by_loops >= by_loops.max() - 0.01).int().argmax()) + 1
    return float(by_loops[loops - 1]), loops


def e5_rule(answer, known):
    right, loops = known["right_after"], answer["loops"]
    accuracy, fixed = baseline(right)
    most = (1 - table.RULE_SAVES) * fixed
    reached = float(right.gather(0, loops[None] - 1).float().mean())
    mean = float(loops.float().mean())
    if reached >= accuracy - table.RULE_LOSS and mean <= most:
        return ""
    fixed_count = f"a fixed count needs {fixed} for {accuracy:.2f}"
    found = f"right in {reached:.2f} after {mean:.1f} loops on average; {fixed_count}: "
    if loops.min() == loops.max():
        why = "does it measure the batch, not each sequence?"
        if loops.min() == len(right):
            why = "is the measure ever below the threshold?"
        if loops.min() == 1:
            why = "is the threshold too high?"
        return f"{found}every question stops after {loops.min()} loops; {why}"
    if reached < accuracy - table.RULE_LOSS:
        return f"{found}it stops before the walk is over: is the threshold too high?"
    why = "is the threshold too low, or does something move that has no part in the answer?"
    return f"{found}as right, but at most {most:.1f} loops are wanted: {why}"


# --------------------------------------------------------------------------------------------------
# E6: three files, of which none is run


def names_of(row):
    """The words of a row: its columns, and the values that are words."""
    return [*row, *(value for value in row.values() if isinstance(value, str))]


def e6_form(answer, known):
    for name in ("experiment.py", "result.json", "page.md"):
        if name not in answer:
            return f"{table.EXPERIMENT}/{name} is missing"
    try:
        result = json.loads(answer["result.json"])
        seeds, found, verdict = result["seeds"], result["by_seed"], result["verdict"]
        names = {name for seed in found for row in seed["rows"] for name in names_of(row)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "result.json is not what claims/experiment.py writes: seeds, by_seed, verdict"
    if len(set(seeds)) < 3 or len(found) < len(seeds):
        return f"{len(set(seeds))} different seeds; three are asked for: one may be luck"
    if not any("control" in name for name in names):
        some = ", ".join(sorted(names)[:4])
        return f"no control among what was found ({some}): put the word into its name"
    if not str(verdict).startswith(VERDICTS):
        return f"the verdict begins with one of {', '.join(VERDICTS)}"
    words = len(answer["page.md"].split())
    if not 150 <= words <= 700:
        return f"page.md has {words} words; a page has 150 to 700"
    return ""
