"""What five claims measure: the texts against a walk in Python, and phi against known laws."""

import math

import pytest
import torch
from helpers import build, paper, tokens

from claims import mixture_of_experts, recurrence_worth, retrofitted_recurrence, timestep
from claims.rows import Table
from claims.texts import Texts
from looped import Config, LoopedGPT
from papers.mixture_of_experts import ExpertsConfig, MoEUT
from tasks import IGNORE


@pytest.mark.parametrize("chain", (True, False))
@pytest.mark.parametrize("hops", (1, 2, 3))
def test_a_text_is_walked_token_by_token(chain, hops):
    task = Texts(chain=chain, seed=3, hops=3, written=6)
    batch = task.batch("test", 0, 40, hops)
    for row, targets, difficulty in zip(*(part.tolist() for part in batch)):
        relations, places = row[:18], row[18 : task.asked]
        assert len(places) == (1 if chain else 6) and difficulty == hops
        place, expected = places[0], []
        for i in range(6):
            if not chain:
                place = places[i]
            for relation in (relations[i], relations[6 + i], relations[12 + i])[:difficulty]:
                place = int(task.facts[relation - 16][place])
            expected.append(place)
        assert relations[6 * difficulty :] == [task.pad] * (18 - 6 * difficulty)
        assert row[task.asked :] == expected[:5]
        assert targets == [IGNORE] * (task.asked - 1) + expected


def test_a_prompt_is_in_one_split():
    task = Texts()
    prompts = {
        split: {tuple(row[: task.asked]) for row in task.batch(split, 0, 200).tokens.tolist()}
        for split in ("train", "val", "test")
    }
    assert not prompts["train"] & prompts["test"] and not prompts["val"] & prompts["test"]


def law(weights):
    return 40 * weights**-0.3


@pytest.mark.parametrize("phi", (0.0, 0.46, 1.0))
def test_phi_is_found_where_the_losses_follow_the_law(phi):
    rows = []
    for kind in recurrence_worth.TASKS:
        for width in recurrence_worth.WIDTHS[kind]:
            weights = 4 * 12 * width**2
            rows.append(dict(kind=kind, width=width, weights=weights, loss=law(weights), r=1))
        for name, r in ((recurrence_worth.R2, 2), (recurrence_worth.R4, 4)):
            weights = 4 // r * 12 * recurrence_worth.LOOPED**2
            loss = law(r**phi * weights)
            rows.append(dict(kind=kind, model=name, weights=weights, loss=loss, r=r))
    for kind in recurrence_worth.TASKS:
        for name in (recurrence_worth.R2, recurrence_worth.R4):
            found = recurrence_worth.phi_of(Table([rows, rows]), kind, name)
            assert found == pytest.approx([phi, phi], abs=0.01)
            assert recurrence_worth.unmeasured(Table([rows, rows]), kind, [name]) == ""
    rows[-1]["loss"] = law(1e9)
    found = recurrence_worth.unmeasured(Table([rows, rows]), kind, [name])
    assert found == f"stacks whose losses reach as far as that of {name}"


def test_a_wide_stack_that_is_worse_by_chance_does_not_count():
    worth = recurrence_worth.worth
    assert worth([3.0, 2.0, 2.5, 1.0], [10, 20, 30, 40], 2.0) == pytest.approx(20)
    assert worth([3.0, 2.0, 1.0], [10, 20, 40], math.sqrt(2)) == pytest.approx(20 * math.sqrt(2))
    assert worth([3.0, 2.0, 1.0], [10, 20, 40], 9.0) == pytest.approx(10)
    assert worth([3.0, 2.0, 1.0], [10, 20, 40], 0.1) == pytest.approx(40)


def test_the_stack_gets_as_many_layers_as_the_loop():
    claim, cost = retrofitted_recurrence, 0
    for step in range(1, claim.FEW + 1):
        loops = math.ceil(claim.LOOPS * min(1, step / claim.RAMP))
        cost += 1 + 2 * loops + 1
    for layers in (claim.LAYERS, 4):
        assert claim.trained_on(layers)["steps"] * layers == pytest.approx(cost, rel=0.01)


def test_a_stack_is_trained_on_as_it_is():
    """The control of that claim: before its first step it is the stack."""
    settings = dict(n_core=1, loops=6, tied=False, injection="none", norm="pre")
    stack = build(seed=3, model=LoopedGPT, config=Config, **settings)
    retrofitted = paper("retrofitted_recurrence")
    as_it_is = {k: v for k, v in retrofitted_recurrence.AS_IT_IS.items() if k != "sampler"}
    config = retrofitted.RetrofittedConfig(
        vocab_size=11, n_embd=16, n_head=2, n_prelude=5, **as_it_is
    )
    model = retrofitted.RetrofittedGPT(config)
    model.convert(stack)
    assert torch.allclose(model(tokens()), stack(tokens()), atol=1e-5)


@pytest.mark.parametrize("unlearned", (timestep.TOLD, timestep.PLAIN, timestep.UNTOLD))
def test_a_control_that_has_not_learned_decides_nothing(unlearned):
    by_seed = []
    for seed in range(3):
        rows = []
        for name in timestep.MODELS:
            right = 0.1 if name == unlearned else 0.95 if name == timestep.TOLD else 0.8
            rows.append(dict(model=name, loss=0.1 * seed, right=right, weights=1))
        by_seed.append(rows)
    _, parts = timestep.judge(Table(by_seed))
    for part in parts:
        decides = unlearned != timestep.TOLD and not part.name.endswith(unlearned)
        assert part.answer == "yes" if decides else "has not learned" in part.answer


def test_a_token_multiplies_with_the_experts_that_it_uses():
    sizes = dict(vocab_size=11, n_embd=24, n_head=2, loops=3, n_core=2)
    shape = dict(experts=24, chosen=4, expert_width=12, head_experts=4, head_chosen=2)
    used = 2 * 24**2 + 2 * 2 * 24**2  # queries and keys; two matrices each for values and output
    used += 2 * 24 * 2 * 4  # the routers of two heads, for values and output
    used += 24 * 24 + 4 * 2 * 24 * 12  # the router of the MLP, and four experts
    model = MoEUT(ExpertsConfig(**sizes, **shape))
    assert mixture_of_experts.multiplications(model) == 6 * used
    assert mixture_of_experts.multiplications(LoopedGPT(Config(**sizes))) == 6 * 12 * 24**2
