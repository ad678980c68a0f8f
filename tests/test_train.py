"""
The command line, end to end with tiny steps; exact resume; loop counts; tasks and models of one's
own.
"""

import json
import math
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from helpers import (
    PARITY,
    ROOT,
    STEPS,
    TASK_FLAGS,
    TINY,
    end,
    fork,
    main,
    metrics,
    refused,
    same_checkpoints,
)

import analyze
import support.session
import train
from looped import Config, LoopedGPT
from support.flags import (
    RunFlags,
    find_task,
    flag_fields,
    flag_groups,
    flag_names,
    make_model,
    make_task,
)
from support.processes import loss_function
from support.recipes import GPU_RECIPES, PRESETS, RECIPES
from tasks import Sudoku
from train import Settings, load_model, most_loops, parse_flags, sample_loops

pytestmark = pytest.mark.usefixtures("elsewhere")


def read_config(folder):
    return json.loads(Path(folder, "config.json").read_text())


# ---- the recipes


@pytest.mark.parametrize("task", GPU_RECIPES)
def test_the_recipes_for_a_gpu_run_in_miniature(task):
    small = dict(
        multihop=["--hops", "3"], phop=["--length", "9", "--hops", "2"], addition=["--digits", "3"]
    )
    more = small.get(task, ["--puzzles", "60"])
    main(["--task", task, "--scale", "gpu", *TINY, *more, "--ema", "0.9", "--out", "run"])
    assert len(metrics("run").splitlines()) == 2


def test_the_sudoku_model_for_a_gpu_has_at_most_a_million_parameters():
    flags, _ = parse_flags(["--task", "sudoku", "--scale", "gpu"])
    task = Sudoku(puzzles=60)
    assert flags.box == "3x3" and flags.search
    sizes = dict(
        n_embd=flags.n_embd, n_core=flags.n_core, n_prelude=flags.n_prelude, n_coda=flags.n_coda
    )
    model = LoopedGPT(Config(vocab_size=10, position="grid", coordinates=task.coordinates, **sizes))
    assert sum(p.numel() for p in model.parameters()) <= 1_000_000


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_train_and_are_kept(preset):
    settings = PRESETS[preset]
    flags, _ = parse_flags(["--preset", preset, "--lr", "0.125"])
    assert {name: getattr(flags, name) for name in settings} == settings and flags.lr == 0.125
    assert parse_flags(["--preset", preset, "--n_core", "3"])[0].n_core == 3
    main(["--preset", preset, "--hops", "2", *TINY, "--out", "run"])
    assert len(metrics("run").splitlines()) == 2 and read_config("run")["preset"] == preset
    assert (
        preset
        in RunFlags.preset + dict((f.name, text) for f, text in flag_fields(RunFlags))["preset"]
    )


@pytest.mark.parametrize("scale, recipes", (("cpu", RECIPES), ("gpu", GPU_RECIPES)))
def test_recipes_name_only_flags_that_exist_and_win_over_the_defaults(scale, recipes):
    for task, recipe in recipes.items():
        groups = flag_groups(task, "looped", Settings)
        assert set(recipe) <= {name for cls in groups.values() for name in flag_names(cls)}
        flags, given = parse_flags(["--task", task, "--scale", scale])
        assert {name: getattr(flags, name) for name in recipe} == recipe and given == {
            "task",
            "scale",
        }
        by_hand, _ = parse_flags(["--task", task, "--scale", scale, "--lr", "0.125"])
        assert by_hand.lr == 0.125


# ---- runs


@pytest.mark.parametrize("task", TASK_FLAGS)
def test_every_task_trains_from_the_command_line(task, banks):
    where = ["--banks", str(banks)] if task == "sudoku" else []
    main(["--task", task, *TASK_FLAGS[task], *where, *TINY], curve=True)
    folder = Path("runs", task)
    assert {"config.json", "metrics.jsonl", "checkpoint.pt", "curve.png"} <= {
        p.name for p in folder.iterdir()
    }
    rows = [json.loads(line) for line in metrics(folder).splitlines()]
    assert [row["step"] for row in rows] == [3, 6] and all(
        0 <= a <= 1 for a in rows[-1]["val"].values()
    )
    model, trained, flags = load_model(folder)
    batch = trained.batch("test", 0, 4)
    assert (
        model(batch.tokens).shape == (*batch.tokens.shape, trained.vocab_size)
        and flags.task == task
    )


def test_a_run_from_before_a_flag_has_its_default():
    main(["--task", "multihop", "--hops", "2", *TINY, "--out", "run"])
    config = read_config("run")
    assert config.pop("pause") == 0 and config.pop("model") == "looped"
    Path("run/config.json").write_text(json.dumps(config))
    _, task, flags = load_model("run")
    assert task.pause == flags.pause == 0 and flags.model == "looped" and not hasattr(flags, "out")


def test_snapshots_are_the_weights_that_were_judged():
    main(
        ["--task", "composition", *TASK_FLAGS["composition"], *TINY, "--ema", "0.5", "--out", "run"]
    )
    rows = [json.loads(line) for line in metrics("run").splitlines()]
    assert [set(row) >= {"train", "val", "alone"} for row in rows] == [True, True]
    assert sorted(path.name for path in Path("run/snapshots").iterdir()) == [
        "000003.pt",
        "000006.pt",
    ]
    model, task, flags = load_model("run")
    last = torch.load("run/snapshots/000006.pt", weights_only=True)
    assert all(torch.equal(last[name], weights) for name, weights in model.state_dict().items())
    assert train.evaluate(model, task, flags, "alone") == {
        int(d): a for d, a in rows[-1]["alone"].items()
    }
    main(["--task", "multihop", *TINY, "--out", "run", "--overwrite"])
    assert not Path("run/snapshots").exists()  # they belonged to another run


@pytest.mark.parametrize(
    "extra",
    [
        ["--ema", "0.9"],
        ["--state_init", "noise", "--sampler", "poisson", "--backprop_loops", "2"],
        ["--loss", "every", "--per", "batch"],
        ["--checkpoint_loops", "2", "--n_core", "2", "--injection", "concat", "--gate", "0"],
    ],
    ids=str,
)
def test_a_resumed_run_equals_a_straight_one_bit_for_bit(extra):
    flags = ["--task", "multihop", "--hops", "3", "--gate", "0", *TINY, *extra]
    main([*flags, "--steps", "9", "--out", "straight"])
    main([*flags, "--steps", "9", "--out", "cut", "--minutes", "1e-9"])  # stops after one step
    assert torch.load("cut/checkpoint.pt", weights_only=True)["step"] == 1
    main(["--out", "cut", "--resume", "--minutes", "1e-9"])
    main(["--out", "cut", "--resume"])
    assert metrics("cut") == metrics("straight")
    assert same_checkpoints("cut", "straight")
    # the curriculum moved, and was resumed too
    assert json.loads(metrics("cut").splitlines()[-1])["level"] > 1


def test_minutes_end_with_accuracies_and_a_curve_that_only_the_end_keeps(capsys):
    main(
        ["--task", "multihop", "--hops", "2", *TINY, "--out", "run", "--minutes", "1e-9"],
        curve=True,
    )
    told = capsys.readouterr().out
    assert "run: 1 steps" in told and "accuracy by difficulty (val split): 1: " in told
    again = f"python {os.path.relpath(ROOT)}/train.py --out run --resume"
    assert f"stopped after 1e-09 minutes at step 1; continue with: {again}" in told
    assert "difficulty 1 of 2" in told  # the curriculum had no time to open the other
    # the same lines as of a run that never stopped
    assert Path("run/curve.png").exists() and metrics("run") == ""


def test_a_curriculum_that_stalls_says_so(capsys):
    flags = ["--task", "multihop", "--hops", "5", "--sampler", "difficulty", "--slack", "1"]
    main([*flags, *TINY, "--gate", "0.99", "--out", "run"])  # six steps are too few for that
    assert (
        "the curriculum opened difficulty 1 of 5: no harder question was trained"
        in capsys.readouterr().out
    )
    _, task, flags = load_model("run")
    assert "was trained to difficulty 1 of 5" in capsys.readouterr().err
    assert train.trained_loops(flags, task)["largest"] == 2 and flags.level == 1  # not 6


def test_what_was_measured_after_the_checkpoint_is_measured_again():
    flags = ["--task", "multihop", "--hops", "2", *TINY]
    main([*flags, "--out", "straight"])
    main([*flags, "--out", "torn", "--minutes", "1e-9"])
    Path("torn/metrics.jsonl").write_text(metrics("straight") + '{"step": 9, "lo')
    main(["--out", "torn", "--resume"])
    assert metrics("torn") == metrics("straight")


def test_without_a_folder_the_run_of_the_task_is_resumed():
    main(["--task", "addition", "--digits", "3", *TINY, "--minutes", "1e-9"])
    main(["--task", "addition", "--resume"])
    assert torch.load("runs/addition/checkpoint.pt", weights_only=True)["step"] == 6


def test_ctrl_c_saves_and_leaves_cleanly():
    argv = ["--task", "multihop", *TINY, "--steps", "100000", "--out", "run"]
    process = fork(argv, output="said.txt")
    deadline = time.time() + 60
    while not Path("run/config.json").exists() and process.is_alive() and time.time() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    assert end(process) == 0
    said = Path("said.txt").read_text()
    step = torch.load("run/checkpoint.pt", weights_only=True)["step"]
    assert f"interrupted at step {step}; continue with" in said and "Traceback" not in said


def test_a_loss_that_is_not_finite_stops_with_advice(capsys, monkeypatch):
    monkeypatch.setattr(LoopedGPT, "loss", explode_at(4, LoopedGPT.loss))
    with pytest.raises(SystemExit) as stop:
        main(["--task", "multihop", *TINY, "--out", "run"])
    error = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 1
    assert (
        "loss is nan" in error
        and "at step 4" in error
        and "run/checkpoint.pt" in error
        and "--lr" in error
    )
    assert torch.load("run/checkpoint.pt", weights_only=True)["step"] == 3


def explode_at(step, compute_loss):
    calls = []

    def wrapped(*arguments):
        loss, prediction = compute_loss(*arguments)
        calls.append(0)
        rehearsals = 1  # before the folder is made
        return (loss * float("nan") if len(calls) == step + 1 + rehearsals else loss), prediction

    return wrapped


def test_every_flag_of_ours_has_a_comment_in_its_line():
    for cls in (RunFlags, Settings, Config, *(find_task(name) for name in sorted(TASK_FLAGS))):
        assert not [field.name for field, comment in flag_fields(cls) if not comment], cls


def test_help_explains_every_flag_in_a_line_with_its_default(capsys):
    with pytest.raises(SystemExit):
        main(["--task", "sudoku", "--help"])
    text = capsys.readouterr().out
    flags, _ = parse_flags(["--task", "sudoku"])
    for name, value in vars(flags).items():
        assert f"--{name}" in text
    assert "(default grid)" in text  # of the task that was named, not of all


# ---- loop counts


def loop_counts(*argv, difficulty=3, steps=40):
    flags, _ = parse_flags(["--task", "multihop", *argv])
    task = make_task(flags)
    counts = torch.cat(
        [sample_loops(flags, task, torch.full((100,), difficulty), step) for step in range(steps)]
    )
    assert counts.max() <= most_loops(flags, task, difficulty) <= most_loops(flags, task)
    return counts.float()


def test_loop_samplers_draw_what_they_say():
    assert loop_counts("--sampler", "fixed", "--loops", "7").unique().tolist() == [7]
    uniform = loop_counts("--sampler", "uniform", "--loops", "8")
    assert uniform.unique().tolist() == list(range(1, 9)) and abs(uniform.mean() - 4.5) < 0.15
    # variance: of the mean, and Poisson's
    lognormal = loop_counts("--sampler", "lognormal", "--loops", "8")
    assert lognormal.min() >= 1 and lognormal.max() <= 32 and abs(lognormal.mean() - 9) < 0.3
    assert abs(lognormal.var() - (8 + 64 * (math.exp(0.25) - 1))) < 4
    poisson = loop_counts("--sampler", "poisson", "--loops", "8")
    assert (
        poisson.min() >= 1
        and poisson.max() <= 16
        and abs(poisson.mean() - 8) < 0.2
        and abs(poisson.var() - 8) < 1
    )
    slack = loop_counts("--sampler", "difficulty", "--slack", "2", "--lead", "1")
    assert slack.unique().tolist() == [4, 5, 6] and abs(slack.mean() - 5) < 0.1
    # whatever is asked
    blind = loop_counts("--sampler", "blind", "--slack", "2", "--lead", "1", "--hops", "5")
    assert blind.unique().tolist() == [6, 7, 8] and abs(blind.mean() - 7) < 0.1
    batches = loop_counts("--sampler", "uniform", "--per", "batch").view(40, 100)
    assert (batches == batches[:, :1]).all() and len(batches[:, 0].unique()) > 5


def test_a_run_told_by_difficulty_knows_the_most_loops_of_training():
    told = ["--sampler", "difficulty", "--lead", "1", "--slack", "2", "--no-curriculum"]
    main(["--task", "multihop", "--hops", "3", *told, *TINY, "--out", "run"])
    model, task, flags = load_model("run")
    assert read_config("run")["loops"] == flags.loops == model.config.loops == 3 + 1 + 2
    # the mean of 1..3, + 1, + the mean of 0..2
    assert train.trained_loops(flags, task) == dict(mean=4.0, largest=6)


def test_bfloat16_truncated_reaches_every_parameter():
    flags, _ = parse_flags(
        ["--precision", "bfloat16", "--backprop_loops", "2", "--n_prelude", "1", "--n_embd", "16"]
    )
    task = make_task(flags)
    model, batch = make_model(flags, task), task.batch("train", 0, 8)
    loss_function(flags, model)(batch.tokens, batch.targets, torch.full((8,), 6))[0].backward()
    assert all(p.grad.abs().sum() > 0 and p.grad.isfinite().all() for p in model.parameters())


# ---- a task and a model of one's own


def test_a_model_file_brings_its_own_flags(capsys):
    Path("steps.py").write_text(STEPS)
    with pytest.raises(SystemExit) as stop:
        main(["--model", "steps.py", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0 and "the model steps.py" in text
    assert "--rows INT loops that have a signal of their own, 100 % of them (default 32)" in text
    assert "--strength FLOAT (default 0.5)" in text  # a field without a comment
    assert "--told, --no-told whether the signal is added at all (default True)" in text
    assert "--n_core INT layers inside the loop (default 1)" in text  # those of every model

    own = ["--model", "steps.py", "--rows", "20", "--strength", "0.25"]
    main(["--task", "multihop", "--hops", "2", *TINY, *own, "--ema", "0.5", "--out", "run"])
    config = read_config("run")
    assert (config["model"], config["rows"], config["strength"], config["told"]) == (
        "steps.py",
        20,
        0.25,
        True,
    )
    model, task, flags = load_model("run")
    assert type(model).__name__ == "StepSignal" and type(model.config).__name__ == "StepConfig"
    assert model.step.weight.shape == (20, 16) and model.config.strength == flags.strength == 0.25
    batch = task.batch("test", 0, 8)
    with torch.no_grad():  # it learned, and it is in use
        assert (model.step.weight[:3].abs() > 0).all()
        before = model(batch.tokens, 3)
        model.step.weight[2] += 1
        assert not torch.allclose(model(batch.tokens, 3), before, atol=1e-3)
        torch.testing.assert_close(model(batch.tokens, 2), load_model("run")[0](batch.tokens, 2))

    main(["--task", "multihop", "--hops", "2", *TINY, *own, "--no-told", "--out", "untold"])
    model = load_model("untold")[0]
    assert model.config.told is False
    before = model(batch.tokens, 3)
    model.step.weight.data += 1
    assert torch.equal(model(batch.tokens, 3), before)


DROPS_AND_COUNTS = """
import torch
from looped import LoopedGPT


class DropsAndCounts(LoopedGPT):
    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def loss(self, tokens, targets, loops=None):
        self.calls += 1
        return super().loss(tokens, targets, loops)

    def forward(self, tokens, loops=None):
        if self.training:
            raise ValueError("half of the state is dropped")
        return super().forward(tokens, loops)
"""


def test_a_model_with_dropout_and_buffers_is_judged_as_it_is_loaded():
    Path("my_model.py").write_text(DROPS_AND_COUNTS)
    argv = ["--task", "multihop", "--hops", "2", *TINY, "--model", "my_model.py"]
    main([*argv, "--ema", "0.9", "--out", "run"])
    model, task, flags = load_model("run", model="my_model.py")
    assert not model.training and model.calls == 1 + flags.steps  # one of the rehearsal
    model.train()
    train.evaluate(model, task, flags, "val")  # ValueError where it drops
    assert model.training


def test_a_task_file_brings_its_own_flags():
    Path("parity.py").write_text(PARITY)
    main(
        [
            "--task",
            "parity.py",
            *TINY,
            "--bits",
            "4",
            "--skew",
            "0.75",
            "--minutes",
            "1e-9",
            "--out",
            "run",
        ]
    )
    main(["--resume", "--out", "run"])
    _, task, flags = load_model("run")
    assert type(task).__name__ == "Parity" and task.bits == flags.bits == 4 and task.skew == 0.75
    assert 0.65 < (task.batch("train", 0, 500, 4).tokens == 1).float().mean() < 0.85
    assert sorted(json.loads(metrics("run").splitlines()[-1])["val"]) == ["1", "2", "3", "4"]
    main(["--task", "parity.py", *TINY])
    assert Path("runs/parity/checkpoint.pt").exists()  # the folder is named after the file


class Forked:
    """In the place of subprocess.Popen: see fork."""

    def __init__(self, argv, env):
        program, *flags = argv[1:]
        assert Path(program) == ROOT / "train.py"
        self.process = fork(flags)

    def wait(self):
        return end(self.process)


def test_the_control_is_untied_and_as_deep_as_the_most_loops_also_of_files_of_ones_own(
    monkeypatch,
):
    Path("parity.py").write_text(PARITY)
    Path("steps.py").write_text(STEPS)
    own = ["--task", "parity.py", "--model", "steps.py", "--bits", "2", "--rows", "20", "--no-told"]
    beside = ["--control", "--threads", "1"]
    main([*own, *TINY, *beside, "--out", "run"])
    for folder, tied in (("run", True), ("run/control", False)):
        model, task, flags = load_model(folder)
        assert type(model).__name__ == "StepSignal" and (task.bits, flags.seed) == (2, 0)
        assert model.config.n_embd == 16 and flags.loops == 2 + 4
        assert (model.config.rows, model.config.told, model.config.tied) == (20, False, tied)
        assert len(model.core) == (1 if tied else 2 + 4)
        assert (flags.sampler, model.config.norm) == (
            ("blind", "post") if tied else ("fixed", "pre")
        )
    shutil.rmtree("run/control")
    monkeypatch.setattr(support.session.subprocess, "Popen", Forked)
    main([*beside, "--resume", "--out", "run"])  # a finished run has lost its control: made anew
    assert Path("run/control/checkpoint.pt").exists()
    main([*own, "--seed", "1", *TINY, "--out", "run", "--overwrite"])
    assert not Path("run/control").exists()  # it belonged to another world


def test_a_file_may_have_the_name_of_a_module(monkeypatch):
    import tasks

    Path("tasks.py").write_text(PARITY)
    Path("looped.py").write_text(STEPS)
    main(["--task", "tasks.py", "--model", "looped.py", "--bits", "3", *TINY, "--out", "run"])
    model, task, _ = load_model("run")
    assert type(task).__name__ == "Parity" and type(model).__name__ == "StepSignal"
    import sys

    assert sys.modules["tasks"] is tasks and sys.modules["looped"].LoopedGPT is LoopedGPT


MINE = """
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass
class Settings:
    vocab_size: int
    loops: int = 3  # how often the cell runs
    width: int = 8  # of the state


class Cell(nn.Module):
    config_class = Settings

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.symbols = nn.Embedding(config.vocab_size, config.width)
        self.cell = nn.GRUCell(config.width, config.width)

    def states(self, tokens, loops):
        x = self.symbols(tokens)
        x = x.cumsum(1) / torch.arange(1, tokens.shape[1] + 1)[:, None]
        h = torch.zeros_like(x)
        for _ in range(loops):
            h = self.cell(x.flatten(0, 1), h.flatten(0, 1)).view_as(x)
            yield h

    def forward(self, tokens, loops):
        *_, last = self.states(tokens, loops)
        return last @ self.symbols.weight.T

    def loss(self, tokens, targets, loops):
        states = torch.stack(list(self.states(tokens, int(loops.max()))))
        h = states[loops - 1, torch.arange(len(tokens))]
        logits = h @ self.symbols.weight.T
        return F.cross_entropy(logits.mT, targets), logits.argmax(-1)
"""


@pytest.fixture
def copied():
    """mine.py: a copy of looped.py with another activation and a setting more."""
    text = (ROOT / "looped.py").read_text()
    setting = "    loud: bool = False  # a setting of mine\n"
    edits = {
        "nn.GELU()": "nn.ReLU()",
        "    backprop_loops: int": f"{setting}    backprop_loops: int",
    }
    for old, new in edits.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    Path("mine.py").write_text(text)


def test_a_copy_of_looped_is_a_model_of_ones_own(copied):
    main(
        ["--task", "multihop", "--hops", "2", "--model", "mine.py", "--loud", *TINY, "--out", "run"]
    )
    model, task, flags = load_model("run")
    assert type(model).__name__ == "LoopedGPT" and type(model) is not LoopedGPT
    assert type(model.core[0].mlp[1]) is torch.nn.ReLU and model.config.loud is flags.loud is True
    assert model(task.batch("test", 0, 4).tokens).shape == (4, 3, task.vocab_size)
    analyze.main(["depth", "run", "--loops", "8", "--examples", "10", "--factor", "1"])
    found = json.loads(Path("run/depth.json").read_text())
    assert found["loops"][0] <= 1 and len(found["accuracy"]) == len(found["difficulty"]) >= 2


def test_a_task_brings_its_embedding_into_any_model(copied, capsys):
    def parameters(*model):
        flags, _ = parse_flags(["--task", "chains", *model, "--n_embd", "16"])
        built = make_model(flags, make_task(flags))
        assert type(built.embed).__name__ == "EdgeEmbedding" and built.embed.weight.shape == (
            81,
            16,
        )
        return sum(p.numel() for p in built.parameters())

    Path("steps.py").write_text(STEPS)
    assert parameters() == parameters("--model", "mine.py")
    assert parameters("--model", "steps.py") == parameters() + 32 * 16
    Path("cell.py").write_text(MINE)
    said = refused(lambda: main(["--task", "chains", "--model", "cell.py", "--out", "run"]), capsys)
    assert "--task chains brings an embedding that replaces model.embed" in said


def test_a_module_that_keeps_the_protocol_of_train_trains(capsys):
    Path("cell.py").write_text(MINE)
    own = ["--model", "cell.py", "--width", "12"]
    tiny = TINY[: TINY.index("--n_embd")]
    main(["--task", "multihop", "--hops", "2", *own, *tiny, "--minutes", "1e-9", "--out", "run"])
    main(["--resume", "--out", "run"])
    model, task, flags = load_model("run")
    assert type(model).__name__ == "Cell" and model.config.width == 12
    assert model.config.loops == flags.loops == 2 + 4  # the most loops of training
    assert len(metrics("run").splitlines()) == 2
    capsys.readouterr()
    for more, words in (
        (["--n_embd", "16"], "--n_embd has no meaning for --model cell.py"),
        (["--checkpoint_loops", "2"], "--checkpoint_loops works for models that think as"),
        (["--compile"], "--compile works for models"),
        (["--control"], "--control"),
    ):
        argv = ["--task", "multihop", *own, *tiny, *more, "--out", "other"]
        assert words in refused(lambda: main(argv), capsys)
        assert not Path("other").exists()


TWO = "\n\nclass Another(LoopedGPT):\n    pass\n"
NO_DECORATOR = "file.py: {} has fields but no @dataclass above it, so they would be no flags"


@pytest.mark.parametrize(
    "flag, code, words",
    [
        ("--model", "x = 1\n", "file.py defines 0 models (nn.Modules with a config_class)"),
        ("--model", STEPS + TWO, "file.py defines 2 models"),
        ("--model", PARITY, "defines 0 models"),
        ("--model", "from looped import LoopedGPT\n", "defines 0 models"),  # not its own
        ("--model", MINE.replace("config_class", "settings"), "defines 0 models"),
        ("--model", MINE.replace("@dataclass\n", ""), "file.py: Settings must be a dataclass"),
        ("--model", STEPS.replace("@dataclass\n", ""), NO_DECORATOR.format("StepConfig")),
        ("--task", STEPS, "file.py defines 0 subclasses of Task; --task wants one"),
        (
            "--task",
            PARITY + "\n\nclass Harder(Parity):\n    pass\n",
            "defines 2 subclasses of Task",
        ),
        ("--task", PARITY.replace("@dataclass\n", ""), NO_DECORATOR.format("Parity")),
        (
            "--task",
            None,
            "file.py is unknown; choose from multihop, addition, sudoku, chains, composition, phop",
        ),
        (
            "--model",
            None,
            "--model file.py is unknown; choose from looped, one of papers/, or name a Python file",
        ),
        (
            "--model",
            STEPS.replace("rows: int", "steps: int").replace("config.rows", "config.steps"),
            "--steps cannot be a flag of the model file.py: it is one of training already",
        ),
        (
            "--task",
            PARITY.replace("skew", "loops"),
            "--loops cannot be a flag of the model looped: it is one of the task file.py already",
        ),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_file_that_cannot_be_used_is_refused(flag, code, words, capsys):
    if code is not None:
        Path("file.py").write_text(code)
    assert words in refused(lambda: main([flag, "file.py", *TINY, "--out", "run"]), capsys)
    assert not Path("run").exists()


def test_a_run_whose_file_is_gone_is_refused(capsys):
    Path("gone.py").write_text(PARITY)
    main(["--task", "gone.py", *TINY, "--out", "run"])
    Path("gone.py").unlink()
    find_task.cache_clear()  # as in a new process
    for call in (lambda: load_model("run"), lambda: main(["--out", "run", "--resume"])):
        assert "--task gone.py is unknown" in refused(call, capsys)


# ---- runs of other models


def test_the_weights_of_another_model_are_refused(capsys):
    main(["--task", "multihop", *TINY, "--out", "run"])
    Path("steps.py").write_text(STEPS)
    config = read_config("run")
    Path("run/config.json").write_text(json.dumps({**config, "model": "steps.py"}))
    named = dict(model="steps.py")
    resume = ["--out", "run", "--resume", "--model", "steps.py"]
    for call in (lambda: load_model("run", **named), lambda: main(resume)):
        assert "is not a checkpoint of this program, or damaged" in refused(call, capsys)
