"""The command line, end to end with tiny steps; exact resume; bad input; loop counts."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import tasks
import train
from looped import Config, LoopedGPT
from train import load_model, parse_flags, sample_loops

ROOT = Path(__file__).parent.parent
TINY = "--steps 6 --batch 8 --eval_every 3 --eval_size 8 --n_embd 16 --n_head 2 --warmup 2 --device cpu".split()
TASK_FLAGS = dict(multihop=[], phop=["--length", "8"], addition=["--digits", "3"], sudoku=["--puzzles", "300"])
TASK_FLAGS["composition"] = ["--entities", "12", "--relations", "3"]


def main(argv):
    train.run(lambda: train.main(argv))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every run in a folder of its own."""
    monkeypatch.chdir(tmp_path)


def command(*argv, **options):
    """train.py in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, ROOT / "train.py", *argv], capture_output=True, text=True, env=environment, **options
    )


def metrics(folder):
    return Path(folder, "metrics.jsonl").read_text()


def same_checkpoints(one, other):
    one, other = (torch.load(Path(folder, "checkpoint.pt"), weights_only=True) for folder in (one, other))

    def equal(a, b):
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
        if isinstance(a, list):
            return len(a) == len(b) and all(map(equal, a, b))
        return torch.equal(a, b) if torch.is_tensor(a) else a == b

    return equal(one, other)


@pytest.mark.parametrize("task", train.GPU)
def test_the_recipes_for_a_gpu_run_in_miniature(task):
    small = dict(multihop=["--hops", "3"], phop=["--length", "8", "--hops", "2"], addition=["--digits", "3"])
    more = small.get(task, ["--puzzles", "60"])
    main(["--task", task, "--scale", "gpu", *TINY, *more, "--ema", "0.9", "--out", "run"])
    assert len(metrics("run").splitlines()) == 2


def test_the_sudoku_model_for_a_gpu_has_at_most_a_million_parameters():
    flags, _ = parse_flags(["--task", "sudoku", "--scale", "gpu"])
    task = tasks.Sudoku(puzzles=60)
    assert flags.box == "3x3" and flags.search
    sizes = dict(n_embd=flags.n_embd, n_core=flags.n_core, n_prelude=flags.n_prelude, n_coda=flags.n_coda)
    model = LoopedGPT(Config(vocab_size=10, block_size=81, position="grid", coordinates=task.coordinates, **sizes))
    assert sum(p.numel() for p in model.parameters()) <= 1_000_000


def test_a_run_from_before_a_flag_has_its_default():
    main(["--task", "multihop", "--hops", "2", *TINY, "--out", "run"])
    config = json.loads(Path("run/config.json").read_text())
    assert config.pop("pause") == 0
    Path("run/config.json").write_text(json.dumps(config))
    _, task, flags = load_model("run")
    assert task.pause == flags.pause == 0 and not hasattr(flags, "out")


def test_snapshots_are_the_weights_that_were_judged():
    main(["--task", "composition", *TASK_FLAGS["composition"], *TINY, "--ema", "0.5", "--out", "run"])
    rows = [json.loads(line) for line in metrics("run").splitlines()]
    assert [set(row) >= {"train", "val", "alone"} for row in rows] == [True, True]
    assert sorted(path.name for path in Path("run/snapshots").iterdir()) == ["000003.pt", "000006.pt"]
    model, task, flags = load_model("run")
    last = torch.load("run/snapshots/000006.pt", weights_only=True)
    assert all(torch.equal(last[name], weights) for name, weights in model.state_dict().items())
    assert train.evaluate(model, task, flags, "alone") == {int(d): a for d, a in rows[-1]["alone"].items()}
    main(["--task", "multihop", *TINY, "--out", "run", "--overwrite"])
    assert not Path("run/snapshots").exists()  # they belonged to another run


@pytest.mark.parametrize("task", TASK_FLAGS)
def test_every_task_trains_from_the_command_line(task):
    done = command("--task", task, *TASK_FLAGS[task], *TINY)
    assert done.returncode == 0, done.stderr
    folder = Path("runs", task)
    assert {"config.json", "metrics.jsonl", "checkpoint.pt", "curve.png"} <= {p.name for p in folder.iterdir()}
    rows = [json.loads(line) for line in metrics(folder).splitlines()]
    assert [row["step"] for row in rows] == [3, 6] and all(0 <= a <= 1 for a in rows[-1]["val"].values())
    model, trained, flags = load_model(folder)
    batch = trained.batch("test", 0, 4)
    assert model(batch.tokens).shape == (*batch.tokens.shape, trained.vocab_size) and flags.task == task


@pytest.mark.parametrize(
    "extra",
    [
        ["--ema", "0.9"],
        ["--state_init", "noise", "--sampler", "poisson", "--backprop_loops", "2"],
        ["--loss", "every", "--per", "batch"],
    ],
    ids=str,
)
def test_a_resumed_run_equals_a_straight_one_bit_for_bit(extra):
    flags = ["--task", "multihop", "--gate", "0.01", *TINY, *extra]
    main([*flags, "--steps", "9", "--out", "straight"])
    main([*flags, "--steps", "9", "--out", "cut", "--minutes", "1e-9"])  # stops after one step
    assert torch.load("cut/checkpoint.pt", weights_only=True)["step"] == 1
    main(["--out", "cut", "--resume", "--minutes", "1e-9"])
    main(["--out", "cut", "--resume"])
    assert metrics("cut") == metrics("straight")
    assert same_checkpoints("cut", "straight")
    assert json.loads(metrics("cut").splitlines()[-1])["level"] > 1  # the curriculum moved, and was resumed too


def test_what_was_measured_after_the_checkpoint_is_measured_again():
    main(["--task", "multihop", *TINY, "--out", "straight"])
    main(["--task", "multihop", *TINY, "--out", "torn", "--minutes", "1e-9"])
    Path("torn/metrics.jsonl").write_text(metrics("straight") + '{"step": 9, "lo')
    main(["--out", "torn", "--resume"])
    assert metrics("torn") == metrics("straight")


def test_ctrl_c_saves_and_leaves_cleanly():
    argv = [sys.executable, ROOT / "train.py", "--task", "multihop", *TINY, "--steps", "100000", "--out", "run"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 60
    while not Path("run/checkpoint.pt").exists() and process.poll() is None and time.time() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in errors
    step = torch.load("run/checkpoint.pt", weights_only=True)["step"]
    assert f"interrupted at step {step}; continue with" in output


def test_a_loss_that_is_not_finite_stops_with_advice(capsys, monkeypatch):
    monkeypatch.setattr(train, "compute_loss", explode_at(4, train.compute_loss))
    with pytest.raises(SystemExit) as stop:
        main(["--task", "multihop", *TINY, "--out", "run"])
    error = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 1
    assert "loss is nan" in error and "at step 4" in error and "run/checkpoint.pt" in error and "--lr" in error
    assert torch.load("run/checkpoint.pt", weights_only=True)["step"] == 3


def explode_at(step, compute_loss):
    calls = []

    def wrapped(*arguments):
        loss, prediction = compute_loss(*arguments)
        calls.append(0)
        rehearsals = 1  # before the folder is made
        return (loss * float("nan") if len(calls) == step + 1 + rehearsals else loss), prediction

    return wrapped


def test_a_save_that_fails_leaves_the_last_good_checkpoint(monkeypatch, capsys):
    main(["--task", "multihop", *TINY, "--out", "run"])
    good = Path("run/checkpoint.pt").read_bytes()

    def full_disk(state, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(train.torch, "save", full_disk)
    with pytest.raises(SystemExit):
        train.save(Path("run/checkpoint.pt"), {})
    assert "No space left" in capsys.readouterr().err
    assert Path("run/checkpoint.pt").read_bytes() == good and not list(Path("run").glob("*unfinished*"))


# ---- bad input: one line, exit code 2, nothing lost


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--task", "chess"], "multihop"),
        (["--depth", "3"], "--depth"),
        (["--loops", "many"], "--loops"),
        (["--sampler", "normal"], "poisson"),
        (["--n_embd", "30"], "divisible"),
        (["--n_embd", "12", "--n_head", "4", "--position", "rope"], "even"),
        (["--loops", "0", "--sampler", "fixed"], "loops"),
        (["--steps", "0"], "--steps"),
        (["--lr", "-1"], "--lr"),
        (["--lr", "nan"], "--lr"),
        (["--hops", "0"], "hop"),
        (["--digits", "4"], "--digits has no meaning for --task multihop"),
        (["--task", "addition", "--digits", "0"], "digits"),
        (["--task", "sudoku", "--box", "4x4"], "3x3"),
        (["--task", "phop", "--position", "grid"], "grid"),
        (["--loss", "every"], "--per batch"),
        (["--out", "used"], "--resume"),
        (["--out", "nowhere", "--resume"], "not the folder of a run"),
        (["--out", "finished", "--resume", "--n_embd", "64", "--lr", "0.5"], "--lr 0.5 (there: 0.003), --n_embd 64"),
        (["--out", "finished/config.json", "--resume"], "Not a directory"),
        (["--out", "finished", "--resume", "--overwrite"], "choose one"),
        (["--loss", "every", "--per", "batch", "--backprop_loops", "2"], "--backprop_loops"),
        (["--task", "sudoku", "--curriculum"], "--curriculum"),
        (["--task", "sudoku", "--puzzles", "3"], "at least 50"),
        (["--task", "phop", "--hops", "40"], "length"),
        (["--entities", "4", "--relations", "1", "--hops", "2"], "no val question"),
        (["--out", "finished/config.json"], "cannot write"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_line_and_exit_code_2(argv, words, capsys):
    Path("used").mkdir()
    Path("used/thesis.txt").write_text("precious")
    main(["--task", "multihop", *TINY, "--out", "finished"])
    before = {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()}
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(argv)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and words in error, error
    assert all(p.read_bytes() == content for p, content in before.items())


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


@pytest.mark.parametrize("damage", ("missing", "truncated", "text", "pickle", "foreign"))
def test_checkpoints_that_are_none_are_refused_and_never_executed(damage, capsys):
    main(["--task", "multihop", *TINY, "--out", "run"])
    path = Path("run/checkpoint.pt")
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "text":
        path.write_text("hello")
    elif damage == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    else:
        torch.save({"weights": torch.zeros(3), "bomb": Bomb()}, path)
    capsys.readouterr()
    for call in (lambda: main(["--out", "run", "--resume"]), lambda: load_model("run")):
        with pytest.raises(SystemExit) as stop:
            call()
        error = capsys.readouterr().err
        assert stop.value.code == 2 and error.count("\n") == 1 and "checkpoint" in error
    assert metrics("run")
    assert not Path("exploded").exists()


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
    return torch.cat([sample_loops(flags, torch.full((100,), difficulty), step) for step in range(steps)]).float()


def test_loop_samplers_draw_what_they_say():
    assert loop_counts("--sampler", "fixed", "--loops", "7").unique().tolist() == [7]
    uniform = loop_counts("--sampler", "uniform", "--loops", "8")
    assert uniform.unique().tolist() == list(range(1, 9)) and abs(uniform.mean() - 4.5) < 0.15
    poisson = loop_counts("--sampler", "poisson", "--loops", "8")
    assert poisson.min() >= 1 and poisson.max() <= 16 and abs(poisson.mean() - 8) < 0.2 and abs(poisson.var() - 8) < 1
    slack = loop_counts("--sampler", "difficulty", "--slack", "2", "--lead", "1")
    assert slack.unique().tolist() == [4, 5, 6] and abs(slack.mean() - 5) < 0.1
    batches = loop_counts("--sampler", "uniform", "--per", "batch").view(40, 100)
    assert (batches == batches[:, :1]).all() and len(batches[:, 0].unique()) > 5


def test_bfloat16_truncated_reaches_every_parameter():
    flags, _ = parse_flags(["--precision", "bfloat16", "--backprop_loops", "2", "--n_prelude", "1", "--n_embd", "16"])
    task = train.make_task(flags)
    model, batch = train.make_model(flags, task), task.batch("train", 0, 8)
    train.compute_loss(flags, model, batch, torch.full((8,), 6))[0].backward()
    assert all(p.grad.abs().sum() > 0 and p.grad.isfinite().all() for p in model.parameters())


def test_the_control_is_untied_and_as_deep_as_the_longest_think():
    done = command("--task", "multihop", "--hops", "2", *TINY, "--control", "--out", "run")
    assert done.returncode == 0, done.stderr
    looped, _, _ = load_model("run")
    control, _, flags = load_model("run/control")
    assert not control.config.tied and len(control.core) == 2 + flags.slack
    assert control.config.n_embd == looped.config.n_embd and control.config.norm == "pre"
    assert (flags.sampler, flags.seed, flags.hops) == ("fixed", 0, 2)
    shutil.rmtree("run/control")
    again = command("--control", "--resume", "--out", "run")  # a run is finished, its control was lost: made anew
    assert again.returncode == 0 and Path("run/control/checkpoint.pt").exists(), again.stderr
    main(["--task", "multihop", "--seed", "1", *TINY, "--out", "run", "--overwrite"])
    assert not Path("run/control").exists()  # it belonged to another world
