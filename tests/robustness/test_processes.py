"""
Two processes under torchrun: together they take the steps of one that averages the gradients
of both batches, they agree about the difficulties, and they stop together.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import ROOT, main, metrics, refused, same_checkpoints

import train
from support.flags import make_model, make_task

RANKS = 2
FLAGS = """
    --task multihop --entities 6 --relations 3 --hops 3 --n_embd 16 --n_head 2 --device cpu
    --batch 8 --steps 12 --warmup 2 --gate 0.03 --eval_every 1 --eval_size 4
""".split()

# Several runs in one start of torchrun, which takes seconds.
PROGRAM = """
import os, shutil, signal, sys
sys.path.insert(0, {root!r})
import torch.distributed as dist
import support.session, train
from support.processes import RANK

support.session.draw_curve = lambda *_: None
join = dist.init_process_group
dist.init_process_group = lambda backend: dist.is_initialized() or join(backend)  # once for all

def run(*argv):
    train.main(argv)
    dist.barrier()  # what process 0 has saved is there for all
    if RANK == 0 and "--resume" not in argv:
        shutil.copy(argv[-1] + "/checkpoint.pt", argv[-1] + ".pt")
    dist.barrier()

learning_rate = train.learning_rate

def asked_to_stop(flags, step):
    if RANK == 1 and step == 3:
        train.learning_rate = learning_rate  # asked once
        os.kill(os.getpid(), signal.SIGTERM)
    return learning_rate(flags, step)

flags = {flags}
run(*flags, "--out", "straight")
run(*flags, "--minutes", "1e-9", "--out", "out_of_time")
run("--resume", "--out", "out_of_time")
train.learning_rate = asked_to_stop
run(*flags, "--out", "asked")
train.learning_rate = learning_rate
run("--resume", "--out", "asked")
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The folder with the runs of PROGRAM, and what it said."""
    folder = tmp_path_factory.mktemp("together")
    (folder / "program.py").write_text(PROGRAM.format(root=str(ROOT), flags=FLAGS))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*torchrun, "--nproc_per_node", str(RANKS), "program.py"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.fixture
def runs(together, monkeypatch):
    folder, said = together
    monkeypatch.chdir(folder)
    return said


class Curriculum:
    """That of train.py, as the answers of one process move it."""

    def __init__(self, flags, task):
        self.flags, self.task, self.level, self.mastery = flags, task, 1, 0.0

    def see(self, batch, prediction):
        right = self.task.check(batch, prediction)[batch.difficulty >= self.level]
        if self.level < self.task.max_difficulty and len(right):
            self.mastery += 0.1 * (right.float().mean().item() - self.mastery)
            if self.mastery >= self.flags.gate:
                self.level, self.mastery = self.level + 1, 0.0


def one_process():
    """A line for each step, and the model. Of two batches a step the mean gradient counts."""
    flags, _ = train.parse_flags(FLAGS)
    task = make_task(flags)
    flags.loops = train.most_loops(flags, task)
    model = make_model(flags, task)
    optimizer = train.make_optimizer(flags, model)
    first, second = Curriculum(flags, task), Curriculum(flags, task)
    rows = []
    for step in range(flags.steps):
        for group in optimizer.param_groups:
            group["lr"] = train.learning_rate(flags, step)
        optimizer.zero_grad()
        level, losses = first.level, []
        for rank, curriculum in enumerate((first, second)):
            batch = task.batch("train", RANKS * step + rank, flags.batch, (1, level))
            loops = train.sample_loops(flags, task, batch.difficulty, step)
            loss, prediction = model.loss(batch.tokens, batch.targets, loops)
            (loss / RANKS).backward()
            losses.append(loss.item())
            curriculum.see(batch, prediction)
        gradient = torch.nn.utils.clip_grad_norm_(model.parameters(), flags.clip).item()
        optimizer.step()
        row = dict(loss=losses[0], gradient=gradient, level=first.level, other=second.level)
        rows.append(row)
    return rows, model


def test_a_step_is_that_of_one_process_that_averages_the_gradients_of_both_batches(runs):
    expected, model = one_process()
    found = [json.loads(line) for line in metrics("straight").splitlines()]
    assert [row["step"] for row in found] == list(range(1, len(expected) + 1))
    for ours, theirs in zip(found, expected):
        for key in ("loss", "gradient", "level"):
            assert abs(ours[key] - theirs[key]) < 1e-5, (ours, theirs)
    # process 1 alone would have opened the difficulties at other steps
    assert found[-1]["level"] > 1 and any(row["level"] != row["other"] for row in expected)
    for name, weights in train.load_model("straight")[0].state_dict().items():
        torch.testing.assert_close(weights, model.state_dict()[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("folder, steps", (("out_of_time", 1), ("asked", 4)))
def test_processes_stop_together_and_go_on_as_if_they_had_not(runs, folder, steps):
    """Process 0 when --minutes are over; in its fourth step process 1, which was sent a signal."""
    assert torch.load(f"{folder}.pt", weights_only=True)["step"] == steps
    again = rf"torchrun --nproc_per_node {RANKS} \S*train.py --out {folder} --resume"
    assert re.search(f"at step {steps}; continue with: {again}", runs)
    assert same_checkpoints(folder, "straight") and metrics(folder) == metrics("straight")


def test_only_as_many_processes_can_resume_a_run(runs, capsys):
    before = Path("straight/checkpoint.pt").read_bytes()
    said = refused(lambda: main(["--out", "straight", "--resume"]), capsys)
    assert "was made by 2 processes, not by 1" in said
    assert Path("straight/checkpoint.pt").read_bytes() == before
