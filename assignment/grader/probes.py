"""
What a submission is asked. Each function gets `load`, which imports a module of the submission, and a seed (or more),
and returns what it was answered, as tensors and numbers. It says nothing of what is right: see judges.py.

Most use a model whose loop is a known map, so that a mistake in one exercise costs nothing in another.
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
    config = looped.Config(**{**dict(vocab_size=VOCAB, block_size=T, n_embd=C, n_head=2, loops=4), **settings})
    model, draw = (kind or looped.LoopedGPT)(config), generator(seed)
    with torch.no_grad():
        for p in model.parameters():  # not randn, which differs between machines
            p.copy_((p.dim() == 1) + 0.8 * (torch.rand(p.shape, generator=draw) - 0.5))
    return model


def tokens_of(seed):
    return torch.randint(VOCAB, (B, T), generator=generator(seed + 1))


def state_of(seed):
    return torch.rand((B, T, C), generator=generator(seed + 2)) - 0.5


def counts_of(seed):
    """Loop counts in an order that is not sorted, and that sorting twice does not bring back."""
    draw = generator(seed)
    while True:
        counts = torch.tensor(COUNTS)[torch.randperm(B, generator=draw)]
        order = counts.argsort(descending=True, stable=True)
        if not torch.equal(order[order], torch.arange(B)):
            return counts


def known(looped):
    """A model whose loop is a known map of h, e and t, and writes down how it was called."""

    class Known(looped.LoopedGPT):
        def __init__(self, config):
            super().__init__(config)
            self.gain = torch.nn.Parameter(torch.ones(config.n_embd))
            self.rows = self.rows_with_gradient = 0

        def loop(self, h, e, t, where, cache=None):
            self.rows += len(h)
            self.rows_with_gradient += len(h) * torch.is_grad_enabled()
            return torch.tanh(self.gain * h + e + 0.3 * t)

    return Known


# -----------------------------------------------------------------------------
# E1


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
        e, h = state_of(seed), state_of(seed + 10)
        answers[name] = model.loop(h, e, t, model.positions(h))
    return answers


@torch.no_grad()
def states(load, seed):
    looped = load("looped")
    model, tokens, h = build(looped, seed, known(looped)), tokens_of(seed), state_of(seed)
    yielded = list(islice(model.states(tokens, 3), 50))
    answers = {"how many of 3 loops": len(yielded), "3 loops": stacked(yielded)}
    answers["the loops of the config"] = stacked(list(islice(model.states(tokens), 50)))
    answers["from a given state"] = stacked(list(islice(model.states(tokens, 2, h), 50)))
    return answers


def stacked(states):
    return torch.stack(states) if states else torch.zeros(0)


@torch.no_grad()
def readout(load, seed):
    looped, answers = load("looped"), {}
    mask = torch.rand((B, T), generator=generator(seed + 3)) < 0.4
    mask[0, 1] = True
    for name, settings in {"no coda": {}, "a coda": dict(n_coda=2)}.items():
        model, h = build(looped, seed, **settings), state_of(seed)
        answers[name] = model.readout(h)
        answers[f"{name}, where answers are asked"] = model.readout(h, mask)
    return answers


# -----------------------------------------------------------------------------
# E2


@torch.no_grad()
def counts(load, seed):
    looped, per_row = load("looped"), counts_of(seed)
    model, tokens = build(looped, seed, known(looped)), tokens_of(seed)
    return {
        "one count for all": model.think(tokens, 4),
        "a count for each": model.think(tokens, per_row),
        "a count for each, from a given state": model.think(tokens, per_row, state_of(seed)),
    }


def gradient(load, seed):
    looped, per_row, answers = load("looped"), counts_of(seed), {}
    towards = state_of(seed)
    for k in (0, 2):
        model = build(looped, seed, known(looped), backprop_loops=k)
        h = state_of(seed + 20).requires_grad_()
        (model.think(tokens_of(seed), per_row, h) * towards).sum().backward()
        parts = {"of the weights of the loop": model.gain, "of the embedding": model.embed.weight, "of the start": h}
        for name, part in parts.items():
            answers[f"{name}, backprop_loops={k}"] = torch.zeros(()) if part.grad is None else part.grad
    return answers


def cost(load, seed):
    looped, per_row, answers = load("looped"), counts_of(seed), {}
    for k in (0, 2):
        model = build(looped, seed, known(looped), backprop_loops=k)
        model.think(tokens_of(seed), per_row)
        answers[f"rows looped, backprop_loops={k}"] = model.rows
        answers[f"of these with a gradient, backprop_loops={k}"] = model.rows_with_gradient
    return answers


# -----------------------------------------------------------------------------
# E3


def task(load, seed):
    """Batches of the submission's task, and what it says of them when asked again."""
    Task = load("tasks").Task
    mine = [each for each in vars(load("my_task")).values() if isinstance(each, type) and issubclass(each, Task)]
    mine = [each for each in mine if each.__module__ == "my_task"]
    if len(mine) != 1:
        raise ValueError(f"my_task.py has {len(mine)} subclasses of Task; it needs one")
    task, most = mine[0](seed=seed), 0
    most = task.max_difficulty
    asked = {name: difficulty for name, difficulty in dict(easy=1, middle=(most + 1) // 2, hardest=most).items()}
    if task.grows:
        asked["beyond"] = int(min(task.hardest, most + max(1, most // 2)))
    found = dict(max_difficulty=most, vocab_size=task.vocab_size, batches={}, splits={})
    for name, difficulty in asked.items():
        draw = generator(seed)
        torch.manual_seed(1)
        tokens = task.question(draw, torch.full((200,), difficulty))
        torch.manual_seed(2)  # what comes from the global random numbers is now another
        again = task.question(generator(seed), torch.full((200,), difficulty))
        other = torch.arange(199, -1, -1)
        found["batches"][name] = dict(
            difficulty=difficulty, tokens=tokens, again=again, measured=task.measure(tokens),
            targets=task.answer(tokens), targets_again=task.answer(tokens),
            backwards=task.answer(tokens[other])[other],
        )  # fmt: skip
    for split in ("train", "val", "test"):
        found["splits"][split] = task.batch(split, 0, 300, most).tokens
    batch = task.batch("train", 1, 1000, most)
    found["hardest"] = dict(tokens=batch.tokens, targets=batch.targets)
    return found


# -----------------------------------------------------------------------------
# E4: the recipe is read in one process, and trained in another


def recipe(load, hops):
    """As JSON: the flags, and how many loops each number of hops is to get at test."""
    submitted = load("recipe")
    flags = {str(name): getattr(value, "item", lambda value=value: value)() for name, value in submitted.FLAGS.items()}
    return json.dumps(dict(flags=flags, loops=[int(submitted.loops_for(each)) for each in range(1, hops + 1)]))


def train_recipe(load, flags, salt, most_loops, keep=False):
    """Train multi-hop with these flags; accuracy (hops, loops) on test, of 1 to twice the trained hops."""
    words = [f"--salt={salt}", "--threads=1", "--device=cpu", "--out=run", "--overwrite", "--eval_every=100000"]
    for name, value in flags.items():
        words.append(f"--{'' if value else 'no-'}{name}" if isinstance(value, bool) else f"--{name}={value}")
    train, accuracy_by_loop = load("train"), load("analyses.depth").accuracy_by_loop
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            load("runs").run_main(lambda: train.main(words))
        except SystemExit:
            raise ValueError(said.getvalue().strip().splitlines()[-1]) from None
    model, task, _ = train.load_model("run")
    hops = range(1, 2 * task.hops + 1)
    accuracy = [accuracy_by_loop(model, task, "test", each, most_loops, 200)[0] for each in hops]
    answer = dict(accuracy=torch.tensor(accuracy))
    if keep:
        answer["given"] = given_of(model, task, most_loops)
    return answer


# -----------------------------------------------------------------------------
# E5


@torch.no_grad()
def given_of(model, task, most_loops):
    """Questions to a trained model, (N, T), 30 of each number of hops; its states; is it right after each loop?"""
    batches = [task.batch("test", 1, 30, hops) for hops in range(1, 2 * task.hops + 1)]
    width = max(batch.tokens.shape[1] for batch in batches)

    def wide(part, fill):
        return torch.nn.functional.pad(part, (0, width - part.shape[1]), value=fill)

    tokens = torch.cat([wide(batch.tokens, task.pad) for batch in batches])
    targets = torch.cat([wide(batch.targets, IGNORE) for batch in batches])
    states = list(model.states(tokens, most_loops))
    predicted = torch.stack([model.readout(h).argmax(-1) for h in states[1:]])
    right = ((predicted == targets) | (targets == IGNORE)).all(2)  # (loops, N)
    settings = {name: value for name, value in vars(model.config).items() if name != "coordinates"}
    given = dict(settings=settings, weights=dict(model.state_dict()), states=torch.stack(states))
    return given | dict(answer_mask=targets != IGNORE, right=right, hops=task.measure(tokens))


@torch.no_grad()
def rule(load, given_file):
    """After how many loops does the submission's rule stop each question?"""
    looped, submitted = load("looped"), load("exit_rule")
    given = torch.load(given_file, weights_only=True)
    model = looped.LoopedGPT(looped.Config(**given["settings"]))
    model.load_state_dict(given["weights"])
    model.readout = lambda h, *_: model.head(h)  # there is no coda; a mistake in E1 costs nothing here
    states, mask = given["states"], given["answer_mask"]
    last, under = torch.full((len(mask),), torch.inf), []
    for before, h in zip(states[:-1], states[1:]):
        last = submitted.rule(model, before, h, mask, last)
        if not torch.is_tensor(last) or last.shape != (len(mask),):
            found = f"a tensor {tuple(last.shape)}" if torch.is_tensor(last) else type(last).__name__
            raise ValueError(f"rule returned {found}, not a number for each sequence, (B,)")
        under.append(last < submitted.THRESHOLD)
    under[-1] = torch.ones_like(under[-1])
    return dict(loops=torch.stack(under).int().argmax(0) + 1)


@torch.no_grad()
def solve(load, seed):
    """Rows that come to rest at different times, one never, under rules that are told."""
    looped, answers = load("looped"), {}

    class Resting(looped.LoopedGPT):
        def loop(self, h, e, t, where, cache=None):
            return e + (h - e) * e[:, :1, :1].sigmoid() ** 4

        def begin(self, tokens, cache=None):
            rest = state_of(seed + 30)
            rest[:, 0, 0] = torch.tensor((-1.0, 3.0, 9.0, 0.5, 1.5))
            return rest + torch.linspace(0.3, 2, T)[:, None], rest, None

        def readout(self, h, *_):
            return h

    def moved(model, before, h, answer_mask, last):
        return (h - before).abs().amax((1, 2))

    def moved_where_asked(model, before, h, answer_mask, last):
        return ((h - before) * answer_mask[..., None]).abs().amax((1, 2))

    def moved_twice_little(model, before, h, answer_mask, last):
        return moved(model, before, h, answer_mask, last) + 0.5 * last.clamp(max=1)

    rules = dict(moved=(moved, 0.02), where_asked=(moved_where_asked, 0.02), added_up=(moved_twice_little, 0.1))
    model = build(looped, seed, Resting)
    model.exit_rules = rules
    mask = torch.zeros(B, T, dtype=torch.bool)
    mask[torch.arange(B), torch.arange(B)] = True  # another position in each row
    for name in rules:
        state, loops = model.solve(tokens_of(seed), rule=name, max_loops=20, answer_mask=mask)
        answers[f"{name}: loops used"] = loops
        answers[f"{name}: read from"] = state
    _, loops = model.solve(tokens_of(seed), rule="moved", max_loops=1)
    answers["at most one loop: loops used"] = loops
    return answers
