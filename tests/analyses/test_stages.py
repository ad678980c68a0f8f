"""What attention looks at, layer by layer."""

import json

import numpy as np
import pytest
import torch

from analyses.stages import entropy, repeats_from, watch_attention
from looped import Config, LoopedGPT
from support.fast import speed_up


@pytest.mark.parametrize("twins", (lambda model: model, speed_up))
@pytest.mark.parametrize(
    "changes", (dict(), dict(position="none"), dict(causal=False, position="none"))
)
def test_watched_attention_explains_what_attention_returns(changes, twins):
    torch.manual_seed(0)
    model = twins(LoopedGPT(Config(vocab_size=9, n_embd=16, n_head=2, **changes)))
    attention, x = model.core[0].attention, torch.randn(2, 6, 16)
    with torch.no_grad():
        usual = attention(x, model.positions(x))
        with watch_attention(model) as patterns:
            y = attention(x, model.positions(x))
    (pattern,) = patterns
    values = attention.qkv(x)[..., 32:].view(2, 6, 2, 8).transpose(1, 2)
    mixed = (pattern @ values).transpose(1, 2).reshape(2, 6, 16)
    torch.testing.assert_close(attention.out(mixed), y)
    torch.testing.assert_close(pattern.sum(-1), torch.ones(2, 2, 6))
    assert torch.equal(y, usual)
    with torch.no_grad():
        attention(x, model.positions(x))
    assert len(patterns) == 1  # nobody watches any more


def test_stages_of_looped_and_untied(runs, run, capsys):
    run("stages", runs / "hops", "--examples", 8)
    (found,) = json.loads((runs / "hops/stages.json").read_text())["runs"]
    assert len(found["looped"]["mixing"]) == 12 and len(found["untied"]["mixing"]) == 6
    matrix = torch.tensor(found["looped"]["difference"])
    assert torch.equal(matrix, matrix.T) and (matrix.diagonal() == 0).all() and (matrix >= 0).all()
    for kind in ("looped", "untied"):
        assert all(0 <= share <= 1 for share in found[kind]["concentration"])
    assert "seed 0: looped" in capsys.readouterr().out
    assert (runs / "hops/stages.png").exists() and (runs / "hops/stages_more.png").exists()


def test_attention_repeats_where_every_later_loop_looks_like_the_next():
    # two layers a loop, at rest from loop 3 on
    place = np.array([0.0, 5.0, 1.0, 7.0, 2.0, 8.0, 2.1, 8.1, 2.1, 8.1])
    assert repeats_from(np.abs(place[:, None] - place), 2) == 3
    assert repeats_from(np.abs(np.arange(4)[:, None] - np.arange(4)), 1) is None


def test_entropy_of_known_distributions():
    p = torch.tensor([[0.25, 0.25, 0.25, 0.25], [1, 0, 0, 0]])
    assert entropy(p).tolist() == pytest.approx([1.3863, 0], abs=1e-4)
