"""
Is an answer right, and if not, which is the usual mistake? There is a function for each check. It
takes what the submission answered, which is made of tensors and numbers by a process that is not
trusted, and returns "" if the answer is right, else one line for the student.
"""

import json
from itertools import combinations

import torch
from grader import table

IGNORE = -100
PLACES = 16  # of an answer, that e3_depth looks at
# How a verdict of claims/experiment.py begins
VERDICTS = ("reproduced", "not reproduced", "depends", "no difference seen", "not tested")


def judge(check, answer, known):
    """`known` is what the course knows of this probe (make_known in build.py)."""
    try:
        if check.snapshot:
            return compare(answer, known, check.name)
        return globals()[check.name](answer, known)
    except Exception as error:  # the answer can be anything
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
    unasked = ", ".join(sorted(set(answer) - set(known["right"])))
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
    for name, tokens in answer["tokens"].items():
        if name in answer["again"] and not torch.equal(tokens, answer["again"][name]):
            found = "the same generator gives another question"
            return f"{found}: draw everything with generator=generator"
        answered = answer["answers"][name]
        if not torch.equal(answered["targets"], answered["again"]):
            found = "answer() answers the same question differently when asked again"
            return f"{found}: it may use the tokens alone"
        if not torch.equal(answered["targets"], answered["backwards"]):
            found = "answer() of a question changes with the other rows of the batch"
            return f"{found}: each row is a question of its own"
    return ""


def e3_difficulty(answer, known):
    vocab_size = answer["vocab_size"]
    for name, difficulty in answer["difficulty"].items():
        tokens, answered = answer["tokens"][name], answer["answers"][name]
        targets, measured = answered["targets"], answered["measured"]
        low, high = int(tokens.min()), int(tokens.max())
        if not 0 <= low <= high < vocab_size:
            wanted = f"int64 from 0 to vocab_size - 1 = {vocab_size - 1}"
            return f"tokens are {wanted}, not {low} to {high}"
        if targets.shape != tokens.shape or not (targets != IGNORE).any(1).all():
            wanted = "answer() has the shape of the tokens"
            return f"{wanted}, and in every question some place asks for an answer"
        asked = targets[targets != IGNORE]
        low, high = int(asked.min()), int(asked.max())
        if not 0 <= low <= high < vocab_size:
            return f"an answer is a token, from 0 to {vocab_size - 1}, not {low} to {high}"
        if measured.shape != (len(tokens),):
            wanted = "measure() gives a difficulty for each question, (B,)"
            return f"{wanted}, not {tuple(measured.shape)}"
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
    """
    The hardest questions are not to be answered without thinking. If answers are asked at several
    places, one place that is hard to guess is enough.
    """
    tokens, targets = answer["tokens"]["many"], answer["answers"]["many"]["targets"]
    easiest_of_place = []
    often = [place for place, asked in enumerate((targets != IGNORE).sum(0)) if asked >= 400]
    for place in often[:: -(-len(often) // PLACES) or 1]:  # all of them would take too long
        asked = targets[:, place] != IGNORE
        easiest_of_place.append(guesses(tokens[asked], targets[asked, place]))
    if not easiest_of_place:
        return "no place is asked in 400 of 2000 questions: that is not enough to judge"
    hardest, why = "of the hardest questions", "that is one step, whatever measure() says"
    always = min(each[()] for each in easiest_of_place)
    if always > 0.6:
        return f"one answer is right in {always:.2f} {hardest}: nothing has to be thought"
    share, places = min(best(each) for each in easiest_of_place)
    if share > 0.9:  # digits of a sum are guessed in 0.8
        seen = " and ".join(str(place) for place in places)
        return f"a look at token {seen} alone is right in {share:.2f} {hardest}: {why}"
    return few_tokens(**answer["matter"]) if answer["matter"] else ""


def few_tokens(easy, hardest):
    """
    A complaint if an answer depends on a few tokens only, however many steps are claimed: three, or
    somewhat more if these are as many as in an easy question and most tokens are never needed.
    """
    (few, _), (many, places) = easy, hardest
    more_if_harder = many >= few + 1
    if many >= (3.5 if more_if_harder else max(4.5, places / 2)):
        return ""
    found = f"an answer depends on {few:.1f} tokens in easy questions"
    found += f" and on {many:.1f} of {places} in the hardest; with others the answer is the same"
    return f"{found}: what are the steps that measure() counts?"


def best(guesses):
    """(accuracy, places) of the best guess; of equally good ones, the first, which sees least."""
    places = max(guesses, key=guesses.get)
    return guesses[places], places


def guesses(tokens, said):
    """
    {places: accuracy} of look-up tables: what is the usual answer if such tokens stand at one place
    or at two? () looks nowhere. The tables are made from the first half of the questions.
    """
    half, (words, said) = len(said) // 2, said.unique(return_inverse=True)
    W = len(words)
    columns = [column.unique(return_inverse=True)[1] for column in tokens.T]
    places = range(len(columns))
    found = {}
    for chosen in [(), *combinations(places, 1), *combinations(places, 2)]:
        key = torch.zeros_like(said)
        for place in chosen:
            key = key * (int(columns[place].max()) + 1) + columns[place]
        keys, key = key.unique(return_inverse=True)
        seen, count = (key[:half] * W + said[:half]).unique(return_counts=True)
        # of each key the commonest answer, and of equally common ones the first: the largest of
        # these numbers. A table of all keys and answers would take too long.
        rank = count * W + (W - 1 - seen % W)
        usual = torch.full((len(keys),), W - 1).scatter_reduce(0, seen // W, rank, "amax")
        guessed = W - 1 - usual[key[half:]] % W
        found[chosen] = (guessed == said[half:]).float().mean().item()
    return found


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


def e5_rule(answer, known):
    """A threshold is chosen on the val questions. Then the rule is judged on the test questions."""
    measured = torch.stack(answer["measured"])
    if measured.shape != known["right"].shape or not measured.is_floating_point():
        return f"rule returned {measured.dtype}, not a floating-point number for each sequence"
    loops, right = judged_loops(measured, known)
    reached, best, mean, fixed = score(loops, right)
    if reached >= best - table.RULE_LOSS and reached >= fixed + table.RULE_GAIN:
        return ""
    found = f"right in {reached:.2f} of the questions after {mean:.1f} loops on average"
    if loops.min() == len(right):
        return f"{found}, for no question stops in time: is a number smaller where all is said?"
    if loops.min() == loops.max():
        return f"{found}, the same for all: does it measure the batch or time, not each sequence?"
    if reached < best - table.RULE_LOSS:
        why = "is it small before the walk is over, too?"
        return f"{found}; fixed counts reach {best:.2f}, and no threshold comes near: {why}"
    why = "does something move that has no part in the answer, or are others told apart?"
    return f"{found}; as many loops for all would reach {fixed:.2f}. So it gains little: {why}"


def judged_loops(measured, known):
    """For the test questions: the loops that each takes, and whether it is right after each."""
    right, val = known["right"], known["val"]
    threshold = choose_threshold(measured[:, val], right[:, val])
    return loops_used(measured[:, ~val], threshold), right[:, ~val]


def loops_used(measured, threshold):
    """After how many loops each question stops, (N,). measured (loops, N)."""
    below = measured < threshold
    below[-1] = True  # after the last loop every question stops
    return below.int().argmax(0) + 1


def score(loops, right):
    """
    The accuracy where question n takes loops[n]; the best of all fixed counts; the mean of the
    loops; and the accuracy of a fixed count that takes as many (between two counts, on the line
    between their accuracies).
    """
    reached = float(right.gather(0, loops[None] - 1).float().mean())
    by_count, mean = right.float().mean(1), float(loops.float().mean())
    below = min(int(mean), len(right) - 1)
    share = mean - below
    fixed = float((1 - share) * by_count[below - 1] + share * by_count[below])
    return reached, float(by_count.max()), mean, fixed


def choose_threshold(measured, right):
    """
    The threshold with the largest gain over the fixed counts, of those that lose at most
    RULE_VAL_LOSS; if there is none, the one that is right most often.
    """
    values = measured[measured.isfinite()].unique()
    some = torch.linspace(0, 1, table.RULE_TRIES) * (len(values) - 1)
    tried = values[some.long()].tolist() if len(values) else []
    enough, others = [], [(0.0, -torch.inf)]  # -inf: nothing stops before the last loop
    for threshold in tried:
        reached, best, _, fixed = score(loops_used(measured, threshold), right)
        others.append((reached, threshold))
        if reached >= best - table.RULE_VAL_LOSS:
            enough.append((reached - fixed, threshold))
    return max(enough or others)[1]


# --------------------------------------------------------------------------------------------------
# E6: three files, of which none is run


def names_of(row):
    """The words of a row: its columns, and the values that are words."""
    return [*row, *(value for value in row.values() if isinstance(value, str))]


def e6_form(answer, known):
    for name in ("experiment.py", "result.json", "page.md"):  # a picture need not be there
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
