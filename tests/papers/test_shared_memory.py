"""
The shared memories against a reader in Python that goes token by token and keeps no more than what
it may: the first loop's keys and values and a few of later loops, or one row that is overwritten.
"""

import pytest
import torch
from helpers import T, build, gradients, main, paper, tokens

from analyses.cache import read_token_by_token
from looped import LoopedGPT, rotate
from support.fast import speed_up

shared = paper("shared_memory")


def built(**changes):
    return build(model=shared.SharedMemory, config=shared.SharedConfig, **changes)


def plain_like(model, **changes):
    plain = build(model=LoopedGPT, **changes)
    plain.load_state_dict(model.state_dict(), strict=False)
    return plain


def look(attention, x, source, rows, place, positions):
    """
    One token x (C,) at a place looks at rows (place, key, value) and at its own, which is made from
    `source` and is returned, too.
    """
    weights = attention.qkv.weight.unflatten(0, (3, 2, -1))  # (3, H, D, C)
    q, k, v = weights[0] @ x, weights[1] @ source, weights[2] @ source  # (H, D)
    if positions.rotation is not None:
        turn = [part[place : place + 1] for part in positions.rotation]
        q, k = (rotate(part[None, :, None], *turn)[0, :, 0] for part in (q, k))
    own, y = (place, k, v), []
    for head in range(2):
        scores, values = [], []
        for j, key, value in [*rows, own]:
            bias = positions.bias[head, place, j] if positions.bias is not None else 0
            scores.append(q[head] @ key[head] / 8**0.5 + bias)
            values.append(value[head])
        y.append(torch.stack(scores).softmax(0) @ torch.stack(values))
    return attention.out(torch.cat(y)), own


def read(model, question, loops, window=None, shares=True):
    """
    The state (T, C) of one question, read token by token, in a model with one layer in the core;
    and the rows that are kept. With a window: `first`, or `none`. Without: `gated`, where a token
    before has one row, that of its last loop.
    """
    h, e, positions = LoopedGPT.begin(model, question[None])
    block, states = model.core[0], []
    shared_rows, own_rows = [], {t: [] for t in range(1, loops)}
    for place in range(T):
        state, m = h[0, place], None
        for t in range(loops):
            state = state + e[0, place]
            x = block.before_attention(state)
            if window is None:
                gate = block.attention.gate
                if t > 0:
                    both = torch.cat((x, m))
                    z = torch.sigmoid(gate.weight @ both + gate.bias)
                m = x if t == 0 else z * m + (1 - z) * x
                y, row = look(block.attention, x, m, shared_rows, place, positions)
            elif t == 0:
                y, row = look(block.attention, x, x, shared_rows, place, positions)
                first = row
            else:
                rows = [*shared_rows, first, *own_rows[t]] if shares else own_rows[t]
                y, row = look(block.attention, x, x, rows, place, positions)
                own_rows[t] = [*own_rows[t], row][-window:] if window else []
            state = block.after_attention(state + y)
            state = block.after_mlp(state + block.mlp(block.before_mlp(state)))
        shared_rows.append(row if window is None else first)
        states.append(state)
    return torch.stack(states), [*shared_rows, *(row for rows in own_rows.values() for row in rows)]


@pytest.mark.parametrize("position", ("none", "rope", "relative"))
@pytest.mark.parametrize("window", (0, 2, T))
@torch.no_grad()
def test_first_needs_the_rows_of_loop_one_and_a_few_of_each_later_loop(position, window):
    model = built(window=window, position=position, n_prelude=1)
    for question in tokens(rows=2):
        state, rows = read(model, question, 4, window)
        assert torch.allclose(model.think(question[None], 4)[0, :, :16], state, atol=1e-4)
    numbers = sum(key.numel() + value.numel() for _, key, value in rows)
    assert model.numbers_kept(T) * T == pytest.approx(numbers)
    assert numbers == 2 * 16 * (T + 3 * window)


@pytest.mark.parametrize("window", (0, 2))
@torch.no_grad()
def test_none_is_a_window_of_the_same_loop(window):
    model = built(memory="none", window=window, n_prelude=1)
    for question in tokens(rows=2):
        state, _ = read(model, question, 4, window, shares=False)
        assert torch.allclose(model.think(question[None], 4)[0, :, :16], state, atol=1e-4)


@pytest.mark.parametrize("norm", ("pre", "post"))
@torch.no_grad()
def test_gated_rewrites_a_vector_for_each_token_and_layer(norm):
    model = built(memory="gated", norm=norm, n_core=2)
    h, e, positions = LoopedGPT.begin(model, tokens())
    kept = [None, None]
    for t, state in enumerate(model.trajectory(tokens(), 4)[1:]):
        h = h + e
        for i, block in enumerate(model.core):
            x = block.before_attention(h)
            if t > 0:
                W, U = block.attention.gate.weight.chunk(2, dim=1)
                z = 1 / (1 + torch.exp(-(x @ W.T + kept[i] @ U.T + block.attention.gate.bias)))
            kept[i] = x if t == 0 else z * kept[i] + (1 - z) * x
            weights = block.attention.qkv.weight.unflatten(0, (3, 2, -1))
            q = torch.einsum("hdc,btc->bhtd", weights[0], x)
            k, v = torch.einsum("phdc,btc->pbhtd", weights[1:], kept[i])
            y = (q @ k.mT / 8**0.5 + positions.bias).softmax(-1) @ v
            h = block.after_attention(h + block.attention.out(y.transpose(1, 2).flatten(2)))
            h = block.after_mlp(h + block.mlp(block.before_mlp(h)))
        assert torch.allclose(state, torch.cat((h, *kept), dim=2), atol=1e-4)


@pytest.mark.parametrize("position", ("rope", "relative"))
@torch.no_grad()
def test_gated_can_be_read_with_one_row_for_each_token(position):
    model = built(memory="gated", position=position, n_prelude=1)
    found = read_token_by_token(model, tokens(), 4, "last")
    for row, question in enumerate(tokens()):
        state, rows = read(model, question, 4)
        assert torch.allclose(found[row], model.head(state), atol=1e-4)
    numbers = sum(key.numel() + value.numel() for _, key, value in rows)
    assert model.numbers_kept(T) * T == numbers == 2 * 16 * T
    assert not torch.allclose(found, model(tokens(), 4), atol=1e-2)  # read at once


@torch.no_grad()
def test_a_gate_that_is_open_is_the_plain_loop_and_one_that_is_shut_keeps_the_first():
    model = built(memory="gated")
    model.core[0].attention.gate.bias.fill_(-1e4)
    assert torch.allclose(model(tokens(), 4), plain_like(model)(tokens(), 4), atol=1e-5)
    model.core[0].attention.gate.bias.fill_(1e4)
    after = [state[..., 16:] for state in model.trajectory(tokens(), 4)[1:]]
    assert all(torch.equal(m, after[0]) for m in after)


def test_a_gate_begins_half_open():
    torch.manual_seed(0)
    model = shared.SharedMemory(built(memory="gated").config)
    assert not model.core[0].attention.gate.bias.any()


@pytest.mark.parametrize("memory", ("first", "gated"))
@torch.no_grad()
def test_the_first_loop_is_that_of_the_plain_model(memory):
    model = built(memory=memory, n_prelude=1, n_core=2)
    plain = plain_like(model, n_prelude=1, n_core=2)
    assert torch.allclose(model(tokens(), 1), plain(tokens(), 1), atol=1e-5)
    assert not torch.allclose(model(tokens(), 2), plain(tokens(), 2), atol=1e-2)


@pytest.mark.parametrize("memory", ("first", "gated"))
def test_each_sequence_keeps_its_own_memory_and_all_weights_learn(memory):
    model, counts = built(memory=memory, n_core=2), torch.tensor([3, 1, 2, 4, 2])
    alone = [model(tokens()[i : i + 1], int(count)) for i, count in enumerate(counts)]
    assert torch.allclose(model(tokens(), counts), torch.cat(alone), atol=1e-4)
    loss, _ = model.loss(tokens(), tokens(2), counts)
    assert torch.allclose(speed_up(model).loss(tokens(), tokens(2), counts)[0], loss, atol=1e-5)
    assert all(gradient.any() for gradient in gradients(model, loss).values())


def test_what_it_cannot_be_is_refused(elsewhere, capsys):
    wrong = (dict(tied=False), dict(memory="second"), dict(window=-1))
    for changes in (*wrong, dict(memory="gated", window=1)):
        with pytest.raises(ValueError):
            built(**changes)
    with pytest.raises(SystemExit):
        main("--task multihop --model shared_memory --sampler fixed --loops 4 --no-tied".split())
    assert "loops that share a memory" in capsys.readouterr().err
