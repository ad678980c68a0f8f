"""
Addition read digit by digit, with a cache for each loop and with one that loops share

A causal model can read a question token by token if it keeps the keys and values of the tokens before. A looped model
makes new ones in every loop, so its cache is as large as that of an untied stack as deep. Huginn (2025) lets all loops
look at what the last loop kept of earlier tokens, Mixture-of-Recursions (2025) at what the first did. Our models were
not trained for that: what does it cost? The first loop's keys and values come before any thought; the last loop's are
those of a state at rest, and if loops rest in a fixed point, all late loops keep the same.
"""

import copy

import torch
from tqdm import tqdm

from analyses.common import add_examples, add_loops, load_seeds, main_of
from analyses.cost import forward_of, race
from attention import Cache
from figures import BLUE, GREEN, ORANGE, WIDTH, label_ends, plt, seeds_text, write
from runs import fail

MANY = True
POLICIES = {
    "none": ("one for each loop", "o-", BLUE),
    "last": ("the last loop's, for all", "s--", ORANGE),
    "first": ("the first loop's, for all", "^:", GREEN),
}


def add_flags(parser):
    add_loops(parser, help="loops of each token (default: as the run says, the most in training)")
    add_examples(parser)


class SharedCache(Cache):
    """All loops look at what one of them, `keeper`, kept of earlier tokens; only that loop keeps anything."""

    def __init__(self, keeper):
        super().__init__()
        self.keeper = keeper  # a loop, 0, 1, ..

    def extend(self, key, k, v):
        part, loop, layer = key
        if part != "core" or loop == self.keeper:
            return super().extend(key, k, v)
        kept = self.kept.get((part, self.keeper, layer))
        if kept is None:
            return k, v
        earlier_k, earlier_v = (each[:, :, : self.length] for each in kept)  # the keeper may have had its turn already
        return torch.cat((earlier_k, k), dim=2), torch.cat((earlier_v, v), dim=2)


def new_cache(policy, loops):
    """An empty cache: of its own for each loop ("none"), or shared ("first", "last")."""
    return Cache() if policy == "none" else SharedCache(0 if policy == "first" else loops - 1)


# -----------------------------------------------------------------------------
# measure


@torch.no_grad()
def read_token_by_token(model, tokens, loops, policy):
    """Logits (B, T, vocab_size) of a model that sees one token at a time and the cache of those before."""
    cache = new_cache(policy, loops)
    return torch.cat([model.decode(tokens[:, i : i + 1], cache, loops) for i in range(tokens.shape[1])], dim=1)


def measure_cache(model, task, difficulties, loops, examples, policy):
    """Accuracy at each difficulty, on the first test batch."""
    row = []
    for difficulty in difficulties:
        batch = task.batch("test", 0, examples, difficulty)
        answer = read_token_by_token(model, batch.tokens, loops, policy).argmax(-1)
        row.append(task.check(batch, answer).float().mean().item())
    return row


def measure_generation(model, loops, lengths, repeats):
    """Milliseconds of one more token behind texts of some lengths, for `bench`: {policy or "no cache": [ms]}."""
    found, device = {policy: [] for policy in (*POLICIES, "no cache")}, next(model.parameters()).device
    for length in lengths:
        text = torch.randint(model.config.vocab_size, (1, length + 1), device=device)
        jobs = {"no cache": forward_of(model, text, loops)}
        for policy in POLICIES:
            cache = new_cache(policy, loops)
            model.decode(text[:, :-1], cache, loops)
            jobs[policy] = lambda cache=cache, text=text: model.decode(text[:, -1:], copy_of(cache), loops)
        for name, ms in race(jobs, repeats).items():
            found[name].append(ms)
    return found


def copy_of(cache):
    """A cache that may be extended without the other; it shares its tensors, which nobody changes."""
    twin = copy.copy(cache)
    twin.kept = dict(cache.kept)
    return twin


# -----------------------------------------------------------------------------
# draw


def draw_cache(numbers):
    """Accuracy over difficulty, one curve for each policy."""
    figure, axis = plt.subplots(figsize=(WIDTH, 4), layout="constrained")
    places = range(len(numbers["difficulty"]))  # as far apart as they are many: difficulties double
    for policy, (_, style, color) in POLICIES.items():
        axis.plot(places, numbers[policy], style, color=color, lw=2.2)
    axis.set(xlabel=f"difficulty ({numbers['unit']})", ylabel="accuracy (test)", ylim=(-0.03, 1.05))
    axis.set_xticks(places, numbers["difficulty"])
    label_ends(axis, [(numbers[policy][-1], name, color) for policy, (name, _, color) in POLICIES.items()], gap=0.08)
    lost, can = {}, {}
    for policy in ("last", "first"):
        lost[policy] = max(exact - shared for exact, shared in zip(numbers["none"], numbers[policy]))
        can[policy] = "can" if lost[policy] < 0.05 else "cannot"
    title = f"The last loop's cache {can['last']} be shared (-{lost['last']:.2f}), "
    title += f"the first's {can['first']} (-{lost['first']:.2f})\n(in brackets the most accuracy lost; "
    title += f"{numbers['task']}, " if "task" in numbers else ""
    figure.suptitle(f"{title}{numbers['loops']} loops, {seeds_text(numbers['seeds'])})")
    return figure


# -----------------------------------------------------------------------------
# say


def main(runs, args):
    loaded = load_seeds(runs, args.device)
    _, task, flags = loaded[0]
    if not task.causal:
        fail(f"--task {flags.task} is not causal: nothing of it can be cached")
    top = task.max_difficulty
    difficulties = [d for d in sorted({1, top // 4, top // 2, top, 2 * top}) if d > 0]
    loops = args.loops or flags.loops
    numbers = dict(task=flags.task, difficulty=difficulties, unit=task.unit, loops=loops)
    numbers["seeds"] = [flags.seed for _, _, flags in loaded]
    for policy in tqdm(POLICIES, desc="cache", leave=False):
        rows = [measure_cache(model, task, difficulties, loops, args.examples, policy) for model, task, _ in loaded]
        numbers[policy] = torch.tensor(rows).mean(0).tolist()
        numbers[f"{policy}_by_run"] = rows
    print(f"\n{task.unit:>26}  " + "  ".join(f"{d:>5}" for d in difficulties))
    for policy, (name, _, _) in POLICIES.items():
        print(f"{name:>26}  " + "  ".join(f"{accuracy:.3f}" for accuracy in numbers[policy]))
    write(runs[0], "cache", draw_cache(numbers), numbers)


if __name__ == "__main__":
    main_of("cache")
