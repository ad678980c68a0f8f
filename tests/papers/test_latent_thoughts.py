"""A pause is a token of its own."""

import pytest
import torch
from helpers import TINY, build, gradients, main, paper, tokens

from train import load_model

module = paper("latent_thoughts")


def test_a_token_is_answered_at_its_last_pause():
    model = build(model=module.PauseGPT, config=module.PauseConfig, pauses=2, position="none")
    vectors = model.embed.weight[tokens()[0]]
    pauses = [vector + pause for vector in vectors for pause in (0, *model.pauses)]
    x = torch.stack(pauses)[None]
    e = model.prelude_norm(x)
    h = e
    for t in range(4):
        h = model.loop(h, e, t, model.positions(h))
    assert torch.allclose(model(tokens()[:1]), model.head(h[:, 2::3]), atol=1e-5)
    found = gradients(model, model.loss(tokens(), tokens(2))[0])
    assert found["pauses"].abs().sum() > 0 and found["embed.weight"].abs().sum() > 0


def test_a_pause_knows_whose_it_is_without_positions():
    sizes = dict(model=module.PauseGPT, config=module.PauseConfig, pauses=2, position="none")
    model = build(**sizes, causal=False)
    logits = model(tokens()[:1])[0]
    first = tokens()[0, 0]
    for token, answer in zip(tokens()[0], logits):
        assert torch.allclose(answer, logits[0], atol=1e-5) == (token == first)


def test_it_reads_the_embedding_of_the_task(elsewhere):
    flags = ["--model", "latent_thoughts", "--n_head", "1", "--injection", "none", "--norm", "pre"]
    main(["--task", "chains", "--backprop_loops", "0", *flags, *TINY])
    model, task, _ = load_model("runs/chains")
    assert type(model.embed).__name__ == "EdgeEmbedding" and model.pauses.shape == (3, 16)
    batch = task.batch("val", 0, 5)
    assert model(batch.tokens, 2).shape[:2] == batch.tokens.shape


def test_another_start_is_refused():
    with pytest.raises(ValueError, match="begins with the embedding"):
        build(model=module.PauseGPT, config=module.PauseConfig, state_init="noise")
