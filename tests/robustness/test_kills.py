"""Processes that are killed at any moment and go on as if nothing had happened."""

import random
import signal
import time
from pathlib import Path

import pytest
from helpers import ROOT, TINY, finish, metrics, same_checkpoints, start

from train import load_model

pytestmark = pytest.mark.usefixtures("elsewhere")

# kill -9: a run that is killed and resumed, as often as you like, ends as one that was left alone

SHORT = "--task multihop --hops 3 --gate 0 --ema 0.9 --state_init noise --eval_every 1".split()
RUN = [*TINY, *SHORT, "--steps", "25", "--out", "run"]
# A run makes certain calls on its way to the disk. It is killed before one of them.
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


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    finish(start(*RUN[:-1], str(folder / "run")))
    return folder / "run"


def resume_or_begin():
    return (
        ["--out", "run", "--resume"] if Path("run/config.json").exists() else [*RUN, "--overwrite"]
    )


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
        while (
            process.poll() is None and time.time() < deadline
        ):  # once it has begun to train, at any time
            if Path("run/metrics.jsonl").exists() and metrics("run") not in ("", before):
                break
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    check_whole_and_finish(straight)


def test_a_run_killed_at_random_moments_ends_as_if_left_alone(straight):
    kill_at_random(straight, 0, times=1)


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
