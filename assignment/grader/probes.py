"""
What a submission is asked. Each function gets `load`, which imports a module of the submission, and
a seed (or more), and returns the answers of the submission as tensors and numbers. This file does
not know what is right: see judges.py.

Most functions use a model whose loop is a known map, so that a mistake in one exercise costs
nothing in another.
"""

import contextlib
import io
import json
from itertools import islice

import torch

IGNORE = -100
VOCAB, B, T, C = 11, 5, 7, 16
COUNTS = (3, 1, 5, 2, 3)  # loops of the rows: unsorted, with a tie


def generator(seed):
    return torch.Generator().manual_seed(seed)


def build(looped, seed, kind=None, **settings):
    """A small model with weights drawn from the seed."""
    sizes = dict(vocab_size=VOCAB, n_embd=C, n_head=2, loops=4)
    config = looped.Config(**{**sizes, **settings})
    model, draw = (kind or looped.LoopedGPT)(config), generator(seed)
    with torch.no_grad():
        for p in model.parameters():  # not with randn, which differs between machines
            p.copy_((p.dim() == 1) + 0.8 * (torch.rand(p.shape, generator=draw) - 0.5))
    return model


def tokens_of(seed):
    return torch.randint(VOCAB, (B, T), generator=generator(seed + 1))


def state_of(seed):
    return torch.rand((B, T, C), generator=generator(seed + 2)) - 0.5


def counts_of(seed):
    """Loop counts that are not sorted, and that come out in another order if sorted twice."""
    draw = generator(seed)
    while True:
        counts = torch.tensor(COUNTS)[torch.randperm(B, generator=draw)]
        order = counts.argsort(descending=True, stable=True)
        if not torch.equal(order[order], torch.arange(B)):
            return counts


def known(looped):
    """A model whose loop is a known map of h, e and t."""

    class Known(looped.LoopedGPT):
        def __init__(self, config):
            super().__init__(config)
            self.gain = torch.nn.Parameter(torch.ones(config.n_embd))

        def loop(self, h, e, t, positions):
            return torch.tanh(self.gain * h + e + 0.3 * t)

    return Known


# --------------------------------------------------------------------------------------------------
# E1


@torch.no_grad()
def forward(load, seed):
    looped, tokens = load("looped"), tokens_of(seed)
    model = build(looped, seed, known(looped))
    model.readout = lambda h: 2 * h - 1  # known, so that a mistake in `readout` costs nothing
    return {"3 loops": model(tokens, 3), "the loops of the config": model(tokens)}


@torch.no_grad()
def loop(load, seed):
    """One pass, of models that differ in what it has to do."""
    looped, answers = load("looped"), {}
    cases = {
        "one layer": (0, {}),
        "two layers": (0, dict(n_core=2)),
        "no injection": (2, dict(injection="none")),
        "the second loop of an untied model": (1, dict(tied=False, loops=3)),
        "re-embedding": (1, dict(reembed=True)),
    }
    for name, (t, settings) in cases.items():
        model = build(looped, seed, **settings)
        model.reembed = lambda h: 2 * h + 1  # known, so that a mistake in `reembed` costs nothing
        e, h = state_of(seed), state_of(seed + 10)
        answers[name] = model.loop(h, e, t, model.positions(h))
    return answers


@torch.no_grad()
def readout(load, seed):
    looped, answers = load("looped"), {}
    for name, settings in {"no coda": {}, "a coda": dict(n_coda=2)}.items():
        model = build(looped, seed, **settings)
        answers[name] = model.readout(state_of(seed))
    return answers


@torch.no_grad()
def reembed(load, seed):
    looped = load("looped")
    model = build(looped, seed, reembed=True)
    return {"the new state": model.reembed(state_of(seed))}


# --------------------------------------------------------------------------------------------------
# E2


@torch.no_grad()
def states(load, seed):
    looped, per_row = load("looped"), counts_of(seed)
    model, tokens, h = build(looped, seed, known(looped)), tokens_of(seed), state_of(seed)
    every = {
        "3 loops": model.states(tokens, 3),
        "the loops of the config": model.states(tokens),
        "from a given state": model.states(tokens, 2, h),
        "a count for each row": model.states(tokens, per_row),
    }
    return {name: stacked(each) for name, each in every.items()}


def stacked(states):
    states = list(islice(states, 50))  # they may have no end
    return torch.stack(states) if states else torch.zeros(0)


def gradient(load, seed):
    looped, per_row, answers = load("looped"), counts_of(seed), {}
    for k in (0, 2):
        model = build(looped, seed, known(looped), backprop_loops=k)
        h = state_of(seed + 20).requires_grad_()
        *_, last = islice(model.states(tokens_of(seed), per_row, h), 50)
        for name, part in gradients_of(last, model, h, seed).items():
            answers[f"{name}, backprop_loops={k}"] = part
    return answers


def gradients_of(last, model, start, seed):
    """The gradients of a number that depends on a last state."""
    (last * state_of(seed)).sum().backward()
    parts = {
        "of the weights of the loop": model.gain.grad,
        "of the embedding": model.embed.weight.grad,
        "of the start": start.grad,
    }
    return {name: torch.zeros(()) if part is None else part for name, part in parts.items()}


def cost(load, ask, seed):
    """The last state by `think` and its gradients. The grader counts the rows that it loops."""
    looped, per_row, answers = load("looped"), counts_of(seed), {}
    for k in (0, 2):
        case = f"backprop_loops={k}"
        model = build(looped, seed, counted(looped, ask, case), backprop_loops=k)
        h = state_of(seed + 20).requires_grad_()
        last = model.think(tokens_of(seed), per_row, h)
        found = dict(state=last.detach(), **gradients_of(last, model, h, seed))
        for name, part in found.items():
            answers[f"{name}, {case}"] = part
    model = build(looped, seed, counted(looped, ask, "one count for all"))
    answers["one count for all"] = model.think(tokens_of(seed), 4).detach()
    return answers


def counted(looped, ask, case):
    """A model whose loop only the grader can compute: dialogues.passes."""

    class Pass(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, t, tracked):
            reply = ask(dict(case=case, x=x, t=t, tracked=tracked))
            if tracked:
                ctx.save_for_backward(reply["slope"])
            return reply["h"]

        @staticmethod
        def backward(ctx, gradient):
            return gradient * ctx.saved_tensors[0], None, None

    class Counted(looped.LoopedGPT):
        def __init__(self, config):
            super().__init__(config)
            self.gain = torch.nn.Parameter(torch.ones(config.n_embd))

        def loop(self, h, e, t, positions):
            return Pass.apply(self.gain * h + e, t, torch.is_grad_enabled())

    return Counted


# --------------------------------------------------------------------------------------------------
# E3: questions come from one process and answers from another, which cannot remember what was asked


def task_of(load, seed):
    """The submission's task, made as train.py makes it. ValueError where train.py refuses it."""
    train, support, Task = load("train"), load("support.flags"), load("tasks").Task
    flags, _ = unless_refused(lambda: train.parse_flags(["--task=my_task.py", f"--seed={seed}"]))
    task = support.make_task(flags)
    for each in type(task).__mro__:
        if each.__module__ != type(task).__module__ and each not in Task.__mro__:
            found = f"{type(task).__name__} is a {each.__name__}, which exists already"
            raise ValueError(f"{found}: write a subclass of Task, with methods of your own")
    return task


def unless_refused(command):
    """What a command of train.py returns; ValueError with its last line if it gives up."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            return command()
        except SystemExit:
            raise ValueError(said.getvalue().strip().splitlines()[-1]) from None


def questions(load, seed):
    """Questions of the submission's task: of several difficulties, and of each split."""
    task = task_of(load, seed)
    most = task.max_difficulty
    asked = dict(easy=1, middle=(most + 1) // 2, hardest=most)
    if task.grows:
        asked["beyond"] = int(min(task.hardest, most + max(1, most // 2)))
    found = dict(vocab_size=task.vocab_size, tokens={}, again={}, splits={}, difficulty=asked)
    for name, difficulty in asked.items():
        wanted = torch.full((200,), difficulty)
        torch.manual_seed(1)
        found["tokens"][name] = task.question(generator(seed), wanted)
        torch.manual_seed(2)  # if a question depends on global random numbers, it changes now
        found["again"][name] = task.question(generator(seed), wanted)
    for split in ("train", "val", "test"):
        found["splits"][split] = task.batch(split, 0, 300, most).tokens
    for difficulty in task.difficulties("val"):  # training evaluates them all
        task.batch("val", 0, 100, difficulty)
    found["tokens"]["many"] = task.batch("train", 1, 2000, most).tokens
    return found


def answers(load, ask, seed):
    """What the task measures of questions (N, T), and how it answers them, until none comes."""
    task, tokens = task_of(load, seed), ask("ready")
    while True:
        tokens = ask(dict(measured=task.measure(tokens), targets=task.answer(tokens)))


def answers_if_any(load, ask, seed):
    """How the task answers tokens (N, T) that may be no questions; None where it fails."""
    task, tokens = task_of(load, seed), ask("ready")
    while True:
        try:
            targets = task.answer(tokens)
        except Exception:
            targets = None
        tokens = ask(dict(targets=targets))


# --------------------------------------------------------------------------------------------------
# E4: the recipe is read in one process, and trained in another


def recipe(load, hops):
    """As JSON: the flags, and how many loops each number of hops is to get at test."""
    submitted = load("recipe")
    flags = {}
    for name, value in submitted.FLAGS.items():
        flags[str(name)] = value.item() if hasattr(value, "item") else value
    loops = [int(submitted.loops_for(each)) for each in range(1, hops + 1)]
    return json.dumps(dict(flags=flags, loops=loops))


def train_recipe(load, flags, salt, most_loops, keep=False):
    """
    Train multi-hop with these flags; accuracy (hops, loops) on test, to twice the hops. With `keep`
    also the model, as E5 wants it.
    """
    words = [f"--salt={salt}", "--threads=1", "--device=cpu", "--out=run", "--overwrite"]
    words += ["--eval_every=100000"]
    for name, value in flags.items():
        word = f"--{name}={value}"
        if isinstance(value, bool):
            word = f"--{name}" if value else f"--no-{name}"
        words.append(word)
    train, accuracy_by_loop = load("train"), load("analyze").accuracy_by_loop
    run_main = load("support.processes").run_main
    unless_refused(lambda: run_main(lambda: train.main(words)))
    model, task, _ = train.load_model("run")
    accuracy = []
    for hops in range(1, 2 * task.hops + 1):
        accuracy.append(accuracy_by_loop(model, task, "test", hops, most_loops, 200))
    answer = dict(accuracy=torch.tensor(accuracy))
    if keep:
        settings = {name: value for name, value in vars(model.config).items() if value != ()}
        answer |= dict(settings=settings, weights=dict(model.state_dict()))
    return answer


# --------------------------------------------------------------------------------------------------
# E5


def rule(load, ask, settings, weights, answer_mask, before, h):
    """
    What the submission's rule measures after each loop, (N,) numbers. The grader hands over one
    state at a time, and of the model only what `readout` needs, so no rule can look ahead.
    """
    looped, submitted = load("looped"), load("exit_rule")
    model = looped.LoopedGPT(looped.Config(**settings))
    model.load_state_dict(weights, strict=False)
    model.readout = model.head  # there is no coda; so a mistake in E1 costs nothing here
    last = torch.full((len(h),), torch.inf)
    while True:
        with torch.no_grad():
            last = submitted.rule(model, before, h, answer_mask, last)
        if not torch.is_tensor(last) or last.shape != (len(h),):
            shape = f"a tensor {tuple(last.shape)}" if torch.is_tensor(last) else ""
            found = shape or type(last).__name__
            raise ValueError(f"rule returned {found}, not a number for each sequence, (B,)")
        before, h = h, ask(last)


@torch.no_grad()
def solve(load, seed):
    """Rows that come to rest at different times, one of them never, under rules of the grader."""
    looped, answers = load("looped"), {}

    class Resting(looped.LoopedGPT):
        def loop(self, h, e, t, positions):
            return e + (h - e) * e[:, :1, :1].sigmoid() ** 4

        def begin(self, tokens):
            rest = state_of(seed + 30)
            rest[:, 0, 0] = torch.tensor((-1.0, 3.0, 9.0, 0.5, 1.5))
            return rest + torch.linspace(0.3, 2, T)[:, None], rest, None

        def readout(self, h):
            return h

    def moved(model, before, h, answer_mask, last):
        return (h - before).abs().amax((1, 2))

    def moved_where_asked(model, before, h, answer_mask, last):
        return ((h - before) * answer_mask[..., None]).abs().amax((1, 2))

    def moved_twice_little(model, before, h, answer_mask, last):
        return moved(model, before, h, answer_mask, last) + 0.5 * last.clamp(max=1)

    model = build(looped, seed, Resting)
    model.exit_rules = {
        "moved": (moved, 0.02),
        "where_asked": (moved_where_asked, 0.02),
        "added_up": (moved_twice_little, 0.1),
    }
    mask = torch.zeros(B, T, dtype=torch.bool)
    mask[torch.arange(B), torch.arange(B)] = True  # another position in each row
    for name in model.exit_rules:
        state, loops = model.solve(tokens_of(seed), rule=name, max_loops=20, answer_mask=mask)
        answers[f"{name}: loops used"] = loops
        answers[f"{name}: read from"] = state
    _, loops = model.solve(tokens_of(seed), rule="moved", max_loops=1)
    answers["at most one loop: loops used"] = loops
    return answers
