"""Sums against int; and a pause is a token of its own."""

import pytest
import torch
from helpers import build, gradients, paper, tokens

from tasks import IGNORE

module, sums = paper("latent_thoughts"), paper("sums")


@pytest.mark.parametrize("difficulty", [None, 1, 5, 8, 10])
def test_the_sums_are_those_of_python(difficulty):
    for row, targets, n in zip(*(part.tolist() for part in sums.Sums().batch("test", 0, 60, difficulty))):
        question, behind = "".join("0123456789+=. "[token] for token in row).split("=")
        numbers = question.split("+")
        assert len(numbers) == n and all(len(number) == 2 for number in numbers) and behind.rstrip() == ".."
        assert "".join(str(digit) for digit in targets if digit != IGNORE) == f"{sum(map(int, numbers)):03}"
        assert targets[3 * n - 1] != IGNORE and targets[3 * n + 1] != IGNORE


def test_a_question_reads_as_in_the_docstring():
    task = sums.Sums(numbers=4)
    tokens = torch.tensor([3, 1, 10, 0, 7, 10, 4, 5, 11, 12, 12, 13, 13, 13])
    assert f'"{task.show(tokens, task.answer(tokens[None])[0])}"' in sums.Sums.__doc__


def test_a_token_is_answered_at_its_last_pause():
    model = build(model=module.PauseGPT, config=module.PauseConfig, pauses=2, position="none")
    x = torch.cat([torch.stack((model.embed.weight[token], *model.embed.pauses)) for token in tokens()[0]])[None]
    e = model.prelude_norm(x)
    h = e
    for t in range(4):
        h = model.loop(h, e, t, model.positions(h))
    assert torch.allclose(model(tokens()[:1]), model.head(h[:, 2::3]), atol=1e-5)
    found = gradients(model, model.loss(tokens(), tokens(2))[0])
    assert found["embed.pauses"].abs().sum() > 0 and found["embed.weight"].abs().sum() > 0
