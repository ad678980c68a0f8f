"""The damped step against its formula, and the choice among starts against one that goes board by board."""

from collections import Counter

import pytest
import torch
from helpers import VOCAB, build, gradients, paper, tokens

from looped import LoopedGPT
from sudoku import Sudoku

module = paper("equilibrium")


def small(**changes):
    return build(model=module.Equilibrium, config=module.EquilibriumConfig, **changes)


def test_a_step_is_damped_and_shaken():
    model, plain = small(damping=0.3, noise=0.1), build(model=LoopedGPT)
    plain.load_state_dict(model.state_dict())
    torch.manual_seed(5)
    h = torch.randn_like(plain.begin(tokens())[0])  # the start, and the noise of two steps
    first, second = 0.1 * torch.randn_like(h), 0.1 * torch.randn_like(h)
    _, e, where = plain.begin(tokens())
    for shake in (first, second):
        h = 0.3 * h + 0.7 * plain.core[0](h + e, where) + shake
    torch.manual_seed(5)
    assert torch.allclose(model.think(tokens(), 2), h, atol=1e-5)


def test_without_damping_and_noise_it_is_the_loop_as_it_was():
    model, plain = small(damping=0, noise=0, state_init="embed"), build(model=LoopedGPT)
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model(tokens(), 5), plain(tokens(), 5))
    assert all(gradient.any() for gradient in gradients(model, model.loss(tokens(), tokens(2), 3)[0]).values())


@torch.no_grad()
def test_restarts_are_runs_of_their_own():
    model, plain = small(noise=0), build(model=LoopedGPT)
    plain.load_state_dict(model.state_dict())
    torch.manual_seed(7)
    boards, movement = module.restart(model, tokens(), 5, 3)
    assert boards.shape == (3, *tokens().shape) and movement.unique(dim=0).shape == movement.shape
    torch.manual_seed(7)
    _, e, where = plain.begin(tokens())
    states = [torch.randn_like(e)]
    for _ in range(5):
        states.append(0.05 * states[-1] + 0.95 * plain.core[0](states[-1] + e, where))
    moved = [torch.stack([(b - a).norm() / b.norm() for a, b in zip(*pair)]) for pair in zip(states[2:], states[3:])]
    assert torch.allclose(movement[0], sum(moved), atol=1e-5) and len(moved) == 3
    assert torch.equal(boards[0], torch.where(tokens() > 0, tokens(), model.readout(states[-1]).argmax(-1)))


@pytest.mark.parametrize("size", (1, 2, 4))
def test_the_choice_among_starts(banks, size):
    task = Sudoku(puzzles=300, banks=str(banks))
    grids = task.bank["test"]["grid"][:6]
    generator = torch.Generator().manual_seed(0)
    boards = grids.repeat(8, 1, 1)
    spoilt = torch.rand(8, 6, generator=generator) < 0.6
    boards[:, :, 0] = torch.where(spoilt, boards[:, :, 0] % 4 + 1, boards[:, :, 0])
    movement = torch.rand(8, 6, generator=generator)
    wanted = dict(stillest=0, vote=0, oracle=0)
    for puzzle in range(6):
        for group in range(0, 8, size):
            members = range(group, group + size)
            votes = Counter(tuple(boards[i, puzzle].tolist()) for i in members).most_common()
            stillest = min(members, key=lambda i: movement[i, puzzle])
            winner = next(i for i in members if votes[0][0] == tuple(boards[i, puzzle].tolist()))
            wanted["stillest"] += not spoilt[stillest, puzzle]
            wanted["vote"] += not spoilt[winner, puzzle]
            wanted["oracle"] += not all(spoilt[i, puzzle] for i in members)
    found = module.choices(task, boards, movement, size)
    assert found == pytest.approx({name: right / (6 * 8 / size) for name, right in wanted.items()})


def test_refusals():
    for changes in (dict(damping=1.0), dict(damping=-0.1), dict(noise=-1.0)):
        with pytest.raises(ValueError):
            small(**changes)
    assert small().config.state_init == "noise" and small().config.vocab_size == VOCAB
