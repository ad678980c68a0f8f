"""The machine against interpreters of its instruction, its parts against closed forms."""

import math

import pytest
import torch
from torch.nn import functional as F

from claims import subleq
from claims.programmable_computer import build, exact_steps


def signed(number, bits=8):
    return number - 2**bits if number >= 2 ** (bits - 1) else number


def one_instruction(words, counter, bits):
    """SUBLEQ with signed integers, another way than in subleq.py; words wrap around."""
    cells, half = len(words), 2 ** (bits - 1)
    a, b, c = (words[(counter + i) % cells] % cells for i in range(3))
    result = (signed(words[b], bits) - signed(words[a], bits) + half) % (2 * half) - half
    words = [*words[:b], result % (2 * half), *words[b + 1 :]]
    return words, (c if result <= 0 else counter + 3) % cells


@pytest.mark.parametrize("cells, bits", ((4, 2), (8, 3), (16, 9), (32, 8)))
def test_random_programs_step_by_step(cells, bits):
    model = build(cells, bits)
    tokens = torch.randint(2**bits, (20, cells), generator=torch.Generator().manual_seed(5))
    rows, counters = tokens.tolist(), [0] * 20
    for h in model.trajectory(tokens, 30).detach():
        assert model.number(h, "word").tolist() == rows
        assert all(model.number(h, "pc")[i].tolist() == [counters[i]] * cells for i in range(20))
        assert model.readout(h).argmax(-1).tolist() == rows
        rows, counters = map(
            list, zip(*(one_instruction(*each, bits) for each in zip(rows, counters)))
        )


def test_its_interpreter_and_its_programs():
    for text, wanted in subleq.PROGRAMS.values():
        words, names = subleq.assemble(text, 128, 8)
        row, counter, steps = words.tolist(), 0, 0
        while (after := one_instruction(row, counter, 8))[1] != counter or after[0] != row:
            (row, counter), steps = after, steps + 1
        assert {name: signed(row[names[name]]) for name in wanted} == wanted
        assert list(subleq.interpret(words.tolist(), 8, steps))[-1] == (counter, row)
        logits, loops = build(128).solve(words[None], threshold=1e-4, max_loops=256)
        assert logits.argmax(-1)[0].tolist() == row and steps <= loops <= steps + 3


def test_the_parts():
    model = build(16, 6)
    h, _, positions = model.begin(torch.arange(16)[None] * 4)
    for block in model.core:
        read = block.before_attention(h)
        assert torch.allclose(
            read, h, atol=1e-4
        )  # the norm divides by a constant that its gain undoes
        h = h + block.attention(read, positions)
        assert torch.allclose(block.before_mlp(h), h, atol=1e-4)
        h = block(h - block.attention(read, positions), positions)
    x = torch.arange(-60.0, 61)  # of a step: the two units, at what whole numbers put in
    ramp = (F.gelu(32 * (x - 0.25)) - F.gelu(32 * (x - 0.75))) / 16
    assert torch.equal(ramp, (x >= 1).float())


def test_a_soft_attention_leaks_as_the_closed_form_says():
    """Scores are sums over the bits of an address, so a cell's share is a product over them."""
    for sharpness in (1.0, 4.0):
        model = build(16, 6, sharpness=sharpness)
        h, _, positions = model.begin(
            torch.full((1, 16), 0b111111).index_fill(1, torch.tensor(0), 0)
        )
        fetched = model.core[0].attention(model.core[0].before_attention(h), positions)
        share = 1 / (1 + math.exp(-sharpness)) ** 4
        assert torch.allclose(fetched[0, :, model.at["a"]], torch.tensor(1 - 2 * share), atol=1e-4)


def test_the_steps_up_to_the_first_error_are_exact():
    words = torch.randint(2**8, (6, 32), generator=torch.Generator().manual_seed(1))
    exact, distinct = exact_steps(build(loops=5), words)
    assert exact.shape == (6, 6) and exact.all()
    for row, count in zip(words.tolist(), distinct):
        states = {(counter, *memory) for counter, memory in subleq.interpret(row, 8, 5)}
        assert count == len(states)
    wrong = build(loops=5, sharpness=0.1)
    exact, _ = exact_steps(wrong, words)
    assert exact[0].all() and not exact[-1].any()


def test_what_it_cannot_be_is_refused():
    for cells, bits in ((12, 8), (2, 8), (32, 4)):
        with pytest.raises(ValueError, match="4 <= cells <= words"):
            build(cells, bits)
    with pytest.raises(ValueError, match="8 cells, not 5"):
        build(8, 4)(torch.zeros(1, 5, dtype=torch.long))
