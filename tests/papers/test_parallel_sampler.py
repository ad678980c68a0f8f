"""The parallel sampler against the usual one, and against passes that are counted one by one."""

import pytest
import torch
from helpers import build, paper, tokens

from looped import Config, LoopedGPT

sampler = paper("parallel_sampler")


def built(**changes):
    return build(model=sampler.ParallelSampler, config=sampler.SamplerConfig, **changes)


def calm(**changes):
    """A model whose loops come to rest."""
    model = built(**changes)
    with torch.no_grad():
        for block in model.core:
            for matrix in (block.attention.out.weight, block.mlp[2].weight):
                matrix.mul_(0.7)
    return model


def alone(model, token, rest, most):
    """Of a token that sees only itself: the next token, and the passes until its state rests."""
    h, e, positions = model.begin(token.view(1, 1))
    start, stir = h, model.config.stir
    for passes in range(model.config.inner, most + model.config.inner, model.config.inner):
        before = h
        h = (1 - stir) * h + stir * start
        for _ in range(model.config.inner):
            h = LoopedGPT.loop(model, h, e, 0, positions)
        if passes >= most or (h - before).norm() < rest * h.norm():
            break
    return model.readout(h).argmax(-1)[0, 0], passes


@pytest.mark.parametrize(
    "inner, rest, most, stir",
    [(1, 0.02, 64, 0), (3, 0.01, 64, 0), (1, 0.0, 5, 0), (2, 0.0, 6, 0.3)],
)
@torch.no_grad()
def test_a_wavefront_of_one_is_the_usual_order_with_an_exit(inner, rest, most, stir):
    model = calm(position="window", reach=1, inner=inner, stir=stir)  # each token sees itself alone
    asked = tokens()
    text, passes = model.write(asked, 6, wavefront=1, rest=rest, most=most)
    assert torch.equal(text[:, :7], asked)
    for row, counted in zip(text, passes):
        expected, total = [model(row[None, :7]).argmax(-1)[0, -1]], 0
        for _ in range(5):
            following, took = alone(model, expected[-1], rest, most)
            expected.append(following)
            total += took
        assert row[7:].tolist() == [int(token) for token in expected] and counted == total
    assert rest == 0 or len({*passes.tolist()}) > 1


@torch.no_grad()
def test_where_loops_come_to_rest_the_text_is_that_of_many_loops():
    model, asked = calm(n_core=2), tokens()
    usual = model.generate(asked, 10, 200)
    for inner in (1, 2):
        model.config.inner = inner
        text, passes = model.write(asked, 10, 200, rest=1e-5)
        one_by_one, more_passes = model.write(asked, 10, 200, wavefront=1, rest=1e-5)
        assert torch.equal(text, usual) and torch.equal(one_by_one, usual)
        assert (passes < 0.5 * more_passes).all()
    assert len({*usual[:, 7:].flatten().tolist()}) > 3


@torch.no_grad()
def test_a_token_that_is_guessed_right_at_once_costs_a_pass():
    model, asked = built(), tokens()
    model.loop = lambda h, e, t, positions: e  # rests after one loop
    text, passes = model.write(asked, 9)
    _, one_by_one = model.write(asked, 9, wavefront=1)
    assert torch.equal(text, model.generate(asked, 9, 1))
    assert (passes == 8).all() and (one_by_one == 8).all()
    model.loop = lambda h, e, t, positions: h + 2.0 ** -t_of(h, e) * e  # rests after a while
    _, passes = model.write(asked, 9, rest=0.05, most=64)
    assert (passes < 8 + 6).all()


def t_of(h, e):
    """How often h = e + e / 2 + e / 4 + .. has been looped."""
    share = (h / e).median(dim=2, keepdim=True).values
    return -torch.log2((2 - share).clamp(min=1e-6)).round() + 1


@torch.no_grad()
def test_the_core_of_unfinished_tokens_alone_runs(monkeypatch):
    model, asked = calm(), tokens(rows=2)
    changed, loop = [], LoopedGPT.loop

    def spy(self, h, e, t, positions):
        changed.append(h.clone())
        return loop(self, h, e, t, positions)

    monkeypatch.setattr(LoopedGPT, "loop", spy)
    model.think = lambda tokens, loops: model.begin(tokens)[0]
    model.write(asked, 8, wavefront=2, rest=0.0, most=3)
    for before, after in zip(changed, changed[1:]):
        moved = (after[:, : before.shape[1]] != before).any(2)
        assert (moved.sum(1) <= 2).all() and not moved[:, :7].any()
    assert len(changed) == 12  # 8 - 1 tokens of three loops, two at a time


@pytest.mark.parametrize("rest", (0.1, 0.3, 0.6))
@torch.no_grad()
def test_a_finished_token_has_come_to_rest_and_kept_its_word(rest):
    model, seen = calm(), []
    read_again = model.read_again

    def spy(h, text, finished):
        seen.append((h, text, finished[:, 0]))
        return read_again(h, text, finished)

    model.read_again = spy
    model.write(tokens(rows=40), 12, rest=rest)
    checked = 0
    for step in range(1, len(seen) - 1):
        (before, _, _), (h, text, done), (_, again, done_then) = seen[step - 1 : step + 2]
        for row in range(40):
            for place in range(done[row], done_then[row]):  # finished by this pass
                assert text[row, place] == again[row, place]
                if place < before.shape[1] and step < 64:  # began earlier, and not too long ago
                    moved = (h[row, place] - before[row, place]).norm()
                    assert moved < rest * h[row, place].norm()
                checked += 1
    assert checked > 300


def test_prompts_of_a_batch_do_not_disturb_each_other():
    model, asked = calm(), tokens()
    text, passes = model.write(asked, 8, rest=1e-3)
    for i, row in enumerate(asked):
        one_text, one_passes = model.write(row[None], 8, rest=1e-3)
        assert torch.equal(one_text[0], text[i]) and one_passes[0] == passes[i]


def test_what_it_cannot_be_is_refused():
    for wrong, said in (
        (dict(tied=False), "tied, causal"),
        (dict(causal=False), "tied, causal"),
        (dict(inner=0), "at least 1"),
        (dict(wavefront=0), "at least 1"),
        (dict(stir=1.0), "stir from 0 to below 1"),
    ):
        with pytest.raises(ValueError, match=said):
            built(**wrong)


def test_the_model_is_that_of_looped():
    model, plain = built(), build(model=LoopedGPT, config=Config)
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model(tokens()), plain(tokens()))
