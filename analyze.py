"""
Look at a trained run: `python analyze.py WHAT RUN..` writes a picture, WHAT.png, and the numbers
that it shows, WHAT.json, into the first run folder. Several runs are the seeds of one experiment
(for compare: several experiments). `python analyze.py WHAT --help` tells more.

Start with depth and think, which are written out in this file. Both rest on one thing: the state
after any loop can be read as if it were the last, `model.readout(h)`. Each of the others is a file
analyses/WHAT.py.
"""

import inspect
import sys
from itertools import islice

import numpy as np
import torch
from tqdm import tqdm

from analyses import common, depth_more, think_more
from analyses.common import Analysis, difficulties_of
from support.figures import BLUE, GREY, WIDTH, plt, write
from support.processes import fail, run_main
from tasks import IGNORE, Sudoku
from train import trained_loops

OTHERS = {
    "compare": "The depth.json of several runs in one picture, a row for each run",
    "exits": "Exit rules: accuracy against the loops spent, for each rule of when to stop",
    "page": "A page that runs the models in a browser: ask your own question and drag the loops",
    "solve": "Sudoku: solve the puzzles of a file, and count the right boards after each loop",
    "phases": "composition: when a model memorises, composes facts, and composes facts seen alone",
    "fixedpoint": "How far each loop moves the state; does it rest if, and only if, it is right",
    "stages": "What each layer of each loop attends to, against the untied control",
    "stability": "No run needed: norms, injections and learning rates, with and without training",
    "cost": "Parameters, FLOPs, milliseconds and memory over loops, against an untied stack",
    "cache": "Addition read digit by digit, with a cache for each loop or one that loops share",
    "bench": "No run needed: the speed of this code, in training, inference and generation",
}
OLD_NAMES = {"compute": "exits"}


# --------------------------------------------------------------------------------------------------
# depth


def depth(runs, args):
    """
    Accuracy over difficulty x loops, against the untied control

    Does a model that was trained on difficulty <= D solve more when it loops longer? Every
    difficulty is asked after every loop. The loop count of a difficulty is chosen on val, and its
    accuracy is reported on test. If the run has a folder control/, the model there is asked the
    same questions: a stack of different (untied) layers, as deep as the most loops of training.
    `depth.png` is the map of it all, `depth_curves.png` shows what to read from it, and
    `depth.json` has the numbers.
    """
    loaded = common.load_seeds(runs, args.device, needs=("states", "readout"))
    measured = [measure_depth(run, *each, args) for run, each in zip(runs, loaded)]
    numbers = summarise(measured)
    depth_more.say(numbers)
    write(runs[0], "depth", draw_map(numbers), numbers)
    write(runs[0], "depth_curves", depth_more.draw_curves(numbers, depth_more.title_of(numbers)))


def depth_flags(parser):
    common.add_loops(parser)
    common.add_examples(parser)
    common.add_factor(parser)


@torch.no_grad()
def accuracy_by_loop(model, task, split, difficulty, loops, examples):
    """
    The accuracy after each loop 1 .. loops, on the first batch of a split. Each state is read as if
    it were the last, so one pass through the loops answers for all loop counts.
    """
    batch = task.batch(split, 0, examples, difficulty)
    accuracy = []
    for h in islice(model.states(batch.tokens, loops), 1, None):  # without the one before loop 1
        prediction = model.readout(h).argmax(-1)
        accuracy.append(task.check(batch, prediction).sum().item() / examples)
    return accuracy


def measure_depth(run, model, task, flags, args):
    """One run: what was asked, which all seeds share, and what was found."""
    counts = trained_loops(flags, task)  # {"mean": .., "largest": ..}
    several_times = min(96, 6 * counts["largest"] + 4)  # far beyond training, and still affordable
    loops = max(args.loops or several_times, counts["largest"])
    if not flags.tied:
        loops = flags.loops  # it has no more layers
    most = min(counts["largest"], loops)
    difficulties = difficulties_of(task, "test", args.factor)
    asked = dict(
        task=flags.task,
        unit=task.unit,
        difficulty=difficulties,
        difficulty_names=[task.name_of(difficulty) for difficulty in difficulties],
        loops=list(range(1, loops + 1)),
        trained_difficulty=flags.level,
        trained_loops=counts,
        examples=args.examples,
    )

    def accuracy(split, difficulty):
        return accuracy_by_loop(model, task, split, difficulty, loops, args.examples)

    control, rows = depth_more.load_control(run, flags, args.device), []
    for difficulty in tqdm(difficulties, desc=f"depth of {run}", leave=False, disable=None):
        val, test = accuracy("val", difficulty), accuracy("test", difficulty)
        best = val.index(max(val)) + 1  # the fewest loops among the best
        row = dict(
            accuracy=test,
            best_loops=best,
            accuracy_at_best_loops=test[best - 1],
            accuracy_at_trained_loops=test[most - 1],
        )
        if control:
            layers = control.config.loops
            by_layer = accuracy_by_loop(control, task, "test", difficulty, layers, args.examples)
            row["control"] = by_layer[-1]
        # what the curves want: margins, loops needed, shortcuts, kinds of questions
        more = depth_more.measure_more(model, task, difficulty, val, best, args.examples)
        rows.append(row | more)
    found = dict(seed=flags.seed, control=None)  # None if there is no control
    found |= {key: [row[key] for row in rows] for key in rows[0]}  # a list over the difficulties
    val, test = accuracy("val", None), accuracy("test", None)  # of mixed difficulty, as in training
    found["mixture"] = depth_more.summarise_mixture(val, test, most)
    return asked, found


def summarise(measured):
    """The numbers of depth.json: medians over the runs, and what each of them found."""
    numbers, found_by_run = dict(measured[0][0]), [found for _, found in measured]
    keys = ["accuracy", "margin", "accuracy_at_trained_loops", "accuracy_at_best_loops", "control"]
    for key in keys:
        values = [found[key] for found in found_by_run]
        missing = any(value is None for value in values)  # not every run has a control
        numbers[key] = None if missing else np.median(values, axis=0).round(5).tolist()
    for found in found_by_run:
        del found["margin"]  # by far the longest list, and only depth_curves.png shows it
    numbers.update(seeds=[found["seed"] for found in found_by_run], by_run=found_by_run)
    return numbers | depth_more.fit_laws(numbers)  # how the loops needed grow with the difficulty


def draw_map(numbers):
    """The map over difficulty x loops; the control is a column beside it in the same colours."""
    names, loops, control = numbers["difficulty_names"], numbers["loops"][-1], numbers["control"]
    most = numbers["trained_loops"]["largest"]
    trained = depth_more.trained_rows(numbers)  # how many of the rows training has seen
    figure = plt.figure(figsize=(WIDTH, 5), layout="constrained")
    axes = figure.subplots(1, 2, width_ratios=(14, 1)) if control else [figure.subplots()]
    style = dict(aspect="auto", origin="lower", vmin=0, vmax=1, cmap="cividis")
    bottom, top = -0.5, len(names) - 0.5
    extent = (0.5, loops + 0.5, bottom, top)
    image = axes[0].imshow(numbers["accuracy"], extent=extent, **style)
    axes[0].set_yticks(range(len(names)), [name.split()[0] for name in names])
    axes[0].set(xlabel="loops", ylabel=f"difficulty ({numbers['unit']})")
    # what training has seen ends at two lines: white on black, so that they show on any colour
    for color, dashes in (("black", "-"), ("white", "--")):
        axes[0].axvline(most + 0.5, color=color, ls=dashes)
        if trained < len(names):
            axes[0].axhline(trained - 0.5, color=color, ls=dashes)
    above = dict(ha="center", va="bottom", size=10)
    axes[0].text(most + 0.5, top + 0.1, "most loops in training", **above)
    if trained < len(names):
        box = dict(facecolor="black", alpha=0.7, linewidth=0, pad=2)
        inside = dict(ha="right", va="top", size=10, color="white", bbox=box)
        axes[0].text(loops, trained - 0.6, "hardest in training", **inside)
    if control:
        axes[1].imshow(np.array(control)[:, None], extent=(0, 1, bottom, top), **style)
        axes[1].set(xticks=[], yticks=[], xlabel=f"untied\ncontrol,\n{most} layers")
    figure.colorbar(image, ax=axes, label="accuracy (test)", pad=0.02)
    figure.suptitle(depth_more.title_of(numbers), size=12)
    return figure


# --------------------------------------------------------------------------------------------------
# think


def think(runs, args):
    """
    What the model would answer after each loop, for questions of a few difficulties

    The state after every loop is read as if it were the last: the hop walked, the carry moved, the
    board filling. The first test question of half, once and twice the trained difficulty is shown
    (for boards: of the three hardest), in the terminal and as a picture; with --animate also as one
    that moves, think.gif, a frame for each loop.
    """
    model, task, flags = common.load(runs[0], args.device, needs=("states", "readout"))
    found, examples = [], []
    for difficulty, loops in questions(task, flags, args.loops):
        each = measure_question(model, task, difficulty, loops)
        say_question(task, each)
        found.append(each)
        example = dict(
            difficulty=difficulty,
            question=task.show(each["tokens"]),
            after_loop=[task.show(each["tokens"], said) for said in each["predictions"]],
            right=each["right"],
        )
        examples.append(example)
    draw = think_more.draw_boards if isinstance(task, Sudoku) else draw_sequences
    figure = draw(task, found)
    model_name = f"{flags.task}, trained to {task.name_of(flags.level)}"
    figure.suptitle(f"the answer after each loop (blue: right)\n{model_name}", size=12)
    if args.animate:
        title = f"{model_name}: the answer (blue: right)"
        think_more.animate(task, found, draw_sequences, runs[0] / "think.gif", title)
    numbers = dict(task=flags.task, seeds=[flags.seed], examples=examples)
    write(runs[0], "think", figure, numbers)


def think_flags(parser):
    default = "difficulty + lead + slack, or twice --loops for a sampler without them"
    common.add_loops(parser, f"the loops to show (default: {default})")
    text = "also think.gif, in which the loops come one by one"
    parser.add_argument("--animate", action="store_true", help=text)


def questions(task, flags, loops):
    """[(difficulty, loops)] to be shown."""
    top = task.max_difficulty
    chosen = [max(1, top // 2), top, min(2 * top, task.hardest)]
    if not task.grows:
        chosen = difficulties_of(task, "test", 1)[-3:]
    if loops:
        return [(difficulty, loops) for difficulty in chosen]
    if not flags.tied:
        return [(difficulty, flags.loops) for difficulty in chosen]
    if flags.sampler in ("blind", "difficulty"):
        return [(difficulty, difficulty + flags.lead + flags.slack) for difficulty in chosen]
    return [(difficulty, 2 * flags.loops) for difficulty in chosen]


@torch.no_grad()
def measure_question(model, task, difficulty, loops):
    """The first test question (T,), and what the model would answer to it after each loop."""
    batch = task.batch("test", 0, 1, difficulty)
    states = islice(model.states(batch.tokens, loops), 1, None)
    predictions = [model.readout(h).argmax(-1) for h in states]  # (1, T) each
    right = [bool(task.check(batch, prediction)) for prediction in predictions]
    right_from = next((t for t in range(1, loops + 1) if all(right[t - 1 :])), None)
    result = f"right from loop {right_from}" if right_from else "not solved"
    return dict(
        tokens=batch.tokens[0].cpu(),
        truth=task.truth(batch)[0].cpu(),  # (T,): what a perfect thinker would have in mind
        predictions=torch.cat(predictions).cpu(),  # (loops, T)
        right=right,
        right_from=right_from,
        title=f"{task.name_of(difficulty)}: {result}",
    )


def draw_sequences(task, found):
    """
    A panel for each question: a column for each position, and a row for each loop until two loops
    after the answer is there.
    """
    rows = []  # how many loops each panel shows
    for each in found:
        loops = len(each["right"])
        rows.append(min(loops, (each["right_from"] or loops) + 2))
    width = max(len(each["tokens"]) for each in found)
    figure, axes = plt.subplots(
        len(found),
        figsize=(max(WIDTH, 0.25 * width), 0.25 * sum(rows) + 0.75 * len(found) + 0.6),
        height_ratios=[n + 1 for n in rows],
        layout="constrained",
        squeeze=False,
    )
    middle = dict(ha="center", va="center")
    for axis, each, n in zip(axes[:, 0], found, rows):
        names = [task.name(token) for token in each["tokens"].tolist()]
        long = max(map(len, names)) > 3  # long names are turned and stand above the panel
        style = dict(ha="center", va="bottom", rotation=90) if long else middle
        for x, position in enumerate(task.order(each["tokens"])):
            axis.text(x, 0.4 if long else 0, names[position], weight="bold", **style)
            truth = each["truth"][position].item()  # also where training asked for nothing
            if truth == IGNORE:
                continue
            for y, prediction in enumerate(each["predictions"][:n, position].tolist(), 1):
                back, front = (BLUE, "white") if prediction == truth else ("#eeeeee", GREY)
                corner = (x - 0.5, y - 0.5)
                axis.add_patch(plt.Rectangle(corner, 1, 1, color=back, ec="white"))
                axis.text(x, y, task.name(prediction), color=front, size=10, **middle)
        axis.set(xlim=(-0.6, width - 0.4), ylim=(n + 0.5, -0.5), xticks=[], ylabel="loops")
        axis.set_title(each["title"], loc="left", pad=40 if long else None)
        axis.set_yticks(range(n + 1), ["question", *range(1, n + 1)], fontsize=9)
        axis.tick_params(length=0)
        axis.set_frame_on(False)
    return figure


def say_question(task, each):
    """A line for each loop: the prediction at each position where there is something to predict."""
    print(f"\n{each['title']}\n{task.show(each['tokens'])}")
    if isinstance(task, Sudoku):
        think_more.say_boards(task, each)
        return
    for t, (prediction, right) in enumerate(zip(each["predictions"], each["right"]), 1):
        words = []
        for token, truth in zip(prediction.tolist(), each["truth"].tolist()):
            words.append(task.name(token) if truth != IGNORE else " ")
        print(f"  loop {t:>2}: {' '.join(words)}{'   right' if right else ''}")


# --------------------------------------------------------------------------------------------------
# The command line


def own_analysis(function, add_flags, many):
    text = inspect.getdoc(function)
    return Analysis(function.__name__, function, add_flags, text, many)


HERE = {
    "depth": own_analysis(depth, depth_flags, many=True),
    "think": own_analysis(think, think_flags, many=False),
}


def find_analysis(name):
    return HERE[name] if name in HERE else common.find_analysis(name)


def table():
    """A line for each analysis."""
    lines = {name: analysis.text.splitlines()[0] for name, analysis in HERE.items()} | OTHERS
    return "\n".join(f"    {name:<12}{line}" for name, line in lines.items())


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    what, *rest = argv or ["--help"]
    if what in ("-h", "--help"):
        print(f"{__doc__}\n{table()}")
        return
    name = OLD_NAMES.get(what, what)
    if name not in HERE | OTHERS:
        fail(f"{what} is no analysis; choose from {', '.join(HERE | OTHERS)}")
    run_main(lambda: common.run_analysis(find_analysis(name), rest))


if __name__ == "__main__":
    main()
