"""Denoising against one cell at a time in Python; the loss against one told what is shown."""

import pytest
import torch
from helpers import build, gradients, paper
from torch.nn import functional as F

from tasks import IGNORE

module = paper("looped_diffusion")


def small(**changes):
    return build(model=module.MaskedDiffusion, vocab_size=7, causal=False, **changes)


def boards(rows=6, cells=12):
    generator = torch.Generator().manual_seed(1)
    digits = torch.randint(1, 7, (rows, cells), generator=generator)
    return digits.masked_fill(torch.rand((rows, cells), generator=generator) < 0.6, 0)


def by_hand(model, board, steps, loops):
    board, blanks = board.clone(), int((board == 0).sum())
    for step in range(steps):
        p = model(board[None], loops)[0, :, 1:].softmax(-1)
        hidden = sorted((i for i in range(len(board)) if board[i] == 0), key=lambda i: -p[i].max())
        for i in hidden[: -(-len(hidden) // (steps - step))]:
            board[i] = 1 + p[i].argmax()
    assert blanks == 0 or (board > 0).all()
    return board


@pytest.mark.parametrize("steps, loops", [(1, 3), (2, 1), (3, 2), (20, 1)])
def test_the_surest_cells_are_filled_first(steps, loops):
    model, question = small(), boards()
    answer = module.denoise(model, question, steps, loops)
    assert torch.equal(
        answer, torch.stack([by_hand(model, board, steps, loops) for board in question])
    )
    assert torch.equal(answer[question > 0], question[question > 0])


def test_more_steps_make_another_answer():
    model, question = small(), boards(rows=40)
    assert not torch.equal(
        module.denoise(model, question, 1, 2), module.denoise(model, question, 6, 2)
    )


def test_the_loss_is_that_of_what_is_not_shown():
    model, question = small(), boards()
    answer = torch.randint(1, 7, question.shape, generator=torch.Generator().manual_seed(2))
    targets = answer.masked_fill(question > 0, IGNORE)
    torch.manual_seed(5)
    loss, prediction = model.loss(question, targets, 3)
    torch.manual_seed(5)
    share, luck = torch.rand(6, 1), torch.rand(question.shape)
    shown = (question == 0) & (luck < share)
    board = question + answer * shown
    logits, asked = model(board, 3), (question == 0) & ~shown
    assert shown.any() and torch.allclose(
        loss, F.cross_entropy(logits[asked], answer[asked]), atol=1e-6
    )
    assert torch.equal(prediction[~shown], logits.argmax(-1)[~shown])
    assert torch.equal(prediction[shown], answer[shown])
    assert all(each.abs().sum() > 0 for each in gradients(model, loss).values())


def test_a_causal_task_is_refused():
    with pytest.raises(ValueError, match="not causal"):
        build(model=module.MaskedDiffusion)
