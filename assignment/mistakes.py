"""
The usual mistakes. Each is a change of the solution's text, and says for each check that it costs
what the student is told.

Two things are made of this table. build.py runs the solution with each change of looped.py and
gives the answers to the grader, which knows the mistake again by what it computes, however it is
written. And tests/assignment makes sure that each mistake costs the points that it should and no
others, and that the student reads its line.
"""

from dataclasses import dataclass


@dataclass
class Mistake:
    name: str
    file: str
    changes: list  # [(old, new), ..]: texts of the solution
    lost: dict  # {check: what the student is told, or a part of it}


def looped(name, changes, **lost):
    return Mistake(name, "looped.py", changes, lost)


# --------------------------------------------------------------------------------------------------
# E1

INJECT = "        h = self.inject(h, e)\n"
CORE = "        for block in self.core_of(t):\n            h = block(h, positions)\n"
END = "        return self.reembed(h) if self.config.reembed else h\n"
REEMBED = "return h + self.reembed_gate * (p @ directions * self.config.n_embd**0.5)"
PREDICTION = "p = self.head(h).softmax(-1)"
PASS = "        for t in range(self.config.loops if loops is None else loops):\n"
PASS += "            h = self.loop(h, e, t, positions)\n"
READ_OUT = "        return self.readout(h)\n"
READ = "        return self.head(h)\n"
E1 = [
    looped(
        "no injection",
        [(INJECT, "")],
        e1_loop="the question never enters: every loop injects e into the state before its core",
    ),
    looped(
        "injection behind the core",
        [(INJECT + CORE, CORE + INJECT)],
        e1_loop="e enters behind the core; inject it first, so that the core sees both",
    ),
    looped(
        "always the first layers",
        [("self.core_of(t)", "self.core_of(0)")],
        e1_loop="t is not handed on: an untied model has layers of its own for each loop",
    ),
    looped(
        "one layer of several",
        [("self.core_of(t)", "self.core_of(t)[:1]")],
        e1_loop="only the first layer of the core runs: a loop runs all layers of self.core_of(t)",
    ),
    looped(
        "h and e swapped",
        [(INJECT, INJECT.replace("h, e", "e, h"))],
        e1_loop="state and question are swapped: injection='none' has to leave the state",
    ),
    looped(
        "a second residual",
        [(INJECT, f"        before = h\n{INJECT}"), (END, f"        h = before + h\n{END}")],
        e1_loop="the old state is added to the new one: the blocks have their residuals inside",
    ),
    looped(
        "no re-embedding",
        [(END, "        return h\n")],
        e1_loop="config.reembed does nothing: such a loop ends with self.reembed(h)",
    ),
    looped(
        "always a re-embedding",
        [(END, "        return self.reembed(h)\n")],
        e1_loop="a loop ends with self.reembed(h) only if config.reembed is true",
    ),
    looped(
        "re-embedding before the core",
        [
            (
                CORE + END,
                f"{END.replace('return', 'h =')}{CORE}        return h\n",
            )
        ],
        e1_loop="the re-embedding comes before the core; it is the last thing that a loop does",
    ),
    looped(
        "re-embedding instead of the state",
        [(REEMBED, REEMBED.replace("h + ", ""))],
        e1_reembed="the embedding replaces the state; it is added to it",
    ),
    looped(
        "no sqrt(C)",
        [(REEMBED, REEMBED.replace(" * self.config.n_embd**0.5", ""))],
        e1_reembed="what is added is too short: each embedding has the length sqrt(C) there",
    ),
    looped(
        "no gate",
        [(REEMBED, REEMBED.replace("self.reembed_gate * ", ""))],
        e1_reembed="the gate is missing: self.reembed_gate multiplies each channel of the rest",
    ),
    looped(
        "embeddings of any length",
        [("F.normalize(self.embed.weight)", "self.embed.weight")],
        e1_reembed="the embeddings have different lengths; bring each to length 1",
    ),
    looped(
        "the mixture normalised",
        [("p @ directions", "F.normalize(p @ self.embed.weight, dim=-1)")],
        e1_reembed="the mean of the embeddings is normalised; normalise each embedding instead",
    ),
    looped(
        "logits for probabilities",
        [(PREDICTION, "p = self.head(h)")],
        e1_reembed="the embeddings are weighted by logits; the weights are probabilities",
    ),
    looped(
        "softmax over the positions",
        [(PREDICTION, "p = self.head(h).softmax(1)")],
        e1_reembed="the softmax is over positions; the p of all tokens at one position add up to 1",
    ),
    looped(
        "the likeliest token alone",
        [
            (
                PREDICTION,
                "p = F.one_hot(self.head(h).argmax(-1), len(self.embed.weight)) * 1.0",
            )
        ],
        e1_reembed="only the likeliest token is added; every token counts, with its probability",
    ),
    looped(
        "forward without its readout",
        [(PASS + READ_OUT, f"{PASS}        return h\n")],
        e1_forward="forward returns the last state; logits are asked for, which `readout` gives",
    ),
    looped(
        "forward loops once too few",
        [(PASS, PASS.replace("range(self", "range(-1 + self"))],
        e1_forward="forward loops once too few if no number of loops is given",
    ),
    looped(
        "forward always loops as often as the config says",
        [
            (
                PASS,
                PASS.replace("self.config.loops if loops is None else loops", "self.config.loops"),
            )
        ],
        e1_forward="`loops` is ignored: the number of the config is for calls that give none",
    ),
    looped(
        "forward always runs loop 0",
        [(PASS, PASS.replace("e, t,", "e, 0,"))],
        e1_forward="every loop is told that it is loop 0: hand on t",
    ),
    looped(
        "forward forgets its states",
        [(PASS, PASS.replace("self.loop(h,", "self.loop(e,"))],
        e1_forward="every loop starts from e again: a loop continues from the last state",
    ),
    looped(
        "no coda",
        [("        if self.coda:\n", "        if False:\n")],
        e1_readout="the coda is left out: its layers run once, before the head",
    ),
    looped(
        "one layer of the coda",
        [("for block in self.coda:", "for block in self.coda[:1]:")],
        e1_readout="only the first layer of the coda runs",
    ),
    looped(
        "no norm",
        [(READ, "        return F.linear(h, self.embed.weight)\n")],
        e1_readout="the norm before the head is missing: use self.head",
    ),
    looped(
        "probabilities",
        [(READ, "        return self.head(h).softmax(-1)\n")],
        e1_readout="these are probabilities; logits are asked for, as cross_entropy wants them",
    ),
]

# --------------------------------------------------------------------------------------------------
# E2: states

START = "        h = first if h is None else h\n        yield h\n"
SPAN = "range(int(loops.max()))"
CUT_OFF = "h = torch.where(loops_left == self.config.backprop_loops, h.detach(), h)"
STEP = "h = torch.where(loops_left > 0, self.loop(h, e, t, positions), h)"
LOOP = "self.loop(h, e, t, positions)"
COUNT_DOWN = "            loops_left = loops_left - 1\n"
YIELD = "            yield h\n"
NEXT = COUNT_DOWN + YIELD


def of_states(name, changes, message, states=True, gradient=True):
    """
    A mistake in `states`, which costs the points of its states, of their gradient, or both. For the
    gradient the student may be told something else.
    """
    lost = dict(e2_states=message) if states else {}
    if gradient:
        lost["e2_gradient"] = message if gradient is True else gradient
    return looped(name, changes, **lost)


NEVER = "the last state never comes out"
E2 = [
    of_states(
        "no state before the first loop",
        [(START, START.replace("        yield h\n", ""))],
        "the state before the first loop is missing: n loops have n + 1 states",
        gradient=False,
    ),
    of_states(
        "a state too few",
        [(SPAN, "range(int(loops.max()) - 1)")],
        "a state too few: n loops have n + 1 states, with the one before the first loop",
        gradient=NEVER,
    ),
    of_states(
        "yielded before the loop",
        [(f"            {STEP}\n{NEXT}", f"{YIELD}            {STEP}\n{COUNT_DOWN}")],
        "each state comes out before its loop: the first comes twice and the last never",
        gradient=NEVER,
    ),
    of_states(
        "the given state ignored",
        [(START, "        h = first\n        yield h\n")],
        "a given h is ignored: the loops start from it",
    ),
    of_states(
        "always loop 0",
        [(STEP, STEP.replace("e, t,", "e, 0,"))],
        "every loop is told that it is loop 0: hand on t",
    ),
    of_states(
        "the first state again",
        [(STEP, STEP.replace("self.loop(h,", "self.loop(first,"))],
        "every loop starts from the first state again: it continues from the last state",
    ),
    of_states(
        "all rows take the most loops",
        [(STEP, f"h = {LOOP}")],
        "every row takes the most loops: a row that is done keeps its state",
    ),
    of_states(
        "the mask on the input",
        [(STEP, f"h = {LOOP.replace('e,', 'e * (loops_left > 0),')}")],
        "rows that are done still move: your mask is on the input, not on the state",
    ),
    of_states(
        "rows that are done become zero",
        [(STEP, f"h = {LOOP} * (loops_left > 0)")],
        "the states of rows that are done become zero: such a row keeps its state",
    ),
    of_states(
        "each row a loop too few",
        [(STEP, STEP.replace("> 0", "> 1"))],
        "each row takes a loop too few: the loops t of a row are 0 .. count - 1",
    ),
    of_states(
        "each row a loop too many",
        [(STEP, STEP.replace("> 0", ">= 0"))],
        "rows take a loop too many: the loops t of a row are 0 .. count - 1",
    ),
    of_states(
        "cut off again and again",
        [(CUT_OFF, CUT_OFF.replace("==", "<="))],
        "h is cut off before each of the last k loops: cut it off once, before all of them",
        states=False,
    ),
    of_states(
        "the last loops of the batch",
        [(CUT_OFF, "h = h.detach() if t == int(loops.max()) - self.config.backprop_loops else h")],
        "all rows are cut off at one loop: count the last loops from the end of each row",
        states=False,
    ),
    of_states(
        "e cut off",
        [(STEP, STEP.replace("e,", "e.detach() if self.config.backprop_loops else e,"))],
        "e is cut off, too: it trains the embedding in every loop with a gradient",
        states=False,
    ),
    of_states(
        "no truncation",
        [(CUT_OFF, "pass")],
        "backprop_loops does nothing: h is cut off before the last k loops",
        states=False,
    ),
    of_states(
        "one loop more",
        [(CUT_OFF, CUT_OFF.replace("backprop_loops", "backprop_loops + 1"))],
        "the gradient goes through one loop more than backprop_loops",
        states=False,
    ),
    of_states(
        "one loop less",
        [(CUT_OFF, CUT_OFF.replace("backprop_loops", "backprop_loops - 1"))],
        "the gradient goes through one loop less than backprop_loops",
        states=False,
    ),
    of_states(
        "cut off before the first loop",
        [("if self.config.backprop_loops and t > 0:", "if self.config.backprop_loops:")],
        "a row of k loops is cut off before its first loop: all its loops have a gradient",
        states=False,
    ),
]

# --------------------------------------------------------------------------------------------------
# E2: think, in the solution that of support/fast.py

BEGIN = "        start, e, positions = self.begin(tokens)\n"
BY_STATES = """        for state in self.states(tokens, loops, h):
            pass
        return state
"""
ACTIVE = "active = int((loops > t).sum())"
UNTRACKED = "int((loops > t + k).sum()) if k else 0"
WITHOUT = "parts.append(self.loop(h[:untracked], e[:untracked], t, positions))"
WITH = "parts.append(self.loop(h[untracked:], e[untracked:], t, positions))"
JOIN = "h = torch.cat(parts) if untracked else parts[0]"
EVERY_ROW = (ACTIVE, "active = len(h)")
MASKED = (
    JOIN,
    f"new = {JOIN[4:]}\n            h = torch.where((loops > t)[:, None, None], new, h)",
)
BACK = "h[order.argsort()]"
DONE = "rows that are done are still computed, even if masked: a batch costs the sum of its counts"
TRACKED = "loops before the last k still keep what a backward pass needs: use torch.no_grad() there"


def of_think(name, changes, message):
    return looped(name, changes, e2_cost=message)


E2 += [
    of_think("by states", [(BEGIN, BY_STATES + BEGIN)], DONE),  # as in the repository's looped.py
    of_think("masked", [EVERY_ROW, MASKED], DONE),
    of_think(
        "detached",
        [
            (
                f"with torch.no_grad():\n                    {WITHOUT}",
                f"if True:\n                    {WITHOUT[:-1]}.detach())",
            )
        ],
        TRACKED,
    ),
    of_think(
        "all rows take the most loops",
        [EVERY_ROW],
        "every row takes the most loops: a row that is done leaves the batch with its state",
    ),
    of_think(
        "sorted order",
        [(BACK, "h")],
        "the rows come back sorted by their counts: put them back in the order of the tokens",
    ),
    of_think(
        "sorted twice",
        [(BACK, "h[order]")],
        "the rows come back in a wrong order: the way back is the inverse permutation",
    ),
    of_think(
        "the state is not sorted",
        [("self.advance(h[order], e[order]", "self.advance(h, e[order]")],
        "state and question of a row do not belong together: sort both",
    ),
    of_think(
        "the given state ignored",
        [("h = start if h is None else h\n        loops", "h = start\n        loops")],
        "a given h is ignored: think starts from it",
    ),
    of_think(
        "a loop too few",
        [(ACTIVE, "active = int((loops > t + 1).sum())"), (JOIN, f"{JOIN} if parts else h")],
        "each row takes a loop too few: the loops t of a row are 0 .. count - 1",
    ),
    of_think(
        "the first k loops",
        [(UNTRACKED, "active if k and t >= k else 0")],
        "the first loops have the gradient: give it to the last ones of each row",
    ),
    of_think(
        "the last loops of the batch",
        [(UNTRACKED, "active if k and t + k < int(loops.max()) else 0")],
        "all rows are cut off at one loop: count the last loops from the end of each row",
    ),
    of_think(
        "e cut off",
        [(WITH, WITH.replace("e[untracked:]", "e[untracked:].detach()"))],
        "e is cut off, too: it trains the embedding in every loop with a gradient",
    ),
    of_think(
        "no truncation",
        [(UNTRACKED, "0")],
        "backprop_loops does nothing: h is cut off before the last k loops",
    ),
    of_think(
        "one loop more",
        [(UNTRACKED, UNTRACKED.replace("loops > t + k", "loops > t + k + 1"))],
        "one loop more than backprop_loops has a gradient",
    ),
    of_think(
        "one loop less",
        [(UNTRACKED, UNTRACKED.replace("loops > t + k", "loops >= t + k"))],
        "one loop less than backprop_loops has a gradient",
    ),
]

# --------------------------------------------------------------------------------------------------
# E3


def task(name, changes, **lost):
    return Mistake(name, "my_task.py", changes, lost)


MOVE = "places.append(self.leads[move - 5, places[-1]])"


def refused(name, changes, message):
    """A task that train.py does not take gets no points."""
    checks = ("e3_pure", "e3_difficulty", "e3_splits", "e3_depth")
    return task(name, changes, **dict.fromkeys(checks, message))


E3 = [
    task(
        "an answer by chance",
        [("places = [tokens[:, 0]]", "places = [torch.randint(2, (len(tokens),))]")],
        e3_pure="answers the same question differently when asked again",
    ),
    task(
        "global random numbers",
        [("width), generator=generator)", "width))")],
        e3_pure="the same generator gives another question",
    ),
    task(
        "another row's moves",
        [(MOVE, MOVE.replace("move - 5", "move.roll(1) - 5"))],
        e3_pure="changes with the other rows of the batch",
    ),
    task(
        "never longer than in training",
        [("max(self.moves, int(difficulty.max()))", "self.moves")],
        e3_difficulty="asked for difficulty 12, question() and measure() give 8; is the width",
    ),
    task(
        "padding outside of the vocabulary",
        [("self.vocab_size = 8", "self.vocab_size = 7")],
        e3_difficulty="tokens are int64 from 0 to vocab_size - 1 = 6",
    ),
    refused(
        "difficulty is the width",
        [("((tokens == 5) | (tokens == 6)).sum(1)", "(tokens >= 0).sum(1)")],
        "no train question of difficulty",
    ),
    refused(
        "a field that is a flag already",
        [("    moves: int = 8", "    steps: int = 8"), ("self.moves", "self.steps")],
        "--steps cannot be a flag of the task my_task.py: it is one of training already",
    ),
    refused(
        "a task that exists",
        [("import IGNORE, Task", "import IGNORE, MultiHop"), ("(Task)", "(MultiHop)")],
        "Places is a MultiHop, which exists already",
    ),
    task(
        "every question in every split",
        [("super().belongs(tokens, split) |", "torch.ones(len(tokens), dtype=torch.bool) |")],
        e3_splits="of the hardest questions: belongs() has to keep them apart",
    ),
    task(
        "the answer is the last token",
        [(MOVE, "places.append(move - 5)")],
        e3_depth="alone is right in 1.00",
    ),
    task(
        "the sum of two tokens",
        [(MOVE, "places.append((tokens[:, 1] + tokens[:, 2]) % 5)")],
        e3_depth="a look at token 1 and 2 alone is right in 1.00",
    ),
    task(
        "always the same answer",
        [(MOVE, "places.append(torch.zeros_like(move))")],
        e3_depth="one answer is right in 1.00",
    ),
]

# --------------------------------------------------------------------------------------------------
# E4


def recipe(name, changes, **lost):
    return Mistake(name, "recipe.py", changes, lost)


ABOVE = "nothing was trained, see above"
E4 = [
    recipe(
        "too many steps",
        [("lr=4e-3", "lr=4e-3, steps=5000")],
        e4_recipe="steps=5000 is not within the budget",
        e4_trained=ABOVE,
        e4_beyond=ABOVE,
    ),
    recipe(
        "no such setting",
        [("lr=4e-3", "lr=4e-3, n_layers=4")],
        e4_recipe="n_layers is no setting of this exercise",
        e4_trained=ABOVE,
        e4_beyond=ABOVE,
    ),
    recipe(
        "settings that exclude each other",
        [("lr=4e-3", "lr=4e-3, loops=5")],
        e4_recipe="--loops does nothing with --sampler blind",
        e4_trained=ABOVE,
        e4_beyond=ABOVE,
    ),
    recipe(
        "too many loops at test",
        [("return 2 * hops + 4", "return 100")],
        e4_recipe="loops_for() gives 100, and a question gets 1 to 24",
        e4_trained=ABOVE,
        e4_beyond=ABOVE,
    ),
    recipe(
        "as many loops as in training",
        [("return 2 * hops + 4", "return 5")],
        e4_beyond="give harder questions more loops",
    ),
    recipe(
        "hardly trained",
        [("lr=4e-3", "lr=4e-3, steps=20")],
        e4_trained="did the loss come down",
        e4_beyond="first the trained hops",
    ),
]

# --------------------------------------------------------------------------------------------------
# E5


def solve(name, changes, message):
    return Mistake(name, "looped.py", changes, dict(e5_solve=message))


GOING = "going = ~(measured < threshold)"
KEEP = "final[rows], loops_used[rows] = h, t + 1"
MEASURE = "measure(self, before, h, answer_mask[rows], measured)"
E5 = [
    solve(
        "all stop with the first",
        [(GOING, f"{GOING}\n            going = going & going.all()")],
        "all rows stop with the first one: each stops on its own",
    ),
    solve(
        "all wait for the last",
        [(GOING, f"{GOING}\n            going = going | going.any()")],
        "all rows wait for the last one: each stops on its own",
    ),
    solve(
        "counted from 0",
        [(KEEP, KEEP.replace("t + 1", "t"))],
        "one loop less is counted than was used: after loop t, t + 1 are used",
    ),
    solve(
        "max_loops forgotten",
        [
            (KEEP, ""),
            (
                GOING,
                f"{GOING}\n            done = rows[~going]\n"
                "            final[done], loops_used[done] = h[~going], t + 1",
            ),
        ],
        "a row that never stops has no answer: after max_loops it takes the state that it has",
    ),
    solve(
        "rows mixed up",
        [(MEASURE, MEASURE.replace("[rows]", "[: len(rows)]"))],
        "once some rows are done, answer_mask is that of other rows: keep track of which are left",
    ),
    solve(
        "nothing adds up",
        [(MEASURE, MEASURE.replace(", measured)", ", torch.full_like(measured, math.inf))"))],
        "a rule is always told inf: hand on what it measured last, row by row",
    ),
    solve(
        "the state before",
        [(KEEP, KEEP.replace("= h,", "= before,"))],
        "the answer is read from the state before the last loop",
    ),
    solve(
        "the wrong way round",
        [(GOING, GOING.replace("~", ""))],
        "rows stop while they still move: they stop where the measure is below the threshold",
    ),
]


def rule(name, changes, message):
    return Mistake(name, "exit_rule.py", changes, dict(e5_rule=message))


RETURN = "return kl.masked_fill(~answer_mask, -math.inf).amax(1)"
TIME = "torch.where(last.isinf(), 100.0, last - 1)"
E5 += [
    rule(
        "the whole batch",
        [(RETURN, f"{RETURN}.mean().expand(len(h))")],
        "the same for all: does it measure the batch or time, not each sequence?",
    ),
    rule(
        "the number of loops",
        [("import math", "import math\n\nimport torch"), (RETURN, f"return {TIME}")],
        "the same for all: does it measure the batch or time, not each sequence?",
    ),
    rule(
        "the wrong way round",
        [(RETURN, RETURN.replace("return ", "return -"))],
        "for no question stops in time: is a number smaller where all is said?",
    ),
    rule(
        "not a number",
        [(RETURN, f"{RETURN} * math.nan")],
        "for no question stops in time",
    ),
    rule(
        "one number",
        [(RETURN, f"{RETURN}.mean()")],
        "rule returned a tensor (), not a number for each sequence",
    ),
]

# --------------------------------------------------------------------------------------------------
# E6


def experiment(name, file, changes, message):
    return Mistake(name, f"e6/{file}", changes, dict(e6_form=message))


E6 = [
    experiment(
        "one seed",
        "result.json",
        [("[30, 31, 32]", "[30]")],
        "1 different seeds; three are asked for",
    ),
    experiment(
        "the same seed",
        "result.json",
        [("[30, 31, 32]", "[30, 30, 30]")],
        "1 different seeds; three are asked",
    ),
    experiment(
        "no control",
        "result.json",
        [("control", "other")],
        "no control among what was found",
    ),
    experiment(
        "no verdict",
        "result.json",
        [('"depends', '"it works')],
        "the verdict begins with one of reproduced",
    ),
    experiment("no page", "page.md", [("word ", "")], "a page has 150 to 700"),
    experiment(
        "not its format",
        "result.json",
        [('"seeds"', '"seed"')],
        "is not what claims/experiment.py writes",
    ),
]
MISTAKES = E1 + E2 + E3 + E4 + E5 + E6


def apply(mistake, source):
    """The source of a file of the solution with the mistake in it."""
    for old, new in mistake.changes:
        if old not in source:
            where = f"which {mistake.file} does not contain"
            raise ValueError(f"the mistake {mistake.name!r} changes {old!r}, {where}")
        source = source.replace(old, new)
    return source
