"""
Look at a trained run: `python analyze.py WHAT RUN..` writes a picture, WHAT.png, and the numbers
that it shows, WHAT.json, into the run's folder.

Most analyses rest on one thing: the state after any loop can be read as if it were the last.

    model, task, flags = load_model("runs/demo")  # of train.py; this run was trained to 6 hops
    batch = task.batch("test", 0, 500, 12)  # 500 questions of 12 hops
    with torch.no_grad():
        for loops, h in enumerate(model.states(batch.tokens, 48)):  # the state after 0, 1, .. loops
            prediction = model.readout(h).argmax(-1)  # what it would answer by now
            print(loops, task.check(batch, prediction).sum().item())  # how many are right

`depth` does this for all difficulties, and `think` shows the predictions for three questions. What
they measure is in this file. analyses/depth_more.py takes more numbers from the same questions and
has the pictures of depth, think_more.py those of think. Each of the other analyses is a file
analyses/WHAT.py; a table at the end of this file lists them.

Where an analysis takes several runs, they are the seeds of one experiment (compare, phases and page
also take runs of different experiments); the medians are shown, and the files go into the first
folder. An untied control is a plain deep transformer, with other weights in each layer (train.py
--control). Loops are counted from 1: loop 1 is the one that the model calls t = 0.
"""

import inspect
import sys
from itertools import islice

import numpy as np
import torch
from tqdm import tqdm

from analyses import common, depth_more, think_more
from analyses.common import SOLVED, Analysis, difficulties_of
from support.figures import write
from support.processes import fail, run_main
from tasks import IGNORE, Sudoku
from train import trained_loops


@torch.no_grad()
def predictions_by_loop(model, tokens, loops):
    """
    The prediction (B, T) after each loop 1 .. loops. One pass through the loops gives them all,
    since each state is read as if it were the last.
    """
    states = islice(model.states(tokens, loops), 1, None)  # without the one before loop 1
    return [model.readout(h).argmax(-1) for h in states]


@torch.no_grad()
def accuracy_of(model, task, batch, loops):
    """The accuracy on a batch after the last loop."""
    return task.check(batch, model(batch.tokens, loops).argmax(-1)).sum().item() / len(batch.tokens)


def accuracy_by_loop(model, task, split, difficulty, loops, examples):
    """The accuracy after each loop 1 .. loops, on the first batch of a split."""
    batch = task.batch(split, 0, examples, difficulty)
    accuracy = []
    for prediction in predictions_by_loop(model, batch.tokens, loops):
        accuracy.append(task.check(batch, prediction).sum().item() / examples)
    return accuracy


# --------------------------------------------------------------------------------------------------
# depth


def depth(runs, args):
    """
    Accuracy over difficulty x loops, against the untied control

    Does a model that was trained on difficulty <= D solve more when it loops longer? Questions of
    every difficulty are read out after every loop. For each difficulty, the best loop count is
    chosen on val, and the accuracy with it is reported on test. If the run has a folder control/,
    the model there is asked the same questions: an untied stack, as deep as this model with its
    most loops of training.

    depth.png is the map of it all, depth_curves.png shows what to read from it, and depth.json has
    the numbers.
    """
    loaded = common.load_seeds(runs, args.device, needs=("states", "readout"))
    settings, by_run = [], []
    for run, (model, task, flags) in zip(runs, loaded):
        control = depth_more.load_control(run, flags, args.device)
        settings.append(settings_of(model, task, flags, control, args))
        by_run.append(measure_depth(run, model, task, flags, control, settings[-1]))
    numbers = summarise(settings, by_run)
    depth_more.say(numbers)
    write(runs[0], "depth", depth_more.draw_map(numbers), numbers)
    write(runs[0], "depth_curves", depth_more.draw_curves(numbers, depth_more.title_of(numbers)))


def depth_flags(parser):
    common.add_loops(parser)
    common.add_examples(parser)
    common.add_factor(parser)


def settings_of(model, task, flags, control, args):
    """What the model is asked, and how it was trained: the first keys of depth.json."""
    trained = trained_loops(flags, task)  # {"mean": .., "largest": ..}
    # By default the loops go, as the difficulties do, to six times those of training, and four
    # more; at most to 96, for the sake of time.
    loops = args.loops or min(96, 6 * trained["largest"] + 4)
    loops = max(loops, trained["largest"])  # even past --loops: accuracy_at_trained_loops needs it
    if not flags.tied:
        loops = flags.loops  # it has no more layers
    difficulties = difficulties_of(task, "test", args.factor)  # up to factor times the trained
    return dict(
        task=flags.task,
        unit=task.unit,
        difficulty=difficulties,
        difficulty_names=[task.name_of(difficulty) for difficulty in difficulties],
        loops=list(range(1, loops + 1)),
        trained_difficulty=flags.level,
        trained_loops=trained,
        control_layers=depth_more.layers_of(control) if control else None,
        examples=args.examples,
    )


def measure_depth(run, model, task, flags, control, settings):
    """What one run found: for each key a list over the difficulties, and some single values."""
    loops, most_trained = len(settings["loops"]), settings["trained_loops"]["largest"]
    examples = settings["examples"]
    rows = []
    for difficulty in tqdm(settings["difficulty"], f"depth of {run}", leave=False, disable=None):
        row = measure_difficulty(model, task, difficulty, loops, most_trained, examples)
        row |= depth_more.measure_more(model, task, difficulty, row, examples)
        if control:  # it is read once, after all of its layers
            batch = task.batch("test", 0, examples, difficulty)
            row["control"] = accuracy_of(control, task, batch, control.config.loops)
        rows.append(row)
    found = dict(seed=flags.seed, level=flags.level)
    found |= {key: [row[key] for row in rows] for key in rows[0]}
    found.setdefault("control", None)  # this run has none
    mixture = measure_difficulty(model, task, None, loops, most_trained, examples)
    found["mixture"] = depth_more.summarise_mixture(mixture)
    return found


def measure_difficulty(model, task, difficulty, loops, most_trained, examples):
    """
    On questions of one difficulty (None: a mixture of all that the task asks for in training, also
    where the curriculum stopped before): the accuracy on test after each loop, after the number of
    loops that is best on val, and after the most loops of training; and the fewest loops that reach
    SOLVED, 0.9, on val.
    """
    val = accuracy_by_loop(model, task, "val", difficulty, loops, examples)
    test = accuracy_by_loop(model, task, "test", difficulty, loops, examples)
    best = val.index(max(val)) + 1  # of several that are equally good, the fewest
    return dict(
        accuracy=test,
        best_loops=best,
        accuracy_at_best_loops=test[best - 1],
        accuracy_at_trained_loops=test[most_trained - 1],
        loops_needed=next((t for t, accuracy in enumerate(val, 1) if accuracy >= SOLVED), None),
    )


def summarise(settings, by_run):
    """The numbers of depth.json: the settings of the first run, medians, and what each found."""
    numbers = dict(settings[0])
    if any(each["loops"] != numbers["loops"] for each in settings):
        fail("these runs reached different levels, with other loop counts; give more --loops")
    keys = ["accuracy", "margin", "accuracy_at_trained_loops", "accuracy_at_best_loops", "control"]
    for key in keys:
        values = [found[key] for found in by_run]
        missing = any(value is None for value in values)  # a run without a control: none is drawn
        numbers[key] = None if missing else np.median(values, axis=0).round(5).tolist()
    numbers["seeds"] = [found["seed"] for found in by_run]
    # the margins take the most room, since they are not rounded, and only their medians are drawn
    numbers["by_run"] = [
        {key: value for key, value in found.items() if key != "margin"} for found in by_run
    ]
    return numbers | depth_more.fit_laws(numbers)  # how the loops needed grow with the difficulty


# --------------------------------------------------------------------------------------------------
# think


def think(runs, args):
    """
    What the model would answer after each loop, for questions of a few difficulties

    One sees a hop walked, a carry moved, a board filled. Three questions of the test split are
    shown: of half the largest difficulty of the task's training, of that, and of twice that (of
    boards, the three hardest). They appear in the terminal and as a picture; with
    --animate also as one that moves, think.gif, a frame for each loop. This analysis takes one run.
    """
    model, task, flags = common.load(runs[0], args.device, needs=("states", "readout"))
    questions = []
    for difficulty in difficulties_to_show(task):
        loops = args.loops or loops_to_show(flags, difficulty)
        questions.append(measure_question(model, task, difficulty, loops))
        say_question(task, questions[-1])
    model_name = f"{flags.task}, trained to {task.name_of(flags.level)}"
    figure = think_more.draw(task, questions)
    figure.suptitle(f"the answer after each loop (blue: right)\n{model_name}", size=12)
    if args.animate:
        title = f"{model_name}: the answer (blue: right)"
        think_more.animate(task, questions, runs[0] / "think.gif", title)
    examples = [think_more.in_words(task, question) for question in questions]
    write(runs[0], "think", figure, dict(task=flags.task, seeds=[flags.seed], examples=examples))


def think_flags(parser):
    default = "difficulty + lead + slack, or twice --loops; all of an untied model"
    common.add_loops(parser, f"the loops to show (default: {default})")
    text = "also think.gif, in which the loops come one by one"
    parser.add_argument("--animate", action="store_true", help=text)


def difficulties_to_show(task):
    if task.grows:
        top = task.max_difficulty
        return [max(1, top // 2), top, min(2 * top, task.hardest)]
    return difficulties_of(task, "test", factor=1)[-3:]


def loops_to_show(flags, difficulty):
    if not flags.tied:
        return flags.loops
    if flags.sampler in ("blind", "difficulty"):
        return difficulty + flags.lead + flags.slack
    return 2 * flags.loops


def measure_question(model, task, difficulty, loops):
    """A test question (T,), what the model answers to it after each loop, and what is right."""
    batch = task.batch("test", 0, 1, difficulty)
    predictions = predictions_by_loop(model, batch.tokens, loops)  # (1, T) each
    right = [bool(task.check(batch, prediction)) for prediction in predictions]
    # an answer that is lost again does not count
    right_from = next((t for t in range(1, loops + 1) if all(right[t - 1 :])), None)
    result = f"right from loop {right_from}" if right_from else "not solved"
    return dict(
        difficulty=difficulty,
        tokens=batch.tokens[0].cpu(),
        truth=task.truth(batch)[0].cpu(),  # (T,): intermediate results, too
        predictions=torch.cat(predictions).cpu(),  # (loops, T)
        right=right,
        right_from=right_from,
        title=f"{task.name_of(difficulty)}: {result}",
    )


def say_question(task, question):
    """
    The question, and below it a line for each loop: the prediction at each position where there is
    something to predict.
    """
    print(f"\n{question['title']}\n{task.show(question['tokens'])}")
    if isinstance(task, Sudoku):
        think_more.say_boards(task, question)
        return
    order, asked = task.order(question["tokens"]), question["truth"] != IGNORE
    rows = [question["tokens"], *question["predictions"]]
    width = max(len(task.name(token)) for row in rows for token in row.tolist())

    def in_columns(row, shown):
        names = [task.name(token) if show else "" for token, show in zip(row.tolist(), shown)]
        return " ".join(names[place].rjust(width) for place in order).rstrip()

    print(f"   tokens: {in_columns(question['tokens'], [True] * len(order))}")
    for t, (prediction, right) in enumerate(zip(question["predictions"], question["right"]), 1):
        print(f"  loop {t:>2}: {in_columns(prediction, asked)}{'   right' if right else ''}")


# --------------------------------------------------------------------------------------------------
# The command line


def own_analysis(function, add_flags, many):
    """An analysis of this file: its docstring is its --help, whose first line is for the table."""
    text = inspect.getdoc(function)
    return Analysis(function.__name__, function, add_flags, text, many)


HERE = {
    "depth": own_analysis(depth, depth_flags, many=True),
    "think": own_analysis(think, think_flags, many=False),
}
OTHERS = {  # the first line of each file, copied so that none of these is imported until wanted
    "compare": "The depth.json of several runs in one picture, a row for each run",
    "exits": "Exit rules: accuracy against the loops spent, for each rule of when to stop",
    "page": "A page that runs the models in a browser: ask your own question and drag the loops",
    "solve": "Sudoku: solve the puzzles of a file, and count the right boards after each loop",
    "phases": "composition: when a model memorises, composes facts, and composes facts seen alone",
    "fixedpoint": "How far each loop moves the state, and whether the states at rest are right",
    "stages": "What each layer of each loop attends to, against the untied control",
    "stability": "No run needed: norms, injections and learning rates, with and without training",
    "cost": "Parameters, FLOPs, milliseconds and memory over loops, against an untied stack",
    "cache": "Addition read digit by digit, with a cache for each loop or one that loops share",
    "bench": "No run needed: the speed of this code, in training, inference and generation",
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
    if what not in HERE | OTHERS:
        fail(f"{what} is no analysis; choose from {', '.join(HERE | OTHERS)}")
    run_main(lambda: common.run_analysis(find_analysis(what), rest))


if __name__ == "__main__":
    main()
