"""Processes that are killed at any moment and go on as if nothing had happened."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from helpers import TINY, end, fork, main, metrics, same_checkpoints

from train import load_model

pytestmark = pytest.mark.usefixtures("elsewhere")

# kill -9: a run that is killed and resumed, as often as you like, ends as one that was left alone

SHORT = "--task multihop --hops 3 --gate 0 --ema 0.9 --state_init noise --eval_every 1".split()
RUN = [*TINY, *SHORT, "--steps", "25", "--out", "run"]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight") / "run"
    main([*RUN[:-1], str(folder)])
    return folder


def resume_or_begin():
    begun = Path("run/config.json").exists()
    return ["--out", "run", "--resume"] if begun else [*RUN, "--overwrite"]


def check_whole_and_finish(straight):
    if Path("run/config.json").exists():
        load_model("run")  # at any moment
    assert end(fork(resume_or_begin())) == 0
    assert same_checkpoints("run", straight) and metrics("run") == metrics(straight)
    assert not list(Path("run").glob("*.unfinished"))


def kill_at_random(straight, seed, times):
    draw = random.Random(seed)
    for _ in range(times):
        process = fork(resume_or_begin())
        before = metrics("run") if Path("run/metrics.jsonl").exists() else ""
        deadline = time.time() + 60
        while process.is_alive() and time.time() < deadline:  # once it has begun to train
            if Path("run/metrics.jsonl").exists() and metrics("run") not in ("", before):
                break
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.5))
        process.kill()
        end(process)
    check_whole_and_finish(straight)


def kill_before(call):
    """Let this process be killed before a call that it makes on its way to the disk."""
    calls, save = [], torch.save

    def deadly(function):
        def wrapped(*arguments, **options):
            calls.append(function)
            if len(calls) == call:
                if function is save:  # in the middle of writing
                    arguments[1].write(b"PK half a checkpoint")
                    arguments[1].flush()
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return wrapped

    torch.save, os.fsync, os.replace = deadly(save), deadly(os.fsync), deadly(os.replace)


def kill_in_save(straight, call):
    killed = fork(RUN, before=lambda: kill_before(call))
    assert end(killed) == -signal.SIGKILL
    check_whole_and_finish(straight)


def test_a_run_killed_at_random_moments_ends_as_if_left_alone(straight):
    kill_at_random(straight, 0, times=2)


@pytest.mark.parametrize("call", (10, 11))
def test_a_run_killed_inside_a_save_ends_as_if_left_alone(straight, call):
    kill_in_save(straight, call)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 7))
def test_a_run_killed_at_random_moments_many_times(straight, seed):
    kill_at_random(straight, seed, times=3)


@pytest.mark.slow
@pytest.mark.parametrize("call", range(1, 13))
def test_a_run_killed_inside_a_save_at_every_place(straight, call):
    kill_in_save(straight, call)
