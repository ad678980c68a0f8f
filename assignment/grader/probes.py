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
    """A model whose loop is a known map of h, e and t, and counts the rows that it was given."""

    class Known(looped.LoopedGPT):
        def __init__(self, config):
            super().__init__(config)
            self.gain = torch.nn.Parameter(torch.ones(config.n_embd))
            self.rows = self.rows_with_gradient = 0

        def loop(self, h, e, t, positions):
            self.rows += len(h)
            self.rows_with_gradient += len(h) * torch.is_grad_enabled()
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


def cost(load, seed):
    """The last state by `think`, its gradients, and the rows that `loop` was given."""
    looped, per_row, answers = load("looped"), counts_of(seed), {}
    for k in (0, 2):
        model = build(looped, seed, known(looped), backprop_loops=k)
        h = state_of(seed + 20).requires_grad_()
        last = model.think(tokens_of(seed), per_row, h)
        found = dict(state=last.detach(), **gradients_of(last, model, h, seed))
        found["rows looped"] = model.rows
        found["rows looped with a gradient"] = model.rows_with_gradient
        for name, part in found.items():
            answers[f"{name}, backprop_loops={k}"] = part
    model = build(looped, seed, known(looped))
    answers["one count for all"] = model.think(tokens_of(seed), 4).detach()
    return answers


# --------------------------------------------------------------------------------------------------
# E3


def only_task(load):
    """The subclass of Task that my_task.py defines."""
    Task, module = load("tasks").Task, load("my_task")
    mine = []
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Task) and value.__module__ == "my_task":
            mine.append(value)
    if len(mine) != 1:
        raise ValueError(f"my_task.py has {len(mine)} subclasses of Task; it needs one")
    return mine[0]


def task(load, seed):
    """Batches of the submission's task, and what the task says of them when it is asked again."""
    task = only_task(load)(seed=seed)
    most = task.max_difficulty
    asked = dict(easy=1, middle=(most + 1) // 2, hardest=most)
    if task.grows:
        asked["beyond"] = int(min(task.hardest, most + max(1, most // 2)))
    found = dict(max_difficulty=most, vocab_size=task.vocab_size, batches={}, splits={})
    backwards = torch.arange(199, -1, -1)
    for name, difficulty in asked.items():
        wanted = torch.full((200,), difficulty)
        torch.manual_seed(1)
        tokens = task.question(generator(seed), wanted)
        torch.manual_seed(2)  # if a question depends on global random numbers, it changes now
        again = task.question(generator(seed), wanted)
        found["batches"][name] = dict(
            difficulty=difficulty,
            tokens=tokens,
            again=again,
            measured=task.measure(tokens),
            targets=task.answer(tokens),
            targets_again=task.answer(tokens),
            backwards=task.answer(tokens[backwards])[backwards],
        )
    for split in ("train", "val", "test"):
        found["splits"][split] = task.batch(split, 0, 300, most).tokens
    batch = task.batch("train", 1, 1000, most)
    found["hardest"] = dict(tokens=batch.tokens, targets=batch.targets)
    return found


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
    """Train multi-hop with these flags; accuracy (hops, loops) on test, to twice the hops."""
    words = [f"--salt={salt}", "--threads=1", "--device=cpu", "--out=run", "--overwrite"]
    words += ["--eval_every=100000"]
    for name, value in flags.items():
        word = f"--{name}={value}"
        if isinstance(value, bool):
            word = f"--{name}" if value else f"--no-{name}"
        words.append(word)
    train, accuracy_by_loop = load("train"), load("analyze").accuracy_by_loop
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            load("support.processes").run_main(lambda: train.main(words))
        except SystemExit:
            raise ValueError(said.getvalue().strip().splitlines()[-1]) from None
    model, task, _ = train.load_model("run")
    accuracy = []
    for hops in range(1, 2 * task.hops + 1):
        accuracy.append(accuracy_by_loop(model, task, "test", hops, most_loops, 200))
    answer = dict(accuracy=torch.tensor(accuracy))
    if keep:
        answer["given"] = given_of(model, task, most_loops)
    return answer


# --------------------------------------------------------------------------------------------------
# E5


@torch.no_grad()
def given_of(model, task, most_loops):
    """
    What E5 looks at: questions to a trained model (N, T), 30 of each number of hops, the states of
    the model, and whether it is right after each loop.
    """
    batches = [task.batch("test", 1, 30, hops) for hops in range(1, 2 * task.hops + 1)]
    width = max(batch.tokens.shape[1] for batch in batches)

    def wide(part, fill):
        return torch.nn.functional.pad(part, (0, width - part.shape[1]), value=fill)

    tokens = torch.cat([wide(batch.tokens, task.pad) for batch in batches])
    targets = torch.cat([wide(batch.targets, IGNORE) for batch in batches])
    states = list(model.states(tokens, most_loops))
    predicted = torch.stack([model.readout(h).argmax(-1) for h in states[1:]])
    settings = {name: value for name, value in vars(model.config).items() if name != "coordinates"}
    return dict(
        settings=settings,
        weights=dict(model.state_dict()),
        states=torch.stack(states),
        answer_mask=targets != IGNORE,
        right=((predicted == targets) | (targets == IGNORE)).all(2),  # (loops, N)
        hops=task.measure(tokens),
    )


@torch.no_grad()
def rule(load, given_file):
    """After how many loops does the submission's rule stop each question?"""
    looped, submitted = load("looped"), load("exit_rule")
    given = torch.load(given_file, weights_only=True)
    model = looped.LoopedGPT(looped.Config(**given["settings"]))
    model.load_state_dict(given["weights"])
    model.readout = model.head  # there is no coda; so a mistake in E1 costs nothing here
    states, mask = given["states"], given["answer_mask"]
    last, below = torch.full((len(mask),), torch.inf), []
    for before, h in zip(states[:-1], states[1:]):
        last = submitted.rule(model, before, h, mask, last)
        if not torch.is_tensor(last) or last.shape != (len(mask),):
            found = type(last).__name__
            if torch.is_tensor(last):
                found = f"a tensor {tuple(last.shape)}"
            raise ValueError(f"rule returned {found}, not a number for each sequence, (B,)")
        below.append(last < submitted.THRESHOLD)
    below[-1] = torch.ones_like(below[-1])  # after the last loop every question stops
    return dict(loops=torch.stack(below).int().argmax(0) + 1)


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
