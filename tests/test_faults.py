"""Abuse: processes killed at any moment, damaged files, full disks, random flags and random puzzle files."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from test_tasks import PUZZLE, SOLUTION
from test_train import ROOT, TINY, main, metrics, same_checkpoints

import tasks
import train
from looped import Config
from train import CHOICES, Settings, load_model


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every run in a folder of its own."""
    monkeypatch.chdir(tmp_path)


# ---- kill -9: a run that is killed and resumed, as often as you like, is the run that was left alone

RUN = [*TINY, *"--task multihop --gate 0.01 --ema 0.9 --state_init noise --out run --eval_every 1 --steps 40".split()]
# Calls that a run makes on its way to the disk, each the place of a murder. It happens before the call.
KILLED_AT = """
import os, signal, sys
sys.path.insert(0, {root!r})
import torch, train
calls = []
def deadly(function):
    def wrapped(*arguments, **options):
        calls.append(function)
        if len(calls) == {call}:
            if function is real_save:  # in the middle of writing
                arguments[1].write(b"PK half a checkpoint")
                arguments[1].flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return wrapped
real_save = torch.save
torch.save, os.fsync, os.replace = deadly(torch.save), deadly(os.fsync), deadly(os.replace)
sys.argv[0] = "train.py"
train.main()
"""


def start(*argv, code=None):
    program = ["-c", code] if code else [ROOT / "train.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *program, *argv], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process):
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    finish(start(*RUN[:-6], *"--eval_every 1 --steps 40 --out".split(), str(folder / "run")))
    return folder / "run"


def resume_or_begin():
    return ["--out", "run", "--resume"] if Path("run/config.json").exists() else [*RUN, "--overwrite"]


def check_whole_and_finish(straight):
    if Path("run/config.json").exists():
        load_model("run")  # at any moment
    finish(start(*resume_or_begin()))
    assert same_checkpoints("run", straight) and metrics("run") == metrics(straight)
    assert not list(Path("run").glob("*.unfinished"))


def kill_at_random(straight, seed, times):
    draw = random.Random(seed)
    for _ in range(times):
        process = start(*resume_or_begin())
        before = metrics("run") if Path("run/metrics.jsonl").exists() else ""
        deadline = time.time() + 60
        while process.poll() is None and time.time() < deadline:  # once it has begun to train, at any time
            if Path("run/metrics.jsonl").exists() and metrics("run") not in ("", before):
                break
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    check_whole_and_finish(straight)


def test_a_run_killed_at_random_moments_ends_as_if_left_alone(straight):
    kill_at_random(straight, 0, times=2)


def test_a_run_killed_inside_a_save_ends_as_if_left_alone(straight, call=10):
    killed = start(*RUN, code=KILLED_AT.format(root=str(ROOT), call=call))
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    check_whole_and_finish(straight)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 7))
def test_a_run_killed_at_random_moments_many_times(straight, seed):
    kill_at_random(straight, seed, times=3)


@pytest.mark.slow
@pytest.mark.parametrize("call", range(1, 13))
def test_a_run_killed_inside_a_save_at_every_place(straight, call):
    test_a_run_killed_inside_a_save_ends_as_if_left_alone(straight, call)


# ---- disks and checkpoints


def test_a_full_disk_ends_the_run_with_a_line_and_leaves_it_to_be_resumed(monkeypatch, capsys):
    main(["--task", "multihop", *TINY, "--out", "straight"])
    real, rows = open, []

    def full(path, mode="r", **options):
        if str(path).endswith("metrics.jsonl") and mode == "a" and rows.append(path) is None and len(rows) == 2:
            raise OSError(28, "No space left on device", str(path))
        return real(path, mode, **options)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(train, "open", full, raising=False)
        main(["--task", "multihop", *TINY, "--out", "run"])
    assert stop.value.code and "No space left" in capsys.readouterr().err.splitlines()[-1]
    main(["--out", "run", "--resume"])
    assert same_checkpoints("run", "straight") and metrics("run") == metrics("straight")


def test_a_read_only_folder_is_refused_before_anything_is_lost(monkeypatch, capsys):
    main(["--task", "multihop", *TINY, "--out", "run"])
    before = {path: path.read_bytes() for path in Path("run").iterdir()}

    def read_only(path, *_, **__):
        raise PermissionError(30, "Read-only file system", str(path))

    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", read_only)
        patch.setattr(Path, "write_text", read_only)
        patch.setattr(train, "open", read_only, raising=False)
        for argv in (["--task", "multihop", *TINY, "--overwrite", "--out", "run"], ["--resume", "--out", "run"]):
            with pytest.raises(SystemExit) as stop:
                main(argv)
            error = capsys.readouterr().err
            assert stop.value.code and error.count("\n") == 1 and "Read-only" in error
    assert before == {path: path.read_bytes() for path in Path("run").iterdir()}


def test_a_flipped_bit_in_a_checkpoint_is_refused_or_harmless(capsys):
    main(["--task", "multihop", *TINY, "--out", "run"])
    path, draw, refused = Path("run/checkpoint.pt"), random.Random(0), 0
    content = path.read_bytes()
    expected = load_model("run")[0].state_dict()
    for _ in range(60):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        capsys.readouterr()
        try:
            found = load_model("run")[0].state_dict()
        except SystemExit as stop:
            error = capsys.readouterr().err
            assert stop.code == 2 and error.count("\n") == 1 and "damaged" in error
            refused += 1
        else:  # a bit of padding, or a time stamp
            assert all(torch.equal(found[name], weights) for name, weights in expected.items())
    assert refused > 20


def test_a_checkpoint_of_another_version_is_refused(capsys):
    main(["--task", "multihop", *TINY, "--out", "run"])
    checkpoint = torch.load("run/checkpoint.pt", weights_only=True)
    torch.save({**checkpoint, "version": 99}, "run/checkpoint.pt")
    with pytest.raises(SystemExit):
        load_model("run")
    assert "version" in capsys.readouterr().err.splitlines()[-1]


def test_a_damaged_bank_of_puzzles_is_made_again(tmp_path):
    first = tasks.Sudoku("2x2", puzzles=60, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    for position in range(len(content) // 4, len(content) // 2):
        content[position] ^= 1
    path.write_bytes(content)
    again = tasks.Sudoku("2x2", puzzles=60, cache=tmp_path)
    for split in first.bank:
        assert all(torch.equal(first.bank[split][key], again.bank[split][key]) for key in first.bank[split])


# ---- flags

SANE = dict(steps="2", batch="4", eval_every="1", eval_size="4", n_embd="8", n_head="2", loops="3", device="cpu")
SMALL = dict(entities="12", hops="2", length="8", digits="2", puzzles="60")
NUMBERS = "0 1 2 3 5 8 0.5 1e-3 -1 -0.1 nan inf 1e400 99999999999999999999 '' x ½ 0x10 True".split()
APART = ("out", "resume", "control", "threads", "compile", "minutes")  # processes and places of their own


def random_flags(seed):
    """A command line: small sizes, and up to four flags of any kind set to anything."""
    draw = random.Random(seed)
    task = draw.choice((*CHOICES["task"], *CHOICES["task"], "chess"))
    own = train.task_flags(task) if task in CHOICES["task"] else []
    chosen = dict(task=task, **SANE, **{name: value for name, value in SMALL.items() if name in own})
    kinds = {f.name: f.type for cls in (Settings, Config) for f in fields(cls) if f.name not in train.FROM_TASK}
    kinds.update(colour=str, **{"": str})
    for name in draw.sample(sorted(kinds.keys() - set(APART)), draw.randrange(5)):
        words = CHOICES.get(name) or {str: ("none", "add", "rope", "relative", "grid", "pre", "")}.get(kinds[name])
        chosen[name] = draw.choice((*(words or NUMBERS), *NUMBERS[:6], draw.choice(NUMBERS)))
        if kinds[name] is bool:
            chosen[name] = None
    argv = []
    for name, value in chosen.items():
        argv += [f"--{name}"] if value is None else [f"--{name}", value]
    return argv


def try_flags(seeds, capsys):
    """Run each command line here; (how many ran, how many were refused, those that misbehaved and how)."""
    ran, refused, wrong = 0, 0, []
    for seed in seeds:
        argv, folder = random_flags(seed), Path(f"run{seed}")
        capsys.readouterr()
        try:
            main([*argv, "--out", str(folder)])
            ran += bool(metrics(folder)) and bool(load_model(folder))
        except SystemExit as stop:
            error = capsys.readouterr().err.splitlines()
            refused += stop.code == 2
            clean = len(error) == 1 and not folder.exists() if stop.code == 2 else stop.code == 1
            if not clean or "error: " not in error[-1]:
                wrong.append((argv, stop.code, error))
        except BaseException as error:
            wrong.append((argv, repr(error)))
    return ran, refused, wrong


def test_random_command_lines_run_or_say_why_not_in_one_line(capsys):
    ran, refused, wrong = try_flags(range(100), capsys)
    assert not wrong and ran > 10 and refused > 10


@pytest.mark.slow
@pytest.mark.parametrize("block", range(1, 11))
def test_a_thousand_random_command_lines(block, capsys):
    ran, refused, wrong = try_flags(range(100 * block, 100 * block + 100), capsys)
    assert not wrong and ran > 10 and refused > 10


@pytest.mark.parametrize(
    "flags",
    ["--batch 9999999999999", "--n_embd 4000000", "--hops 99999999999", "--lr 1e30", "--threads 9999999"],
)
def test_sizes_beyond_this_machine_are_refused_in_one_line(flags, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*TINY, "--task", "multihop", *flags.split(), "--out", "run"])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and not Path("run").exists()


# ---- puzzle files


def damage(draw, content):
    """Puzzles as bytes, spoilt in one to three ways."""
    for _ in range(draw.randint(1, 3)):
        at = draw.choice((draw.randrange(len(content) + 1), content.find(b"\n") + 1, len(content)))
        inserted = (
            *(b"\xff", b"\x00", b"\r\n", b"\r", b"\x1c", b" ", b",", b"#", b"0", b"9", b"-", b"x", b"\t"),
            *("٣".encode(), "²".encode(), "½".encode(), "\u2028".encode(), "\ufeff".encode(), "数独".encode()),
            *(b"1" * 81, b"." * 81 + b"\n", b"." * 36 + b"\n", PUZZLE.encode() + b"," + SOLUTION.encode()),
        )
        way = draw.randrange(6)
        if way == 0:
            content = content[:at]
        elif way == 1:
            content = content.decode("utf-8", "replace").encode(draw.choice(("utf-16", "utf-32", "utf-8-sig")))
        elif way == 2:
            content = content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
        else:
            content = content[:at] + draw.choice(inserted) * draw.choice((1, 1, 2, 50)) + content[at:]
    return content


def test_random_puzzle_files_are_read_or_refused_with_a_reason(tmp_path):
    draw, read = random.Random(0), 0
    whole = f"{PUZZLE},{SOLUTION}\n{PUZZLE}\n# easy\n{SOLUTION}\n{'.' * 81}\n".encode()
    for _ in range(1000):
        (tmp_path / "puzzles.txt").write_bytes(damage(draw, whole))
        try:
            puzzles, solutions = tasks.read_puzzles(tmp_path / "puzzles.txt")
        except ValueError as error:
            assert "puzzles.txt" in str(error) and "\n" not in str(error) and len(str(error)) < 500
        else:
            side = round(puzzles.shape[1] ** 0.5)
            assert puzzles.shape == solutions.shape and 0 <= puzzles.min() and puzzles.max() <= side
            read += 1
    assert 50 < read < 950


def test_a_line_of_ten_megabytes_and_a_puzzle_of_many_solutions(tmp_path):
    path = tmp_path / "puzzles.txt"
    path.write_text("1" * 10_000_000)
    with pytest.raises(ValueError, match="10000000 characters"):
        tasks.read_puzzles(path)
    path.write_text(f"{'.' * 80}1\n")
    task = tasks.Sudoku("3x3", file=path)
    batch = task.batch("test", 0, 1)
    assert batch.difficulty.item() == task.SEARCH
    grid = torch.tensor([3 * (row % 3) + row // 3 + column for row in range(9) for column in range(9)])
    grid = (grid - grid[-1] + batch.tokens[0, -1] - 1) % 9 + 1  # its digits renamed to end with the given one
    assert task.check(batch, grid[None]).all() and not task.check(batch, grid.roll(1)[None]).any()


# ---- numbers at the edge


def small_model(*argv):
    flags, _ = train.parse_flags(["--task", "multihop", "--n_embd", "16", "--n_head", "2", *argv])
    task = train.make_task(flags)
    return flags, task, train.make_model(flags, task)


def test_a_batch_without_a_question_has_no_loss_and_no_gradient():
    flags, task, model = small_model()
    batch = task.batch("train", 0, 4)
    batch = batch._replace(targets=torch.full_like(batch.targets, tasks.IGNORE))
    loss, prediction = train.compute_loss(flags, model, batch, torch.full((4,), 3))
    loss.backward()
    assert loss == 0 and (prediction == tasks.IGNORE).all()
    assert all(p.grad is None or (p.grad == 0).all() for p in model.parameters())


@pytest.mark.parametrize("norm", ("post", "pre", "sandwich"))
def test_one_sequence_one_loop_and_256_loops(norm):
    flags, task, model = small_model("--norm", norm)
    batch = task.batch("train", 0, 1, 1)
    for loops in (1, 256):
        loss, _ = train.compute_loss(flags, model, batch, torch.tensor([loops]))
        model.zero_grad()
        loss.backward()
        assert loss.isfinite() and all(p.grad.isfinite().all() for p in model.parameters())
        assert model.solve(batch.tokens, "fixed", max_loops=loops)[0].isfinite().all()


def test_a_text_may_be_as_long_as_the_learned_positions_and_no_longer():
    flags, task, model = small_model("--position", "learned")
    tokens = torch.zeros(2, task.block_size, dtype=torch.long)
    assert model(tokens, 2).isfinite().all()
    assert model.generate(tokens[:, :-2], 2).shape == tokens.shape
    with pytest.raises(ValueError, match="block_size"):
        model(torch.cat((tokens, tokens), 1), 2)


def test_states_that_explode_are_reported_with_their_size(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--task", "multihop", *TINY, "--lr", "1e18", "--norm", "pre", "--clip", "0", "--out", "run"])
    error = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 1 and "size of a state" in error and "run/checkpoint.pt" in error
    load_model("run")


def test_threads_change_nothing_but_the_rounding():
    flags, task, model = small_model()
    batch, found, threads = task.batch("train", 0, 64), [], torch.get_num_threads()
    for n in (1, 2, 3):
        torch.set_num_threads(n)
        model.zero_grad()
        train.compute_loss(flags, model, batch, torch.full((64,), 5))[0].backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.set_num_threads(threads)
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-6)


# ---- two processes


def test_two_ranks_give_the_losses_of_one():
    flags = "--task addition --digits 3 --ema 0.9 --steps 8 --eval_every 1 --eval_size 8 --n_embd 16 --n_head 2".split()
    flags += ["--device", "cpu", "--gate", "0"]
    finish(start(*flags, "--batch", "16", "--out", "one"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*torchrun, ROOT / "train.py", *flags, "--batch", "8", "--out", "two"], env=environment, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    one, two = ([json.loads(line) for line in metrics(folder).splitlines()] for folder in ("one", "two"))
    assert [row["step"] for row in two] == list(range(1, 9)) and two[-1]["level"] > 1
    for ours, theirs in zip(one, two):
        for key in ("loss", "gradient", "right", "level"):
            assert abs(ours[key] - theirs[key]) < 1e-5, (ours, theirs)
    for name, weights in load_model("one")[0].state_dict().items():
        torch.testing.assert_close(load_model("two")[0].state_dict()[name], weights, rtol=1e-4, atol=1e-5)
    with pytest.raises(SystemExit):
        main(["--out", "two", "--resume"])  # by one process: another run
