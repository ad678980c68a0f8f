"""The head's term in the loss, and the noisy runs, against the tiny recursive model alone."""

import torch
from helpers import build, gradients, paper, tokens
from torch.nn import functional as F

from looped import IGNORE

module, trm = paper("ptrm"), paper("tiny_recursive_model")


def small(**changes):
    return build(model=module.ProbabilisticTRM, config=module.ProbabilisticConfig, **changes)


def without_head(model):
    plain = build(
        model=trm.TinyRecursiveModel,
        config=trm.RecursiveConfig,
        loops=model.config.loops,
        segments=model.config.segments,
    )
    plain.load_state_dict(model.state_dict(), strict=False)
    return plain


def test_the_head_learns_whether_the_whole_answer_is_right():
    model = small(loops=4, segments=2)
    plain, targets = without_head(model), tokens(2)
    said = plain(tokens(), 2).argmax(-1)
    targets[0] = said[0]  # right after the first segment
    targets[1, :3], targets[1, 3:] = IGNORE, said[1, 3:]  # right where it is asked
    expected = plain.loss(tokens(), targets, 4)[0]
    h, rights = None, 0
    for _ in range(2):
        h = plain.think(tokens(), 2, h)
        answer = plain.readout(h).argmax(-1)
        for row in range(5):
            asked = targets[row] != IGNORE
            right = torch.equal(answer[row][asked], targets[row][asked])
            q = (h[row, :, :16].mean(0) * model.q.weight[0]).sum() + model.q.bias[0]
            nats = -F.logsigmoid(q) if right else -F.logsigmoid(-q)
            expected, rights = expected + 0.5 * nats / 5 / 2, rights + right
        h = h.detach()
    assert 2 <= rights < 10
    loss, _ = model.loss(tokens(), targets, 4)
    assert torch.allclose(loss, expected, atol=1e-5)
    wanted, found = gradients(model, loss), gradients(model, model.loss(tokens(), targets, 4)[0])
    assert all(wanted[name].any() and torch.equal(wanted[name], found[name]) for name in wanted)


@torch.no_grad()
def test_each_run_is_one_of_its_own_with_noise_before_every_segment():
    model = small(loops=5, segments=2)  # 3 loops in a segment
    plain = without_head(model)
    torch.manual_seed(3)
    answers, confidence = model.explore(tokens(), runs=3, segments=2, noise=0.7)
    torch.manual_seed(3)
    start, e, positions = plain.begin(tokens())
    for run in range(3):
        h = start
        for _ in range(2):
            h = h + 0.7 * F.pad(torch.randn(5, 7, 16), (0, 16))  # of [y; z] only y
            for t in range(3):
                h = plain.loop(h, e, t, positions)
        assert torch.equal(answers[run], plain.readout(h).argmax(-1))
        assert torch.allclose(confidence[run], model.confidence(h))
    assert (answers[0] != answers[1]).any()
    torch.manual_seed(3)
    best = model.best_of(tokens(), runs=3, segments=2, noise=0.7)
    for row in range(5):
        surest = max(range(3), key=lambda run: confidence[run, row])
        assert torch.equal(best[row], answers[surest, row])


def test_without_noise_it_is_the_model_as_it_was():
    model = small(loops=4, segments=2)
    answers, _ = model.explore(tokens(), runs=2, segments=3, noise=0.0)
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], without_head(model)(tokens(), 6).argmax(-1))
    torch.manual_seed(0)
    fresh = module.ProbabilisticTRM(model.config)
    assert (fresh.confidence(torch.randn(3, 7, 32)) == -5).all()
