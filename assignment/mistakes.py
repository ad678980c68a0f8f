"""
The usual mistakes: each a change of the solution, and for each check that it costs, what the student is told.

Two things are made of this table. build.py runs the solution with each change of looped.py and gives the grader the
answers, so that it knows the mistake again, however it is written. tests/assignment makes sure that each mistake costs
the points that it should and no others, and says its line.
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


LOOP = "self.core_pass(self.inject(h, e), t, where, cache)"
REEMBED = "h = h + self.reembed_gate * (mixture * self.config.n_embd**0.5)"
CODA = "        if self.coda:\n"
E1 = [
    looped(
        "no injection",
        [(LOOP, "self.core_pass(h, t, where, cache)")],
        e1_loop="the question never enters: every loop injects e into the state before the core sees it",
    ),
    looped(
        "injection behind the core",
        [(LOOP, "self.inject(self.core_pass(h, t, where, cache), e)")],
        e1_loop="e enters behind the core; it is injected first, so that the core sees both",
    ),
    looped(
        "always the first layers",
        [(LOOP, LOOP.replace(", t,", ", 0,"))],
        e1_loop="t is not handed on: an untied model has layers of its own for each loop",
    ),
    looped(
        "h and e swapped",
        [(LOOP, LOOP.replace("h, e", "e, h"))],
        e1_loop="state and question are swapped in the injection: with injection='none' it must return the state",
    ),
    looped(
        "a second residual",
        [(LOOP, f"h + {LOOP}")],
        e1_loop="the old state is added to the new one: the blocks have their residuals inside",
    ),
    looped(
        "no re-embedding",
        [("        if self.config.reembed:  # the expected", "        if False:  # the expected")],
        e1_loop="config.reembed does nothing: such a loop ends by adding its prediction, as an embedding",
    ),
    looped(
        "re-embedding instead of the state",
        [(REEMBED, REEMBED.replace("h = h + ", "h = "))],
        e1_loop="re-embedding replaces the state; it is added to it",
    ),
    looped(
        "re-embedding without its length",
        [(REEMBED, REEMBED.replace(" * self.config.n_embd**0.5", ""))],
        e1_loop="the re-embedding is too short: each embedding has length sqrt(C) there",
    ),
    looped(
        "no state before the first loop",
        [("else h\n        yield h\n        for", "else h\n        for")],
        e1_states="the state before the first loop is missing: n loops have n + 1 states",
    ),
    looped(
        "a loop too few",
        [("for t in range(one_count(loops, self.config)):", "for t in range(one_count(loops, self.config) - 1):")],
        e1_states="a loop too few: n loops have n + 1 states, the one before the first loop included",
    ),
    looped(
        "yielded before the loop",
        [
            (
                "            h = self.loop(h, e, t, where)\n            yield h\n",
                "            yield h\n            h = self.loop(h, e, t, where)\n",
            )
        ],
        e1_states="each state comes out before its loop: the first one twice, the last one never",
    ),
    looped(
        "the given state ignored",
        [("        h = start if h is None else h\n        yield h", "        h = start\n        yield h")],
        e1_states="a given h is ignored: the loop starts from it",
    ),
    looped(
        "always loop 0",
        [
            (
                "            h = self.loop(h, e, t, where)\n            yield",
                "            h = self.loop(h, e, 0, where)\n            yield",
            )
        ],
        e1_states="every loop is told that it is loop 0: hand on t",
    ),
    looped(
        "e instead of h",
        [
            (
                "            h = self.loop(h, e, t, where)\n            yield",
                "            h = self.loop(start, e, t, where)\n            yield",
            )
        ],
        e1_states="every loop starts from the first state again: a loop continues from the last state",
    ),
    looped(
        "no coda",
        [(CODA, "        if False:\n")],
        e1_readout="the coda is left out: its layers run once, before the head",
    ),
    looped(
        "the mask ignored",
        [("self.head(h if answer_mask is None else h[answer_mask])", "self.head(h)")],
        e1_readout="answer_mask is ignored: with it, logits are (N, vocab_size), of the places where it is true",
    ),
    looped(
        "the mask before the coda",
        [(CODA, f"        if answer_mask is not None:\n            h = h * answer_mask[..., None]\n{CODA}")],
        e1_readout="the mask comes before the coda: its attention has to see all positions; mask behind it",
    ),
    looped(
        "no norm",
        [
            (
                "self.head(h if answer_mask is None else h[answer_mask])",
                "F.linear(h if answer_mask is None else h[answer_mask], self.embed.weight)",
            )
        ],
        e1_readout="the norm before the head is missing: use self.head",
    ),
    looped(
        "probabilities",
        [
            (
                "self.head(h if answer_mask is None else h[answer_mask])",
                "self.head(h if answer_mask is None else h[answer_mask]).softmax(-1)",
            )
        ],
        e1_readout="these are probabilities; logits are asked for, as cross_entropy wants them",
    ),
]

ACTIVE = "active = int((counts > t).sum())"
UNTRACKED = "untracked = int((counts > t + k).sum()) if k else 0"
WITHOUT = "parts.append(self.loop(h[:untracked], e[:untracked], t, where))"
WITH = "parts.append(self.loop(h[untracked:], e[untracked:], t, where))"
JOIN = "h = torch.cat(parts) if untracked else parts[0]"
ALL_LOOP = "every row takes the most loops: a row that is done keeps its state"
INPUT = "finished rows still move: your mask is applied to the input, not to the state"
DONE = "rows that are done are looped on, if only to be masked: a batch costs the sum of its counts"
TRACKED = "loops before the last k still keep what a backward pass needs (detach() comes too late): torch.no_grad()"
FEWER = "each row takes a loop too few: the loops t of a row are 0 .. count - 1"
E2 = [
    looped(
        "all rows take the most loops",
        [(ACTIVE, "active = len(h)")],
        e2_counts=ALL_LOOP,
        e2_gradient=ALL_LOOP,
        e2_cost=DONE,
    ),
    looped(
        "the mask on the input",
        [
            (ACTIVE, "active = len(h)"),
            (WITHOUT, WITHOUT.replace("e[:untracked]", "(e * (counts > t)[:, None, None])[:untracked]")),
            (WITH, WITH.replace("e[untracked:]", "(e * (counts > t)[:, None, None])[untracked:]")),
        ],
        e2_counts=INPUT,
        e2_gradient=INPUT,
        e2_cost=DONE,
    ),
    looped(
        "sorted order",
        [("return h[order.argsort()]", "return h")],
        e2_counts="the rows come back sorted by their counts: put them back in the order of the tokens",
        e2_gradient="the rows come back sorted by their counts: put them back in the order of the tokens",
    ),
    looped(
        "sorted twice",
        [("return h[order.argsort()]", "return h[order]")],
        e2_counts="the rows come back in a wrong order: the way back is the inverse permutation",
        e2_gradient="the rows come back in a wrong order: the way back is the inverse permutation",
    ),
    looped(
        "the state is not sorted",
        [("self.advance(h[order], e[order]", "self.advance(h, e[order]")],
        e2_counts="state and question of a row do not belong together: sort both",
        e2_gradient="state and question of a row do not belong together: sort both",
    ),
    looped(
        "the given state ignored",
        [("h = start if h is None else h\n        most", "h = start\n        most")],
        e2_counts="a given h is ignored: think starts from it",
        e2_gradient="a given h is ignored: think starts from it",
    ),
    looped(
        "a loop too few",
        [(ACTIVE, "active = int((counts > t + 1).sum())"), ("parts[0]\n", "parts[0] if parts else h\n")],
        e2_counts=FEWER,
        e2_gradient=FEWER,
        e2_cost="fewer rows are looped than the sum of the counts",
    ),
    looped(
        "the first k loops",
        [(UNTRACKED, "untracked = active if k and t >= k else 0")],
        e2_gradient="the first loops have the gradient: it is the last backprop_loops of each row that do",
    ),
    looped(
        "the last loops of the batch",
        [(UNTRACKED, "untracked = active if k and t + k < int(counts.max()) else 0")],
        e2_gradient="all rows are cut at one loop: a row with fewer loops has a gradient through its own last ones",
        e2_cost="all rows are cut at one loop: count the loops with a gradient from the end of each row",
    ),
    looped(
        "e cut off",
        [(WITH, WITH.replace("e[untracked:]", "e[untracked:].detach()"))],
        e2_gradient="e is cut off, too: injected, it trains the embedding in every loop with a gradient",
    ),
    looped(
        "no truncation",
        [(UNTRACKED, "untracked = 0")],
        e2_gradient="backprop_loops does nothing: loops before the last k have no gradient",
        e2_cost=TRACKED,
    ),
    looped(
        "one loop more",
        [(UNTRACKED, UNTRACKED.replace("counts > t + k", "counts > t + k + 1"))],
        e2_gradient="the gradient goes through one loop more than backprop_loops",
        e2_cost="one loop more than backprop_loops has a gradient",
    ),
    looped(
        "one loop less",
        [(UNTRACKED, UNTRACKED.replace("counts > t + k", "counts >= t + k"))],
        e2_gradient="the gradient goes through one loop less than backprop_loops",
        e2_cost="one loop less than backprop_loops has a gradient",
    ),
    looped(
        "detached",
        [
            (
                "            if untracked:\n                with torch.no_grad():\n                    " + WITHOUT,
                "            if untracked:\n                " + WITHOUT.replace("where))", "where).detach())"),
            )
        ],
        e2_cost=TRACKED,
    ),
    looped(
        "masked",
        [
            (ACTIVE, "active = len(h)"),
            (JOIN, f"new = {JOIN[4:]}\n            h = torch.where((counts > t)[:, None, None], new, h)"),
        ],
        e2_cost=DONE,
    ),
]


def task(name, changes, **lost):
    return Mistake(name, "my_task.py", changes, lost)


MOVE = "places.append(self.leads[move - 5, places[-1]])"
NONE_FOUND = "no train question of difficulty"
E3 = [
    task(
        "an answer by chance",
        [("places = [tokens[:, 0]]", "places = [torch.randint(2, (len(tokens),))]")],
        e3_pure="answers the same question differently when asked again",
    ),
    task(
        "global random numbers",
        [("shape, generator=generator)", "shape)")],
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
        [("self.max_difficulty = 8,", "self.max_difficulty = 7,")],
        e3_difficulty="tokens are int64 from 0 to vocab_size - 1 = 6",
    ),
    task(
        "difficulty is the width",
        [("((tokens == 5) | (tokens == 6)).sum(1)", "(tokens >= 0).sum(1)")],
        e3_pure=NONE_FOUND,
        e3_difficulty=NONE_FOUND,
        e3_splits=NONE_FOUND,
        e3_depth=NONE_FOUND,
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
        "always the same answer",
        [(MOVE, "places.append(torch.zeros_like(move))")],
        e3_depth="one answer is right in 1.00",
    ),
]


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


def solve(name, changes, message):
    return Mistake(name, "looped.py", changes, dict(e5_solve=message))


STOPS = "stops = (measured < threshold) | (t + 1 == max_loops)"
MEASURE = "measure(self, before, h, answer_mask[rows], measured)"
E5 = [
    solve(
        "all stop with the first",
        [(STOPS, f"{STOPS}\n            stops = stops | stops.any()")],
        "all rows stop with the first one: each stops on its own",
    ),
    solve(
        "all wait for the last",
        [(STOPS, f"{STOPS}\n            stops = stops & stops.all()")],
        "all rows wait for the last one: each stops on its own",
    ),
    solve(
        "counted from 0",
        [("loops_used[rows[stops]] = t + 1", "loops_used[rows[stops]] = t")],
        "one loop less is counted than was used: after loop t, t + 1 are used",
    ),
    solve(
        "max_loops forgotten",
        [(STOPS, "stops = measured < threshold")],
        "a row that never stops has no answer: after max_loops it takes the state it has",
    ),
    solve(
        "rows mixed up",
        [(MEASURE, MEASURE.replace("[rows]", "[: len(rows)]"))],
        "answer_mask is that of other rows, once some have left: keep track of who is left",
    ),
    solve(
        "nothing adds up",
        [(MEASURE, MEASURE.replace(", measured)", ", torch.full_like(measured, math.inf))"))],
        "a rule is always told inf: hand on what it measured last, row by row",
    ),
    solve(
        "the state before",
        [("final[rows[stops]] = h[stops]", "final[rows[stops]] = before[stops]")],
        "the answer is read from the state before the last loop",
    ),
    solve(
        "the wrong way round",
        [(STOPS, STOPS.replace("<", ">"))],
        "rows stop while they still move: stop when the measure falls under the threshold",
    ),
]


def rule(name, changes, message):
    return Mistake(name, "exit_rule.py", changes, dict(e5_rule=message))


RETURN = "return kl(model, before, h, answer_mask, last)"
LIMIT = "THRESHOLD = 1e-4"
E5 += [
    rule("never", [(LIMIT, "THRESHOLD = -1.0")], "does the rule ever fall under the threshold?"),
    rule("at once", [(LIMIT, "THRESHOLD = 1e9")], "is the threshold too high?"),
    rule("too early", [(LIMIT, "THRESHOLD = 0.1")], "it stops before the walk is over"),
    rule(
        "the whole state",
        [("import kl", "import settle"), (RETURN, RETURN.replace("kl", "settle")), (LIMIT, "THRESHOLD = 0.05")],
        "as right, but at most",
    ),
    rule(
        "the whole batch",
        [(RETURN, f"{RETURN}.mean().expand(len(h))"), (LIMIT, "THRESHOLD = 0.01")],
        "does it measure the batch, not each sequence?",
    ),
    rule("one number", [(RETURN, f"{RETURN}.mean()")], "rule returned a tensor (), not a number for each sequence"),
]


def experiment(name, file, changes, message):
    return Mistake(name, f"e6/{file}", changes, dict(e6_form=message))


E6 = [
    experiment("one seed", "result.json", [("[30, 31, 32]", "[30]")], "1 different seeds; three are asked for"),
    experiment(
        "the same seed", "result.json", [("[30, 31, 32]", "[30, 30, 30]")], "1 different seeds; three are asked"
    ),
    experiment("no control", "result.json", [("control", "other")], "no control among what was found"),
    experiment("no verdict", "result.json", [('"depends', '"it works')], "the verdict begins with one of reproduced"),
    experiment("no page", "page.md", [("word ", "")], "a page has 150 to 700"),
    experiment("not its format", "result.json", [('"seeds"', '"seed"')], "is not what papers/experiment.py writes"),
]
MISTAKES = E1 + E2 + E3 + E4 + E5 + E6


def apply(mistake, source):
    """The source of a file of the solution with the mistake in it."""
    for old, new in mistake.changes:
        if old not in source:
            raise ValueError(f"the mistake {mistake.name!r} changes {old!r}, which {mistake.file} does not contain")
        source = source.replace(old, new)
    return source
