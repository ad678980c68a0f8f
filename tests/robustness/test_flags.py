"""Bad input and random command lines: they run, or one line says why not and nothing is lost."""

import random
import shutil
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
from helpers import PARITY, STEPS, TINY, main, metrics, refused

import looped
import support.flags
from support.flags import FROM_TASK, OUR_TASKS, RunFlags, find_task, flag_names
from train import Settings, load_model

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--task", "chess"], "multihop, addition, sudoku, chains, composition, phop"),
        (["--task", ""], "multihop"),
        (["--model", "ouroboros"], "choose from looped, one of papers/, or name a Python file"),
        (["--model", "train.py.txt"], "choose from looped, one of papers/, or name a Python file"),
        (["--depth", "3"], "--depth"),
        (["hops", "3"], "unrecognized arguments: hops 3"),
        (["--loops", "many"], "--loops"),
        (["--sampler", "normal"], "poisson"),
        (
            ["--preset", "gpt5"],
            "--preset gpt5 is unknown; choose from kohli, saunshi, huginn, parcae, discoloop",
        ),
        (["--scale", "tpu"], "gpu"),
        (["--task", "chains", "--scale", "gpu"], "--scale gpu does nothing with --task chains"),
        (["--gate", "1"], "at least 0 and at most 0.999"),
        (["--out", "used", "--overwrite"], "used holds no run, so it is not overwritten"),
        (["--n_embd", "30"], "divisible"),
        (["--n_embd", "12", "--n_head", "4", "--position", "rope"], "even"),
        (["--loops", "0", "--sampler", "fixed"], "loops"),
        (["--steps", "0"], "--steps"),
        (["--lr", "-1"], "--lr"),
        (["--lr", "nan"], "--lr"),
        (["--hops", "0"], "hop"),
        (["--hops", "-3"], "hop"),
        (
            ["--digits", "4"],
            "--digits has no meaning for --task multihop, which takes --hops, --entities",
        ),
        (
            ["--task", "addition", "--hops=4"],
            "--hops has no meaning for --task addition, which takes --digits",
        ),
        (
            ["--task", "composition", "--pause", "1"],
            "--pause has no meaning for --task composition",
        ),
        (["--task", "addition", "--digits", "0"], "digits"),
        (["--task", "sudoku", "--box", "4x4"], "3x3"),
        (["--task", "phop", "--position", "grid"], "grid"),
        (["--out", "used"], "--resume"),
        (["--out", "nowhere", "--resume"], "not the folder of a run"),
        (["--task", "phop", "--resume"], "runs/phop is not the folder of a run"),
        (
            ["--out", "finished", "--resume", "--n_embd", "64", "--lr", "0.5"],
            "--lr 0.5 (there: 0.003), --n_embd 64",
        ),
        (["--out", "finished", "--resume", "--loops", "7"], "--loops 7 (there: 10)"),
        (
            ["--out", "finished", "--resume", "--task", "addition"],
            "--task addition (there: multihop)",
        ),
        (["--out", "finished", "--resume", "--threads", "-3"], "--threads"),
        (["--out", "finished", "--resume", "--minutes", "nan"], "--minutes"),
        (["--out", "finished/config.json", "--resume"], "Not a directory"),
        (["--out", "finished", "--resume", "--overwrite"], "choose one"),
        (["--loss", "every", "--per", "batch", "--backprop_loops", "2"], "backprop_loops"),
        (["--loss", "every", "--per", "batch", "--checkpoint_loops", "2"], "--checkpoint_loops"),
        (["--backprop_loops", "2", "--checkpoint_loops", "2"], "choose one"),
        (["--task", "sudoku", "--curriculum"], "it needs --no-curriculum\n"),
        (
            ["--task", "sudoku", "--sampler", "difficulty"],
            "--sampler other than blind and difficulty",
        ),
        (["--task", "sudoku", "--puzzles", "3"], "at least 50"),
        (["--task", "phop", "--hops", "40"], "length"),
        (["--entities", "4", "--relations", "1", "--hops", "2"], "no val question"),
        (["--out", "finished/config.json"], "cannot write"),
        (["--no-tied"], "add --sampler fixed"),
        (["--no-tied", "--loops", "6"], "add --sampler fixed"),
        (["--no-tied", "--sampler", "poisson"], "asks for up to 16: add --sampler fixed"),
        # a flag that would do nothing
        (["--loops", "12"], "--loops does nothing with --sampler blind"),
        (
            ["--loops", "12", "--sampler", "difficulty"],
            "--loops does nothing with --sampler difficulty",
        ),
        (["--slack", "2", "--sampler", "fixed"], "--slack does nothing with --sampler fixed"),
        (["--lead", "2", "--sampler", "poisson"], "--lead does nothing with --sampler poisson"),
        (["--task", "sudoku", "--slack", "2"], "--slack does nothing with --sampler fixed"),
        # flags that a file of one's own has, or has not
        (["--task", "parity.py", "--bit", "4"], "unrecognized arguments: --bit 4"),
        (
            ["--task", "parity.py", "--hops", "4"],
            "--hops has no meaning for --task parity.py, which takes --bits, --skew",
        ),
        (["--task", "parity.py", "--bits", "x"], "--bits"),
        (["--task", "parity.py", "--bits", "0"], "max_difficulty of --task parity.py is 0"),
        (["--model", "steps.py", "--row", "4"], "unrecognized arguments: --row 4"),
        (["--model", "steps.py", "--rows", "many"], "--rows"),
        (["--model", "steps.py", "--strength", "inf"], "--strength"),
        (["--model", "broken.py"], "broken.py cannot be imported: AssertionError"),
        # models of papers that do not fit a task
        (["--model", "in_context_regression"], "reads vectors, and no task of train.py has them"),
        (["--model", "coconut"], "a text of 2 tokens has no room for 3 thoughts"),
        (["--model", "programmable_computer"], "must be powers of two"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_line_and_exit_code_2(argv, words, trained, capsys):
    Path("used").mkdir()
    Path("used/thesis.txt").write_text("precious")
    Path("parity.py").write_text(PARITY)
    Path("steps.py").write_text(STEPS)
    Path("broken.py").write_text("assert False\n")
    if any("finished" in word for word in argv):
        shutil.copytree(trained, "finished")
    before = {
        p: p.read_bytes() for p in Path().rglob("*") if p.is_file() and "__pycache__" not in p.parts
    }
    assert words in refused(lambda: main(argv), capsys)
    assert all(p.read_bytes() == content for p, content in before.items())


def test_a_file_of_ones_own_may_lie_anywhere_in_the_repository(monkeypatch, capsys):
    monkeypatch.setattr(support.flags, "ROOT", Path.cwd())
    Path("mine/tasks").mkdir(parents=True)
    Path("mine/tasks/parity.py").write_text(PARITY)
    Path("mine/broken.py").write_text("assert False\n")
    main(["--task", str(Path("mine/tasks/parity.py").resolve()), "--bits", "2", *TINY])
    assert Path("runs/parity/checkpoint.pt").exists()
    broken = str(Path("mine/broken.py").resolve())
    assert "broken.py cannot be imported" in refused(lambda: main(["--model", broken]), capsys)


def test_an_untied_model_is_told_how_many_loops_it_has_layers_for():
    untied = "--task multihop --hops 2 --no-tied --sampler fixed --loops 6".split()
    main([*untied, *TINY, "--out", "run"])
    assert len(load_model("run")[0].core) == 6
    untied[untied.index("fixed")] = "uniform"  # never more than --loops
    main([*untied, *TINY, "--out", "other"])
    assert len(load_model("other")[0].core) == 6


# ---- random command lines

SANE = dict(
    steps="2", batch="4", eval_every="1", eval_size="4", n_embd="8", n_head="2", device="cpu"
)
SMALL = dict(entities="12", hops="2", length="8", digits="2", puzzles="60", bits="3")
NUMBERS = "0 1 2 3 5 8 0.5 1e-3 -1 -0.1 nan inf 1e400 99999999999999999999 '' x ½ 0x10 True".split()
# places and processes
APART = (
    "out",
    "resume",
    "control",
    "threads",
    "compile",
    "minutes",
    "task",
    "model",
)
FILES = {"parity.py": PARITY, "steps.py": STEPS}


def random_flags(seed):
    """A command line: small sizes, and up to four flags of any kind set to anything."""
    draw = random.Random(seed)
    for name, text in FILES.items():
        Path(name).write_text(text)
    task = draw.choice((*OUR_TASKS, *OUR_TASKS, "parity.py", "chess"))
    model = draw.choice((*["looped"] * 5, "steps.py", "parity.py"))
    own = [] if task == "chess" else flag_names(find_task(task))
    chosen = dict(
        task=task,
        model=model,
        **SANE,
        **{name: value for name, value in SMALL.items() if name in own},
    )
    if draw.random() < 0.5:
        chosen.update(sampler="fixed", loops="3")
    classes = (RunFlags, Settings, looped.Config, *map(find_task, OUR_TASKS))
    kinds = {field.name: field.type for cls in classes for field in fields(cls)}
    kinds = {name: kind for name, kind in kinds.items() if name not in FROM_TASK}
    kinds.update(colour=str, rows=int, told=bool, **{"": str})
    for name in draw.sample(sorted(kinds.keys() - set(APART)), draw.randrange(5)):
        words = get_args(kinds[name])
        if kinds[name] is str and not words:
            words = ("none", "add", "rope", "relative", "grid", "pre", "", "2x2")
        chosen[name] = draw.choice((*(words or NUMBERS), *NUMBERS[:6], draw.choice(NUMBERS)))
        if kinds[name] is bool:
            chosen[name] = None
    argv = []
    for name, value in chosen.items():
        argv += [f"--{name}"] if value is None else [f"--{name}", value]
    return argv


def try_flags(seeds, capsys):
    """Run each command line: how many ran, how many were refused, and those that misbehaved."""
    ran, no, wrong = 0, 0, []
    for seed in seeds:
        argv, folder = random_flags(seed), Path(f"run{seed}")
        capsys.readouterr()
        try:
            main([*argv, "--out", str(folder)])
            ran += bool(metrics(folder)) and bool(load_model(folder))
        except SystemExit as stop:
            error = capsys.readouterr().err.splitlines()
            no += stop.code == 2
            clean = len(error) == 1 and not folder.exists() if stop.code == 2 else stop.code == 1
            if not clean or "error: " not in error[-1]:
                wrong.append((argv, stop.code, error))
        except BaseException as error:
            wrong.append((argv, repr(error)))
    return ran, no, wrong


def test_random_command_lines_run_or_say_why_not_in_one_line(capsys):
    ran, no, wrong = try_flags(range(60), capsys)
    assert not wrong and ran > 10 and no > 10


@pytest.mark.slow
@pytest.mark.parametrize("block", range(11))
def test_a_thousand_random_command_lines(block, capsys):
    ran, no, wrong = try_flags(range(100 * block, 100 * block + 100), capsys)
    assert not wrong and ran > 10 and no > 10


@pytest.mark.parametrize(
    "flags",
    [
        "--batch 9999999999999",
        "--n_embd 4000000",
        "--hops 99999999999",
        "--lr 1e30",
        "--threads 9999999",
    ],
)
def test_sizes_beyond_this_machine_are_refused_in_one_line(flags, capsys):
    refused(lambda: main([*TINY, "--task", "multihop", *flags.split(), "--out", "run"]), capsys)
    assert not Path("run").exists()
