"""
How far each loop moves the state, and whether the states at rest are right

A tied loop is a map that is applied to its own output again and again, so it may come to a fixed
point: a state that it does not move any more. When does it, and is the answer right if and only if
it does? Does the same point wait at the end of every way, from noise or from where another question
came to rest (path independence, Anil et al. 2022)?

Questions within and beyond the trained difficulty take 128 loops. Movement is |h_t - h_(t-1)| /
|h_t| over all positions. A question is at rest once that stays below 0.05, the threshold of
solve(rule="settle"). fixedpoint.png shows movement and rest. fixedpoint_more.png shows right
against wrong answers, the layers of the core, how well rest predicts a right answer (AUROC), and
the ways of five questions in a plane.
"""

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from analyses.common import add_examples, add_factor, add_loops, load_looped
from analyses.fixedpoint_more import draw_more, in_a_plane
from looped import LoopedGPT
from support.figures import GREY, WIDTH, plt, seeds_text, write
from support.hashing import stream
from tasks import IGNORE
from train import trained_loops

MANY = True
_, REST = LoopedGPT.exit_rules["settle"]  # the movement below which a question is at rest


def add_flags(parser):
    add_loops(parser, "loops of every question (default 128)")
    text = "a quarter of this many questions of each difficulty are asked (default 500)"
    add_examples(parser, text)
    add_factor(parser)


# --------------------------------------------------------------------------------------------------
# Measure


def layered(model, tokens, loops):
    """
    The states h (loops + 1, B, ..) of a tied model, and what stands after every layer of every
    loop, (loops, layers, B, T, C). (The re-embedding comes after the last layer.)
    """
    seen = []

    def keep(block, inputs, output):
        seen.append(output)

    hooks = [block.register_forward_hook(keep) for block in {*model.core_of(0)}]
    states = model.trajectory(tokens, loops)
    for hook in hooks:
        hook.remove()
    if len(seen) % loops or len({layer.shape for layer in seen}) > 1:
        raise ValueError("the loops of this model do not all run the same layers on all positions")
    return states, torch.stack(seen).unflatten(0, (loops, -1))


def with_state(model, h, state):
    """A copy of h with another state in it; what h carries beside its state stays."""
    h = h.clone()
    model.proper_state(h).copy_(state)
    if not torch.equal(model.proper_state(h), state):
        kind = type(model).__name__
        raise ValueError(f"{kind} cannot be started elsewhere: its proper_state is no part of h")
    return h


def relative(x, to):
    """|x - to| / |to| of states (.., T, C)."""
    return (x - to).flatten(-2).norm(dim=-1) / to.flatten(-2).norm(dim=-1)


def auroc(score, label, group=None):
    """
    The chance that the score (N,) of a true label (N,) is above that of a false one; with `group`
    (N,), of pairs within one group only. nan if there is no pair.
    """
    above = score[label][:, None] - score[~label]
    wins = (above > 0).float() + 0.5 * (above == 0)
    if group is not None:
        wins = wins[group[label][:, None] == group[~label]]
    return wins.mean().item()


def interval(score, label, group=None, resamples=200):
    """
    95 % of the AUROCs of questions drawn again from these (bootstrap): [low, high]; nan if there is
    no pair.
    """
    generator, n = torch.Generator().manual_seed(0), len(score)
    values = []
    for _ in range(resamples):
        drawn = torch.randint(n, (n,), generator=generator)
        within = None if group is None else group[drawn]
        values.append(auroc(score[drawn], label[drawn], within))
    return np.quantile(values, (0.025, 0.975)).tolist()


def first_loop(holds):
    """The first loop, 1.., from which `holds` (N, loops) is true to the end; else loops + 1."""
    return holds.shape[1] + 1 - holds.flip(1).long().cumprod(1).sum(1)


@torch.no_grad()
def measure_fixedpoint(model, task, flags, args):
    """One run, difficulties within and beyond training: a dict of tensors, N questions in each."""
    loops, top, size = args.loops or 128, task.max_difficulty, max(2, args.examples // 4)
    difficulties = task.difficulties("test")
    if task.grows:
        asked = {max(1, round(top * x)) for x in (1 / 2, 1, 2, 4, 6) if x <= args.factor}
        difficulties = sorted(difficulty for difficulty in asked if difficulty <= task.hardest)
    parts = []
    for difficulty in difficulties:
        batch = task.batch("test", 0, size, difficulty)
        # for the noise below and for state_init="noise"
        torch.manual_seed(stream(flags.seed, "starts", difficulty))
        h, layers = layered(model, batch.tokens, loops)
        states = model.proper_state(h)  # (loops + 1, B, T, C)
        right = [task.check(batch, model.readout(each).argmax(-1)) for each in h[1:]]
        part = dict(
            difficulty=batch.difficulty,
            movement=relative(states[:-1], states[1:]).T,  # (N, loops)
            size=states.norm(dim=-1).mean(-1).T / states.shape[-1] ** 0.5,  # (N, loops + 1)
            right=torch.stack(right, dim=1),  # (N, loops)
            distance=relative(layers, layers[-1]).permute(2, 0, 1),  # (N, loops, layers)
        )
        usual_end = states[-1].flatten(1)
        starts = {"noise": torch.randn_like(states[0]), "another's end": states[-1].roll(1, 0)}
        for name, start in starts.items():
            end = model.think(batch.tokens, loops, h=with_state(model, h[0], start))
            state = model.proper_state(end).flatten(1)
            part[f"alignment, {name}"] = F.cosine_similarity(state, usual_end)
            part[f"right, {name}"] = task.check(batch, model.readout(end).argmax(-1))
        parts.append({key: value.cpu() for key, value in part.items()})
        if difficulty == top or not task.grows:
            # the last position where an answer is asked
            last = (batch.targets != IGNORE).float().cumsum(1).argmax(1)
            paths = states[:, range(size), last][:, :5].cpu()  # (loops + 1, 5, C)
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]} | dict(paths=paths)


def summarise(pooled, numbers):
    """Medians and shares over all questions of all runs, into `numbers`."""
    movement, right, difficulty = pooled["movement"], pooled["right"], pooled["difficulty"]
    loops = movement.shape[1]
    settled = movement < REST
    answered, at_rest = first_loop(right), first_loop(settled)
    numbers.update(loops=loops, questions=len(right), by_difficulty=[])
    for each in difficulty.unique().tolist():
        rows = difficulty == each
        row = dict(
            difficulty=each,
            right=right[rows, -1].float().mean().item(),
            answered=answered[rows].median().item(),
            at_rest=at_rest[rows].median().item(),
            movement=movement[rows].median(0).values.tolist(),
            auroc=auroc(-movement[rows, -1], right[rows, -1]),
        )
        numbers["by_difficulty"].append(row)
    numbers["distance"] = pooled["distance"].median(0).values.T.tolist()  # [layer][loop]
    numbers.update(auroc=[], auroc_within=[])
    for t in range(loops):
        numbers["auroc"].append(auroc(-movement[:, t], right[:, t]))
        numbers["auroc_within"].append(auroc(-movement[:, t], right[:, t], difficulty))
    last_movement, last_right = -movement[:, -1], right[:, -1]
    numbers["auroc_interval"] = interval(last_movement, last_right)
    numbers["auroc_within_interval"] = interval(last_movement, last_right, difficulty)
    numbers["size"] = pooled["size"].median(0).values.tolist()
    for holds, name in ((right[:, -1], "right"), (~right[:, -1], "wrong")):
        numbers[f"at_rest_if_{name}"] = settled[holds, -1].float().mean().item()
        median = movement[holds].median(0).values.tolist() if holds.any() else None
        numbers[f"movement_if_{name}"] = median
        for start in ("noise", "another's end"):
            alignment = pooled[f"alignment, {start}"][holds].mean().item()
            numbers[f"alignment_from_{start}_if_{name}"] = alignment
    for start in ("noise", "another's end"):
        numbers[f"right_from_{start}"] = pooled[f"right, {start}"].float().mean().item()
    numbers["right"] = right[:, -1].float().mean().item()
    by_question = dict(difficulty=difficulty, answered=answered, at_rest=at_rest)
    # loops + 1 stands for never
    numbers["by_question"] = {key: value.tolist() for key, value in by_question.items()}


# --------------------------------------------------------------------------------------------------
# Draw


def draw_fixedpoint(numbers):
    """Movement over loops; and for each question, from which loop on it is right and at rest."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.3), layout="constrained")
    rows, loops, trained = numbers["by_difficulty"], numbers["loops"], numbers["trained_loops"]
    by_question = {key: np.array(values) for key, values in numbers["by_question"].items()}
    edge = 1.6 * loops  # where the questions stand that never get there
    answered, at_rest = by_question["answered"], by_question["at_rest"]
    for i, row in enumerate(rows):
        color = plt.cm.cividis(i / max(1, len(rows) - 1) * 0.95)
        left.plot(range(1, loops + 1), row["movement"], color=color, lw=2, label=row["difficulty"])
        mine = by_question["difficulty"] == row["difficulty"]
        x = np.where(answered > loops, edge, answered)[mine]
        y = np.where(at_rest > loops, edge, at_rest)[mine]
        shift = 1.04 ** (i - len(rows) / 2)  # so that one difficulty does not hide another
        right.scatter(x * shift, y, color=color, s=9, alpha=0.6)
    left.axhline(REST, color=GREY, lw=1, ls=":")
    left.axvline(trained, color=GREY, lw=1, ls="--")
    left.set(xlabel=f"loop (dashed: the most in training, {trained})", xscale="log", yscale="log")
    left.set_ylabel("movement |h_t - h_(t-1)| / |h_t| (median)")
    small = dict(fontsize="x-small", title_fontsize="x-small", handlelength=1)
    left.legend(title=numbers["unit"], loc="lower left", **small)
    left.set_title(f"How far a loop moves the state (dotted: {REST})")
    right.axline((1, 1), (2, 2), color=GREY, lw=1)
    right.set(xscale="log", yscale="log")
    right.set(xlabel="right from this loop on", ylabel="at rest from this loop on")
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500) if t < 0.6 * loops]
    for set_ticks in (right.set_xticks, right.set_yticks):
        set_ticks([*ticks, edge], [*ticks, "never"])
        set_ticks([], minor=True)
    right.set_title("Each question: answered, then at rest")
    known = (answered <= loops) & (at_rest <= loops)
    title = f"{numbers['task']}: "
    if known.any():
        later = np.median((at_rest - answered)[known])
        when = f"{abs(later):g} loops {'after' if later >= 0 else 'before'}"
        title += f"a question rests {when} its answer is there (median);"
    shares = {}
    for name in ("right", "wrong"):
        share = numbers[f"at_rest_if_{name}"]
        shares[name] = "none" if share is None or np.isnan(share) else f"{share:.2f}"
    title += f"\nafter {loops} loops {shares['right']} of the right answers rest and "
    title += f"{shares['wrong']} of the wrong"
    figure.suptitle(f"{title} ({seeds_text(numbers['seeds'])})")
    return figure


# --------------------------------------------------------------------------------------------------
# Say


def say_fixedpoint(numbers):
    trained, loops = numbers["trained_loops"], numbers["loops"]
    head = "right   right from loop   at rest from loop   AUROC (rest -> right)"
    print(f"\n{numbers['unit']:>20}   {head}")
    for row in numbers["by_difficulty"]:
        answered = row["answered"] if row["answered"] <= loops else "never"
        at_rest = row["at_rest"] if row["at_rest"] <= loops else "never"
        text = f"{row['difficulty']:>20}   {row['right']:.3f}   {answered:>15}   {at_rest:>17}"
        print(f"{text}   {row['auroc']:>21.3f}")
    moments = sorted({min(t, loops) for t in (trained, 2 * trained, loops)})
    for key, what in (("auroc", "all pairs"), ("auroc_within", "pairs of equal difficulty")):
        values = ", ".join(f"{numbers[key][t - 1]:.3f} after {t} loops" for t in moments)
        low, high = numbers[f"{key}_interval"]
        print(f"AUROC over {what}: {values} [{low:.3f}, {high:.3f}]")
    sizes = ", ".join(f"{numbers['size'][t]:.2f} after {t} loops" for t in moments)
    print(f"size of the state: {sizes}")
    if_right, if_wrong = numbers["at_rest_if_right"], numbers["at_rest_if_wrong"]
    print(f"at rest in the end: {if_right:.3f} of the right, {if_wrong:.3f} of the wrong")
    for start in ("noise", "another's end"):
        right = numbers[f"alignment_from_{start}_if_right"]
        wrong = numbers[f"alignment_from_{start}_if_wrong"]
        text = f"from {start}: cosine to the usual end {right:.3f} where that is right, "
        text += f"{wrong:.3f} where wrong; accuracy {numbers[f'right_from_{start}']:.3f} "
        print(f"{text}(usual start {numbers['right']:.3f})")


def main(runs, args):
    needs = ("trajectory", "think", "readout", "proper_state", "core_of")
    loaded = load_looped(runs, args.device, needs)
    _, task, flags = loaded[0]
    measured = []
    for each in tqdm(loaded, desc="fixedpoint", leave=False, disable=None):
        measured.append(measure_fixedpoint(*each, args))
    paths = [found.pop("paths") for found in measured]
    pooled = {key: torch.cat([found[key] for found in measured]) for key in measured[0]}
    numbers = dict(task=flags.task, unit=task.unit, seeds=[each.seed for _, _, each in loaded])
    summarise(pooled, numbers)
    numbers["trained_loops"] = min(trained_loops(flags, task)["largest"], numbers["loops"])
    numbers["paths"] = in_a_plane(paths[0]).tolist()  # of the first run
    say_fixedpoint(numbers)
    write(runs[0], "fixedpoint", draw_fixedpoint(numbers), numbers)
    write(runs[0], "fixedpoint_more", draw_more(numbers))
