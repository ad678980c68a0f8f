"""Attention to earlier loops, written out token by token with a Python list of keys and values."""

import pytest
import torch
from helpers import VOCAB, T, build, gradients, paper, tokens

from looped import LoopedGPT, rotate
from support.fast import speed_up

cotformer = paper("cotformer")


def built(**changes):
    return build(model=cotformer.CoTFormer, **changes)


def by_hand(model, question, loops, room):
    """
    The state (T, C) of one question after each loop. A layer remembers a list of loops, no more
    than `room`, each with its keys and values (H, T, D).
    """
    h, e, positions = LoopedGPT.begin(model, question[None])
    remembered = [[] for _ in model.core]
    states = []
    for t in range(loops):
        h = h + e
        for block, lists in zip(model.core_of(t), remembered):
            x = block.before_attention(h)[0]
            weights = block.attention.qkv.weight.unflatten(0, (3, 2, -1))
            q, k, v = torch.einsum("phdc,tc->phtd", weights, x)
            if positions.rotation is not None:
                q, k = rotate(q, *positions.rotation), rotate(k, *positions.rotation)
            lists.append((k, v))
            del lists[:-room]
            y = torch.zeros_like(q)
            for head in range(2):
                for i in range(T):
                    scores, values = [], []
                    for k, v in lists:
                        for j in range(i + 1):
                            bias = positions.bias[head, i, j] if positions.bias is not None else 0
                            scores.append(q[head, i] @ k[head, j] / 8**0.5 + bias)
                            values.append(v[head, j])
                    y[head, i] = torch.stack(scores).softmax(0) @ torch.stack(values)
            y = block.attention.out(y.transpose(0, 1).flatten(1))
            h = block.after_attention(h + y[None])
            h = block.after_mlp(h + block.mlp(block.before_mlp(h)))
        states.append(h[0])
    return states


@pytest.mark.parametrize("norm", ("pre", "post"))
@pytest.mark.parametrize("position", ("none", "rope", "relative"))
@torch.no_grad()
def test_a_token_sees_what_all_loops_made_of_the_tokens_up_to_its_own(position, norm):
    model = built(position=position, norm=norm, n_core=2, n_prelude=1)
    for question in tokens(rows=2):
        expected = by_hand(model, question, 4, room=4)
        for t, state in enumerate(model.trajectory(question[None], 4)[1:]):
            assert torch.allclose(model.proper_state(state)[0], expected[t], atol=1e-4)


@torch.no_grad()
def test_loops_beyond_those_of_training_forget_the_oldest():
    model, question = built(loops=2, n_core=2), tokens()[0]
    state = model.think(question[None], 5)
    assert torch.allclose(state[0, :, :16], by_hand(model, question, 5, room=2)[-1], atol=1e-4)
    assert not torch.allclose(state[0, :, :16], by_hand(model, question, 5, room=5)[-1], atol=1e-2)


@torch.no_grad()
def test_the_first_loop_is_that_of_the_plain_model_and_the_second_is_not():
    model, plain = built(n_prelude=1, n_coda=1), build(n_prelude=1, n_coda=1)
    plain.load_state_dict(model.state_dict())
    assert torch.allclose(model(tokens(), 1), plain(tokens(), 1), atol=1e-5)
    assert not torch.allclose(model(tokens(), 2), plain(tokens(), 2), atol=1e-2)


@torch.no_grad()
def test_each_sequence_keeps_its_own_loops():
    model, counts = built(n_core=2), torch.tensor([3, 1, 2, 4, 2])
    alone = [model(tokens()[i : i + 1], int(count)) for i, count in enumerate(counts)]
    assert torch.allclose(model(tokens(), counts), torch.cat(alone), atol=1e-4)
    logits, used = model.solve(tokens(), lambda model, before, h, *_: h[:, 0, 0], 0.0, max_loops=4)
    assert len(used.unique()) > 1 and torch.allclose(logits, model(tokens(), used), atol=1e-4)
    loss, _ = model.loss(tokens(), tokens(2), counts)
    assert torch.allclose(speed_up(model).loss(tokens(), tokens(2), counts)[0], loss, atol=1e-5)


def test_no_weights_are_added_and_all_of_them_learn():
    model, plain = built(n_core=2, tied=False), build(n_core=2, tied=False)
    assert model.config.vocab_size == VOCAB
    assert {n: p.shape for n, p in model.named_parameters()} == {
        n: p.shape for n, p in plain.named_parameters()
    }
    found = gradients(model, model.loss(tokens(), tokens(2))[0])
    assert all(gradient.any() for gradient in found.values())


def test_a_board_sees_all_of_its_cells():
    model = built(causal=False, position="none")
    plain = build(causal=False, position="none")
    plain.load_state_dict(model.state_dict())
    assert torch.allclose(model(tokens(), 1), plain(tokens(), 1), atol=1e-5)
