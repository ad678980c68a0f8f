"""Numbers at the edge: one loop and 256, explosions, threads."""

import pytest
import torch
from helpers import TINY, main

import train
from support.flags import make_model, make_task
from train import load_model

pytestmark = pytest.mark.usefixtures("elsewhere")


def small_model(*argv):
    flags, _ = train.parse_flags(["--task", "multihop", "--n_embd", "16", "--n_head", "2", *argv])
    task = make_task(flags)
    return task, make_model(flags, task)


@pytest.mark.parametrize("norm", ("post", "pre", "sandwich"))
def test_one_sequence_one_loop_and_256_loops(norm):
    task, model = small_model("--norm", norm)
    batch = task.batch("train", 0, 1, 1)
    for loops in (1, 256):
        loss, _ = model.loss(batch.tokens, batch.targets, torch.tensor([loops]))
        model.zero_grad()
        loss.backward()
        assert loss.isfinite() and all(p.grad.isfinite().all() for p in model.parameters())
        assert model.solve(batch.tokens, "fixed", max_loops=loops)[0].isfinite().all()


def test_states_that_explode_are_reported_with_their_size(capsys):
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "--task",
                "multihop",
                *TINY,
                "--lr",
                "1e18",
                "--norm",
                "pre",
                "--clip",
                "0",
                "--out",
                "run",
            ]
        )
    error = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 1 and "size of a state" in error and "run/checkpoint.pt" in error
    load_model("run")


def test_threads_change_nothing_but_the_rounding():
    task, model = small_model()
    batch, found, threads = task.batch("train", 0, 64), [], torch.get_num_threads()
    for n in (1, 2, 3):
        torch.set_num_threads(n)
        model.zero_grad()
        model.loss(batch.tokens, batch.targets, torch.full((64,), 5))[0].backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.set_num_threads(threads)
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-6)
