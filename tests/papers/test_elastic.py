"""The loss of ELT, written out question by question, and the fading of the truth."""

import pytest
import torch
from helpers import build, gradients, paper, tokens

from looped import LoopedGPT
from tasks import IGNORE

elastic = paper("elastic")


def built(**changes):
    return build(model=elastic.Elastic, config=elastic.ElasticConfig, **changes)


def nats(model, h, targets, teacher=None):
    """Cross-entropy of each answer of one question, to the target or to a distribution."""
    logits = model.readout(h)[0].log_softmax(-1)
    asked = (targets != IGNORE).nonzero()[:, 0]
    wanted = (
        torch.nn.functional.one_hot(targets[asked], logits.shape[-1]).float()
        if teacher is None
        else teacher[asked]
    )
    return -(wanted * logits[asked]).sum(-1)


@pytest.mark.parametrize("calls, share", [(0, 1.0), (3, 0.7), (10, 0.0), (15, 0.0)])
@pytest.mark.parametrize("counts", [[6, 6, 6, 6, 6], [2, 1, 6, 3, 4]])
def test_the_loss_is_the_sum_written_out(calls, share, counts):
    model, asked = built(fade=10), tokens()
    targets = asked.masked_fill(torch.arange(asked.shape[1]) < 4, IGNORE)
    model.calls.fill_(calls)
    torch.manual_seed(5)
    loss, prediction = model.loss(asked, targets, torch.tensor(counts))
    torch.manual_seed(5)
    drawn = torch.rand(5)
    values = []
    for row, count in enumerate(counts):
        states = model.trajectory(asked[row : row + 1], count)
        exit_loop = 1 + int(drawn[row] * max(1, count - 1))
        assert exit_loop < count or count == 1
        teacher = model.readout(states[-1])[0].softmax(-1).detach()
        learnt = share * nats(model, states[exit_loop], targets[row])
        imitated = (1 - share) * nats(model, states[exit_loop], targets[row], teacher)
        values.append(nats(model, states[-1], targets[row]) + learnt + imitated)
        assert torch.equal(prediction[row], model.readout(states[-1])[0].argmax(-1))
    straight = torch.cat(values).mean()
    assert torch.allclose(loss, straight, atol=1e-5)
    expected = gradients(model, straight)
    torch.manual_seed(5)
    model.calls.fill_(calls)
    found = gradients(
        model, model.loss(asked, targets, torch.tensor(counts))[0]
    )  # none through the teacher
    assert all(torch.allclose(found[name], expected[name], atol=1e-5) for name in found)


def test_every_earlier_loop_is_drawn_and_none_before_the_earliest(monkeypatch):
    model, asked = built(earliest=2), tokens(rows=64)
    drawn, readout = [], LoopedGPT.readout
    states = model.trajectory(asked, 5)

    def spy(self, h):
        near = (states - h[None]).flatten(2).norm(dim=2).argmin(0)
        drawn.append(near)
        return readout(self, h)

    monkeypatch.setattr(elastic.Elastic, "readout", spy)
    model.loss(asked, asked, 5)
    assert (
        sorted(drawn[1].unique().tolist()) == [2, 3, 4]
        and (drawn[0] == 5).all()
        and (drawn[2] == 5).all()
    )


def test_only_training_counts_and_a_checkpoint_keeps_the_count():
    model, asked = built(), tokens()
    model.loss(asked, asked, 3)
    model.loss(asked, asked, 3)
    model.eval()
    model.loss(asked, asked, 3)
    assert model.calls == 2
    again = built(seed=1)
    again.load_state_dict(model.state_dict())
    assert again.calls == 2


def test_without_a_teacher_the_truth_never_fades():
    model, asked = built(fade=0), tokens()
    model.calls.fill_(10**6)
    torch.manual_seed(5)
    late = model.loss(asked, asked, 4)[0]
    model.calls.fill_(0)
    torch.manual_seed(5)
    assert torch.equal(late, model.loss(asked, asked, 4)[0])
