"""
The exercises about which the grader asks in several steps, so that no process of a submission holds
what it is to find out. Each function returns (answer, complaint) as sandbox.run does.
"""

import io
from collections import Counter

import torch
from grader import probes, sandbox

from support.hashing import stream

WIDEST = 64  # tokens of a question in E3
MOST_PASSES = 1000  # rows of all passes in E2, and their largest number
ROUGHNESS = 40.0
CHANGED, DRAWS = 32, 6  # questions of E3 of which a token is changed, and how often each token is


def ask_task(files, submission, course, seconds):
    """E3: one process draws questions; another, which has not seen them drawn, answers them."""
    seed = stream(course.salt, "task") % 2**31
    # With the course's own code as students get it: the solution is not to be read there.
    files = {**files, **course.files, "my_task.py": files["my_task.py"]}
    asked, complaint = sandbox.run(files, "questions", dict(seed=seed), seconds, course.guard)
    if complaint:
        return None, complaint
    if complaint := form_of(asked):
        return None, complaint
    asked_again = in_any_order(seed, asked["tokens"])
    answered, complaint = sandbox.run(files, "answers", asked_again, seconds, course.guard)
    if complaint:
        return None, complaint
    # With a changed token a question may be none any more, and answer() may fail or never end. The
    # task is not blamed for that: then nothing is known about its tokens.
    changed = with_a_token_changed(seed, asked["tokens"])
    matter, _ = sandbox.run(files, "answers_if_any", changed, seconds / 3, course.guard)
    return asked | dict(answers=answered, matter=matter), ""


def form_of(asked):
    """A complaint if what probes.questions brings is not what it was asked for."""
    names = ["easy", "middle", "hardest", *(["beyond"] if "beyond" in asked["tokens"] else [])]
    expected = [(asked[group][name], 200) for group in ("tokens", "again") for name in names]
    expected += [(asked["splits"][split], 300) for split in ("train", "val", "test")]
    expected.append((asked["tokens"]["many"], 2000))
    for tokens, rows in expected:
        if not torch.is_tensor(tokens) or tokens.dim() != 2 or tokens.dtype != torch.int64:
            is_tensor = torch.is_tensor(tokens)
            found = f"{tokens.dtype} {tuple(tokens.shape)}" if is_tensor else "no tensor"
            return f"question() gives tokens (B, T) of int64, not {found}"
        if len(tokens) != rows or tokens.shape[1] > WIDEST:
            found = f"question() gives {tuple(tokens.shape)} when {rows} questions are asked for"
            return f"{found}; a question has at most {WIDEST} tokens"
    if asked["difficulty"].keys() != set(names) or len(asked["tokens"]) != len(names) + 1:
        raise ValueError("other questions than those that were asked for")
    return ""


def in_any_order(seed, tokens):
    """The grader's side of probes.answers: each question twice, and once in another order."""
    found, said = {}, (yield dict(seed=seed))
    for name, rows in tokens.items():
        mixed = torch.randperm(len(rows))
        said, again, shuffled = (yield rows), (yield rows), (yield rows[mixed])
        found[name] = said | dict(again=again["targets"], backwards=said["targets"])
        if said["targets"].shape == rows.shape == shuffled["targets"].shape:
            found[name]["backwards"] = shuffled["targets"][mixed.argsort()]
    return found


def with_a_token_changed(seed, tokens):
    """
    The grader's side of probes.answers_if_any: {name: (m, places)} for easy and for the hardest
    questions. m is the number of tokens on which an answer depends: if another question's token is
    put there, the answer changes. (If a question asks for several answers, the one that depends on
    most tokens counts; m is the mean over the questions.) `places` is the number of places whose
    token is not the same in all questions.
    """
    found, draw = {}, torch.Generator().manual_seed(seed)
    said = yield dict(seed=seed)
    for name in ("easy", "hardest"):
        rows = tokens[name][:CHANGED]
        targets = (yield rows)["targets"]
        places = (tokens[name] != tokens[name][0]).any(0).nonzero()[:, 0].tolist()
        matters = torch.ones(len(places), *rows.shape, dtype=torch.bool)
        for number, place in enumerate(places):
            others = torch.randint(len(tokens[name]), (DRAWS * CHANGED,), generator=draw)
            changed = rows.repeat(DRAWS, 1)
            changed[:, place] = tokens[name][others, place]
            said = yield changed
            if said["targets"] is not None:
                differ = said["targets"].view(DRAWS, *rows.shape) != targets
                matters[number] = differ.any(0)
        matters &= targets != probes.IGNORE
        found[name] = float(matters.sum(0).amax(1).float().mean()), len(places)
    return found


def ask_cost(files, submission, course, seconds):
    """E2: a pass of the loop is computed here, so nobody can have one that is not counted."""
    return sandbox.run(files, "cost", passes(course.salt), seconds, course.guard)


def passes(salt):
    """
    The grader's side of probes.cost. The map is h -> tanh(x + s(x)), where s belongs to the salt
    and to the number of the loop, and is too rough to be guessed from a few passes. Its slope,
    which a gradient needs, is told only if the pass is counted as one with a gradient.
    """
    draw = torch.Generator().manual_seed(stream(salt, "passes") % 2**31)
    rows, rows_tracked = Counter(), Counter()
    phases = 6 * torch.rand(MOST_PASSES, 1, 1, probes.C, generator=draw)
    said = yield dict(seed=stream(salt, "cost") % 2**31)
    while "x" in said:
        x, t = said["x"], said["t"]
        if x.shape[1:] != (probes.T, probes.C) or sum(rows.values()) > MOST_PASSES:
            raise ValueError(f"loop was given the shape {tuple(x.shape)}")
        rows[said["case"]] += len(x)
        angle = ROUGHNESS * x + phases[t]
        h = torch.tanh(x + 0.5 * angle.sin() / ROUGHNESS)
        reply = dict(h=h)
        if said["tracked"]:
            rows_tracked[said["case"]] += len(x)
            reply["slope"] = (1 - h**2) * (1 + 0.5 * angle.cos())
        said = yield reply
    counts = {}
    for case in ("backprop_loops=0", "backprop_loops=2"):
        counts[f"rows looped, {case}"] = rows[case]
        counts[f"rows looped with a gradient, {case}"] = rows_tracked[case]
    return said | counts


def ask_rule(files, submission, course, seconds):
    """E5: what the rule measures after each loop, (loops, N)."""
    given = torch.load(io.BytesIO(course.given), weights_only=True)
    return sandbox.run(files, "rule", state_by_state(given), seconds, course.guard)


def state_by_state(given):
    """The grader's side of probes.rule: it hands over the next state, and is told a measure."""
    states = given["states"].float()
    asked = {name: given[name] for name in ("settings", "weights", "answer_mask")}
    measured = [(yield dict(before=states[0], h=states[1], **asked))]
    for h in states[2:]:
        measured.append((yield h))
    return dict(measured=measured)
