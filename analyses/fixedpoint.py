"""
How far each loop moves the state, and whether it rests when, and only when, the answer is there

A tied loop is a map that is applied to its own output again and again, so it may come to a fixed point: a state that
it does not move any more. When does it, and is the answer right if and only if it does? Does the same point wait at the
end of every way, from noise or from where another question came to rest (path independence, Anil et al. 2022)?

Questions within and beyond the trained difficulty take 128 loops. Movement is |h_t - h_(t-1)| / |h_t| over all
positions; a question is at rest once that stays below 0.05, the default of solve(rule="settle"). fixedpoint.png shows
movement and rest; fixedpoint_more.png right against wrong answers, the layers of the core, how well rest predicts a
right answer (AUROC), and the ways of five questions in a plane.
"""

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from analyses.common import add_examples, add_factor, add_loops, load_looped, main_of
from analyses.fixedpoint_more import draw_more, in_a_plane
from figures import GREY, WIDTH, plt, seeds_text, write
from tasks import IGNORE, stream
from train import trained_loops

MANY = True
REST = 0.05


def add_flags(parser):
    add_loops(parser, help="loops of every question (default 128)")
    add_examples(parser, help="a quarter of this many questions of each difficulty are asked (default 500)")
    add_factor(parser)


# -----------------------------------------------------------------------------
# measure


def layered(model, tokens, loops):
    """
    The states (loops + 1, B, T, C), and the state after every layer of every loop (loops, n_core, B, T, C);
    re-embedding comes after the last layer.
    """
    seen = []
    hooks = [block.register_forward_hook(lambda *call: seen.append(call[-1])) for block in model.core]
    states = model.trajectory(tokens, loops)
    for hook in hooks:
        hook.remove()
    return states, torch.stack(seen).unflatten(0, (loops, -1))


def relative(x, to):
    """|x - to| / |to| of states (.., T, C)."""
    return (x - to).flatten(-2).norm(dim=-1) / to.flatten(-2).norm(dim=-1)


def auroc(score, label, group=None):
    """
    The chance that the score (N,) of a true label (N,) is above that of a false one; with `group` (N,) of pairs of one
    group only. nan if there is no pair.
    """
    above = score[label][:, None] - score[~label]
    wins = (above > 0).float() + 0.5 * (above == 0)
    if group is not None:
        wins = wins[group[label][:, None] == group[~label]]
    return wins.mean().item()


def interval(score, label, group=None, resamples=200):
    """95 % of the AUROCs of questions drawn again from these (bootstrap): [low, high]; nan if there is no pair."""
    generator, n = torch.Generator().manual_seed(0), len(score)
    drawn = [torch.randint(n, (n,), generator=generator) for _ in range(resamples)]
    values = [auroc(score[i], label[i], None if group is None else group[i]) for i in drawn]
    return np.quantile(values, (0.025, 0.975)).tolist()


def first_loop(holds):
    """The first loop, 1.., from which `holds` (N, loops) is true to the end; loops + 1 if it is not."""
    return holds.shape[1] + 1 - holds.flip(1).long().cumprod(1).sum(1)


@torch.no_grad()
def measure_fixedpoint(model, task, flags, args):
    """One run, difficulties within and beyond training: a dict of tensors, N questions in each."""
    loops, top, size = args.loops or 128, task.max_difficulty, max(2, args.examples // 4)
    difficulties = task.difficulties("test")
    if task.grows:
        difficulties = {max(1, round(top * x)) for x in (1 / 2, 1, 2, 4, 6) if x <= args.factor}
        difficulties = sorted(difficulty for difficulty in difficulties if difficulty <= task.hardest)
    parts = []
    for difficulty in difficulties:
        batch = task.batch("test", 0, size, difficulty)
        torch.manual_seed(stream(flags.seed, "starts", difficulty))  # for the noise below and state_init="noise"
        states, layers = layered(model, batch.tokens, loops)
        ends = layers[-1].flatten(2)  # (n_core, B, T * C)
        right = [task.check(batch, model.readout(h).argmax(-1)) for h in states[1:]]
        part = dict(
            difficulty=batch.difficulty,
            movement=relative(states[:-1], states[1:]).T,  # (N, loops)
            size=states.norm(dim=-1).mean(-1).T / model.config.n_embd**0.5,  # (N, loops + 1)
            right=torch.stack(right, dim=1),  # (N, loops)
            distance=relative(layers, layers[-1]).permute(2, 0, 1),  # (N, loops, n_core)
            between=F.cosine_similarity(ends[:, None], ends[None], dim=-1).amin((0, 1)),  # of the layers' fixed points
        )
        for name, start in (("noise", torch.randn_like(states[0])), ("another's end", states[-1].roll(1, 0))):
            h = model.think(batch.tokens, loops, h=start)
            part[f"alignment, {name}"] = F.cosine_similarity(h.flatten(1), states[-1].flatten(1))
            part[f"right, {name}"] = task.check(batch, model.readout(h).argmax(-1))
        parts.append({key: value.cpu() for key, value in part.items()})
        if difficulty == top or not task.grows:
            last = (batch.targets != IGNORE).float().cumsum(1).argmax(1)  # the last position where an answer is asked
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
        row = dict(difficulty=each, right=right[rows, -1].float().mean().item())
        row["answered"], row["at_rest"] = answered[rows].median().item(), at_rest[rows].median().item()
        row["movement"] = movement[rows].median(0).values.tolist()
        row["auroc"] = auroc(-movement[rows, -1], right[rows, -1])
        numbers["by_difficulty"].append(row)
    numbers["distance"] = pooled["distance"].median(0).values.T.tolist()  # [layer][loop]
    numbers["least_cosine_between_layers"] = pooled["between"].median().item()
    numbers["auroc"] = [auroc(-movement[:, t], right[:, t]) for t in range(loops)]
    numbers["auroc_within"] = [auroc(-movement[:, t], right[:, t], difficulty) for t in range(loops)]
    numbers["auroc_interval"] = interval(-movement[:, -1], right[:, -1])  # after the last loop
    numbers["auroc_within_interval"] = interval(-movement[:, -1], right[:, -1], difficulty)
    numbers["size"] = pooled["size"].median(0).values.tolist()
    for holds, name in ((right[:, -1], "right"), (~right[:, -1], "wrong")):
        numbers[f"at_rest_if_{name}"] = settled[holds, -1].float().mean().item()
        numbers[f"movement_if_{name}"] = movement[holds].median(0).values.tolist() if holds.any() else None
        for start in ("noise", "another's end"):
            numbers[f"alignment_from_{start}_if_{name}"] = pooled[f"alignment, {start}"][holds].mean().item()
    for start in ("noise", "another's end"):
        numbers[f"right_from_{start}"] = pooled[f"right, {start}"].float().mean().item()
    numbers["right"] = right[:, -1].float().mean().item()
    by_question = dict(difficulty=difficulty, answered=answered, at_rest=at_rest)
    numbers["by_question"] = {key: value.tolist() for key, value in by_question.items()}  # loops + 1: never


# -----------------------------------------------------------------------------
# draw


def draw_fixedpoint(numbers):
    """Left: movement over loops, by difficulty. Right: each question, when it was answered and when it came to rest."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.3), layout="constrained")
    rows, loops, trained = numbers["by_difficulty"], numbers["loops"], numbers["trained_loops"]
    by_question = {key: np.array(values) for key, values in numbers["by_question"].items()}
    for key in ("answered", "at_rest"):
        never = by_question[key] > loops
        by_question[key] = np.where(never, 1.6 * loops, by_question[key])  # apart, at the edge
    for i, row in enumerate(rows):
        color = plt.cm.cividis(i / max(1, len(rows) - 1) * 0.95)
        left.plot(range(1, loops + 1), row["movement"], color=color, lw=2, label=f"{row['difficulty']}")
        mine = by_question["difficulty"] == row["difficulty"]
        shift = 1.04 ** (i - len(rows) / 2)  # so that one difficulty does not hide another
        right.scatter(by_question["answered"][mine] * shift, by_question["at_rest"][mine], color=color, s=9, alpha=0.6)
    left.axhline(REST, color=GREY, lw=1, ls=":")
    left.axvline(trained, color=GREY, lw=1, ls="--")
    left.set(xlabel=f"loop (dashed: the most in training, {trained})", xscale="log", yscale="log")
    left.set_ylabel("movement |h_t - h_(t-1)| / |h_t| (median)")
    left.legend(title=numbers["unit"], loc="lower left", fontsize="x-small", title_fontsize="x-small", handlelength=1)
    left.set_title(f"How far a loop moves the state (dotted: {REST})")
    right.axline((1, 1), (2, 2), color=GREY, lw=1)
    right.set(xscale="log", yscale="log", xlabel="right from this loop on", ylabel="at rest from this loop on")
    for set_ticks in (right.set_xticks, right.set_yticks):
        ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500) if t < 0.6 * loops]
        set_ticks([*ticks, 1.6 * loops], [*ticks, "never"])
        set_ticks([], minor=True)
    right.set_title("Each question: answered, then at rest")
    known = (by_question["answered"] <= loops) & (by_question["at_rest"] <= loops)
    title = f"{numbers['task']}: "
    if known.any():
        later = np.median((by_question["at_rest"] - by_question["answered"])[known])
        title += (
            f"a question rests {abs(later):g} loops {'after' if later >= 0 else 'before'} its answer is there (median);"
        )
    shares = [numbers[f"at_rest_if_{name}"] for name in ("right", "wrong")]
    shares = [f"{share:.2f}" if share is not None and share == share else "none" for share in shares]
    title += f"\nafter {loops} loops {shares[0]} of the right answers rest and {shares[1]} of the wrong"
    figure.suptitle(f"{title} ({seeds_text(numbers['seeds'])})")
    return figure


# -----------------------------------------------------------------------------
# say


def say_fixedpoint(numbers):
    trained = numbers["trained_loops"]
    print(f"\n{numbers['unit']:>20}   right   right from loop   at rest from loop   AUROC (rest -> right)")
    for row in numbers["by_difficulty"]:
        answered, at_rest = (t if t <= numbers["loops"] else "never" for t in (row["answered"], row["at_rest"]))
        text = f"{row['difficulty']:>20}   {row['right']:.3f}   {answered:>15}   {at_rest:>17}"
        print(f"{text}   {row['auroc']:>21.3f}")
    moments = sorted({min(t, numbers["loops"]) for t in (trained, 2 * trained, numbers["loops"])})
    for key, what in (("auroc", "all pairs"), ("auroc_within", "pairs of equal difficulty")):
        values = ", ".join(f"{numbers[key][t - 1]:.3f} after {t} loops" for t in moments)
        print(f"AUROC over {what}: {values} [{', '.join(f'{end:.3f}' for end in numbers[f'{key}_interval'])}]")
    print("size of the state: " + ", ".join(f"{numbers['size'][t]:.2f} after {t} loops" for t in moments))
    at_rest = [f"{numbers[f'at_rest_if_{name}']:.3f} of the {name}" for name in ("right", "wrong")]
    print(f"at rest in the end: {', '.join(at_rest)}")
    for start in ("noise", "another's end"):
        right, wrong = (numbers[f"alignment_from_{start}_if_{name}"] for name in ("right", "wrong"))
        text = f"from {start}: cosine to the usual end {right:.3f} where that is right, {wrong:.3f} where wrong"
        print(f"{text}; accuracy {numbers[f'right_from_{start}']:.3f} (usual start {numbers['right']:.3f})")


def main(runs, args):
    loaded = load_looped(runs, args.device)
    _, task, flags = loaded[0]
    measured = [measure_fixedpoint(*each, args) for each in tqdm(loaded, desc="fixedpoint", leave=False)]
    paths = [found.pop("paths") for found in measured]
    pooled = {key: torch.cat([found[key] for found in measured]) for key in measured[0]}
    numbers = dict(task=flags.task, unit=task.unit, seeds=[each.seed for _, _, each in loaded])
    summarise(pooled, numbers)
    numbers["trained_loops"] = min(trained_loops(flags, task)["largest"], numbers["loops"])
    numbers["paths"] = in_a_plane(paths[0]).tolist()  # of the first run
    say_fixedpoint(numbers)
    write(runs[0], "fixedpoint", draw_fixedpoint(numbers), numbers)
    write(runs[0], "fixedpoint_more", draw_more(numbers))


if __name__ == "__main__":
    main_of("fixedpoint")
