"""The tasks against plain Python: a follower of hops, the definition of p-hop, int addition."""

import pytest
import torch
from helpers import make_task

from looped import Config, LoopedGPT
from more_tasks.composition import Composition
from more_tasks.phop import PHop
from tasks import IGNORE, Addition, MultiHop, Sudoku


@pytest.fixture(params=["multihop", "phop", "addition", "sudoku"])
def task(request, banks):
    return make_task(request.param, banks)


# ---- what all tasks promise


def test_a_batch_is_a_pure_function_of_seed_split_and_step(task, banks):
    first = task.batch("train", 5, 16)
    for split, step in (("train", 4), ("val", 5), ("train", 6)):
        assert not torch.equal(task.batch(split, step, 16).tokens, first.tokens)
    again, elsewhere = (
        task.batch("train", 5, 16),
        make_task(type(task).__name__.lower(), banks).batch("train", 5, 16),
    )
    other_seed = make_task(type(task).__name__.lower(), banks, seed=1).batch("train", 5, 16)
    for one, two, three in zip(first, again, elsewhere):
        assert torch.equal(one, two) and torch.equal(one, three)
    assert not torch.equal(first.tokens, other_seed.tokens)


def test_a_batch_ignores_all_other_random_numbers(task):
    first = task.batch("val", 3, 8)
    torch.manual_seed(123)
    torch.rand(7)
    assert torch.equal(first.tokens, task.batch("val", 3, 8).tokens)


def test_difficulty_is_what_was_asked_for(task):
    for difficulty in (1, 2, 3):
        batch = task.batch("test", 0, 20, difficulty)
        assert (batch.difficulty == difficulty).all() and torch.equal(
            batch.difficulty, task.measure(batch.tokens)
        )
    if not isinstance(task, Addition):  # half of a mixture is left to chance there
        assert set(task.batch("train", 0, 200, (2, 3)).difficulty.tolist()) == {2, 3}


def test_a_perfect_prediction_is_right_and_any_other_wrong(task):
    batch = task.batch("val", 0, 30)
    perfect = batch.targets.clamp(min=0)
    assert task.check(batch, perfect).all()
    wrong = perfect.clone()
    # the last place where an answer is asked
    last = (batch.targets != IGNORE).float().cumsum(1).argmax(1)
    wrong[range(30), last] = (wrong[range(30), last] + 1) % task.vocab_size
    assert not task.check(batch, wrong).any()


# How many batches of 100 show whether two splits share a question. In the larger worlds no two
# questions are ever the same, so there `belongs` decides.
BATCHES = dict(multihop=20, sudoku=20, phop=4, addition=4)


def questions(task, split):
    name = type(task).__name__.lower()
    rows = []
    for step in range(BATCHES[name]):
        rows += task.batch(split, step, 100).tokens.tolist()
    if isinstance(task, MultiHop):  # the facts themselves are everybody's
        rows = [row for row in rows if row[2] != task.pad]
    return {tuple(row) for row in rows}


def test_splits_are_disjoint_and_do_not_depend_on_the_seed(task, banks):
    train, val, test = (questions(task, split) for split in ("train", "val", "test"))
    other = questions(make_task(type(task).__name__.lower(), banks, seed=1), "test")
    assert len(train) > 150 and len(val) > 40 and len(test) > 40 and len(other) > 40
    assert not train & val and not train & test and not val & test and not train & other
    for split in ("train", "val", "test"):
        batch = task.batch(split, 3, 100)
        assert isinstance(task, Sudoku) or task.belongs(batch.tokens, split).all()


def test_splits_of_a_small_world_share_no_question():
    tiny = Addition(digits=1)
    train, test = (
        {tuple(q) for step in range(20) for q in tiny.batch(s, step, 100).tokens.tolist()}
        for s in ("train", "test")
    )
    assert len(train) > 60 and len(test) > 4 and not train & test


def test_unknown_splits_are_refused(task):
    with pytest.raises(ValueError, match="train, val, test"):
        task.batch("dev", 0, 4)


# ---- multihop


def test_multihop_against_a_follower():
    task = MultiHop(hops=5)
    facts = task.facts.tolist()
    assert all(sorted(relation) == list(range(24)) for relation in facts)
    batch = task.batch("train", 0, 300)
    for tokens, targets, difficulty in zip(
        batch.tokens.tolist(), batch.targets.tolist(), batch.difficulty.tolist()
    ):
        entity, *relations = [token for token in tokens if token != task.pad]
        assert len(relations) == difficulty
        for relation in relations:
            entity = facts[relation - 24][entity]
        assert targets[difficulty] == entity
        assert all(target == IGNORE for i, target in enumerate(targets) if i != difficulty)
    assert set(batch.difficulty.tolist()) == {1, 2, 3, 4, 5}


def test_multihop_padding_does_not_move_a_question_to_another_split():
    task = MultiHop(hops=5)
    batch = task.batch("train", 0, 200, (2, 5))
    two = batch.tokens[batch.difficulty == 2]
    assert task.belongs(two[:, :3], "train").all() and task.belongs(two, "train").all()


def test_multihop_shows_what_its_docstring_promises():
    task = MultiHop()
    assert (
        task.show(torch.tensor([2, 26, 24, 28, 28]), torch.tensor([0, 0, 5, 0, 0]))
        == "c r2 r0 -> f"
    )


def test_a_pause_moves_the_answer_and_nothing_else():
    plain, paused = MultiHop(), MultiHop(pause=3)
    batch = paused.batch("train", 0, 100)
    assert batch.tokens.shape[1] == 1 + plain.hops + 3
    for tokens, targets, hops in zip(batch.tokens, batch.targets, batch.difficulty.tolist()):
        answer = plain.answer(tokens[None, : hops + 1])[0, hops]
        assert targets[hops + 3] == answer and (targets != IGNORE).sum() == 1
        assert paused.truth(batch._replace(tokens=tokens[None]))[
            0, hops : hops + 4
        ].unique().tolist() == [answer]
    shown = paused.show(
        torch.tensor([2, 26, 24, 28, 28, 28, 28]), torch.tensor([0, 0, 0, 0, 0, 5, 0])
    )
    assert shown == "c r2 r0 . . . -> f"


# ---- composition


def test_compositions_against_a_follower_and_their_splits_against_the_definition():
    task = Composition(entities=12, relations=5, alone=0.2, seed=3)
    facts = {
        (entity, 12 + r): to
        for r, row in enumerate(task.facts.tolist())
        for entity, to in enumerate(row)
    }
    asked = {split: [] for split in ("train", "val", "test", "alone", "alone_test")}
    for split, each in asked.items():
        batch = task.batch(split, 0, 2000, 2)
        for (start, first, second), targets in zip(batch.tokens.tolist(), batch.targets.tolist()):
            assert targets == [IGNORE, IGNORE, facts[facts[start, first], second]]
            each.append((start, first, second))
    parts = {
        split: {part for a, r, s in each for part in ((a, r), (facts[a, r], s))}
        for split, each in asked.items()
    }
    composed = parts["train"] | parts["val"] | parts["test"]
    alone = parts["alone"] | parts["alone_test"]
    assert alone and not alone & composed  # a fact is either composed or alone, never both
    assert (
        asked["alone"]
        and asked["alone_test"]
        and not set(asked["alone"]) & set(asked["alone_test"])
    )
    every = {(start, first, second) for start, first in facts for second in range(12, 17)}
    both = {triple for triple in every if {triple[:2], (facts[triple[:2]], triple[2])} <= alone}
    assert both == set(asked["alone"]) | set(asked["alone_test"])
    train, val, test = (set(asked[split]) for split in ("train", "val", "test"))
    assert not train & val and not train & test and not val & test
    assert len(asked["train"]) == 2000 > len(train)  # a list that is too short begins again
    single = task.batch("train", 0, len(facts), 1)
    shown = {
        (start, relation): target
        for (start, relation, _), (_, target, _) in zip(*map(torch.Tensor.tolist, single[:2]))
    }
    assert shown == facts  # all facts are trained, those alone, too
    assert (single.difficulty == 1).all() and task.difficulties("alone") == [2]


def test_a_mixture_is_uniform_over_facts_and_shown_compositions():
    task = Composition(composed=0.9)
    facts, pairs = len(task.listed["train", 1]), len(task.listed["train", 2])
    assert facts == 640 and 0.85 < pairs / len(Composition().listed["train", 2]) < 0.95
    everything = task.batch("train", 0, facts + pairs)
    assert (
        len(everything.tokens.unique(dim=0)) == facts + pairs
        and (everything.difficulty == 1).sum() == facts
    )


def test_composition_shows_what_its_docstring_promises():
    task = Composition()
    assert task.show(torch.tensor([7, 66, 64]), torch.tensor([0, 0, 3])) == "e7 r2 r0 -> e3"
    assert task.show(torch.tensor([7, 66, 74]), torch.tensor([0, 40, 0])) == "e7 r2 -> e40"
    for sizes in (dict(entities=2, relations=1), dict(alone=0), dict(composed=2)):
        with pytest.raises(ValueError, match="no .* questions|is a share"):
            Composition(**sizes)
    with pytest.raises(ValueError, match="no alone question"):
        task.batch("alone", 0, 5, 1)


# ---- phop


def hops_back(text, hops):
    """Places after 0, 1, .. hops from the last letter, as many as there are."""
    places = [len(text) - 1]
    while len(places) <= hops and text[places[-1]] in text[: places[-1]]:
        places.append(text.rindex(text[places[-1]], 0, places[-1]) + 1)
    return places


@pytest.mark.parametrize("split, difficulty", (("train", None), ("test", 10)))
def test_phop_against_the_definition(split, difficulty):
    task = PHop(hops=3)
    batch = task.batch(split, 0, 60, difficulty)
    fewer = [task.shortcuts(batch)[name][:, -1].tolist() for name in ("1 hop less", "2 hops less")]
    for row, (tokens, targets, p) in enumerate(zip(*(part.tolist() for part in batch))):
        head, text = task.show(batch.tokens[row]).split("]")
        assert head == "[" + p * ">" and all(
            len(set(text[i : i + 3])) == 3 for i in range(len(text) - 2)
        )
        for end in range(1, len(text) + 1):
            places, target = hops_back(text[:end], p), targets[p + 1 + end]
            assert target == IGNORE if len(places) <= p else chr(97 + target) == text[places[p]]
        places = hops_back(text, p)
        assert (
            len(places) == p + 1
            and text[places[p - 1]] == chr(97 + fewer[0][row]) != text[places[p]]
        )
        assert text[places[max(0, p - 2)]] == chr(97 + fewer[1][row])
        assert targets[: p + 2] == [IGNORE] * (p + 2)


def test_fewer_hops_than_asked_score_little():
    task = PHop()
    for p in (2, 4, 8):
        batch = task.batch("test", 0, 500, p)
        scores = [
            task.check(batch, said).float().mean().item() for said in task.shortcuts(batch).values()
        ]
        assert scores[0] == 0 and scores[1] < 0.2
        # of 500: no letter is the answer more often
        assert batch.targets[:, -1].bincount(minlength=4).min() > 90


def test_phop_shows_what_its_docstring_promises():
    task = PHop(hops=2, length=8)
    tokens = torch.tensor([[4, 5, 5, 6, 1, 0, 3, 2, 0, 1, 3, 2]])
    assert task.show(tokens[0], task.answer(tokens)[0]) == "[>>]badcabdc -> d"
    line, said = PHop.__doc__.split('"')[1:4:2]
    assert f"{line} -> {said}" == "[>>]badcabdc -> d"


def test_no_longer_walk_is_asked_for_than_a_text_has():
    assert PHop(length=32).hardest == 10
    PHop(length=32).batch("test", 0, 100, 10)
    with pytest.raises(ValueError, match="too short to walk hops=4: make it 12"):
        PHop(length=11)


# ---- addition


def nines(a, b):
    """
    (places, carry in) of the longest run of digits that add up to 9, by int addition. Of several
    it is the highest.
    """
    n, best = len(a), (0, None)
    for start in range(n):
        for end in range(start + 1, n + 1):
            if (
                all(x + y == 9 for x, y in zip(a[start:end], b[start:end]))
                and end - start >= best[0]
            ):
                below = [sum(x * 10**i for i, x in enumerate(digits[:start])) for digits in (a, b)]
                best = end - start, sum(below) // 10**start
    return best


@pytest.mark.parametrize("difficulty", (None, 1, 2, 4, 8, 11))
def test_addition_against_int(difficulty):
    task = Addition()
    batch = task.batch("train", 0, 200, difficulty)
    carried = task.parts(batch.tokens)["a carry comes in"].tolist()
    for i, (tokens, targets) in enumerate(zip(batch.tokens.tolist(), batch.targets.tolist())):
        a, b = tokens[1:-1:2], tokens[2:-1:2]
        answer = targets[2:-1:2] + targets[-1:]
        value = [int("".join(map(str, reversed(digits)))) for digits in (a, b, answer)]
        assert value[0] + value[1] == value[2]
        run, carry = nines(a, b)
        assert batch.difficulty[i] == run + 1 and carried[i] == (answer[-1] if run == 0 else carry)
        assert (
            tokens[0] == 11
            and tokens[-1] == 10
            and all(targets[i] == IGNORE for i in range(1, len(tokens) - 1, 2))
        )


@pytest.mark.parametrize("digits, difficulty", ((8, 2), (8, 3), (8, 8), (8, 12), (20, 12)))
def test_a_carry_comes_into_every_second_run_of_nines(digits, difficulty):
    task = Addition(digits=digits)
    batch = task.batch("test", 0, 100, difficulty)
    assert task.parts(batch.tokens)["a carry comes in"].sum() == 50
    rows = ["".join(str(min(x, 10) % 10) for x in row) for row in task.sums(batch.tokens).tolist()]
    starts = {row.find("9" * (difficulty - 1)) for row in rows}
    assert len(starts) > min(4, digits - difficulty)  # not always at the same place


def test_half_of_a_mixed_addition_batch_has_a_long_run():
    difficulty = Addition().batch("train", 0, 4000).difficulty
    uniform = Addition().question(torch.Generator().manual_seed(0), torch.full((4000,), -1))
    natural = (Addition().measure(uniform) >= 5).float().mean()
    assert natural < 0.02 and 0.2 < (difficulty >= 5).float().mean() < 0.35


def test_addition_shows_what_its_docstring_promises():
    task = Addition(digits=2)
    tokens = torch.tensor([[11, 6, 7, 3, 4, 10]])
    assert task.answer(tokens).tolist() == [[IGNORE, IGNORE, 3, IGNORE, 8, 0]]
    assert task.show(tokens[0], task.answer(tokens)[0]) == "36+47=083"


def test_leading_zeros_do_not_make_another_question():
    short, long = (
        torch.tensor([[11, 6, 7, 3, 4, 10]]),
        torch.tensor([[11, 6, 7, 3, 4, 0, 0, 0, 0, 10]]),
    )
    for split in ("train", "val", "test"):
        assert Addition().belongs(short, split) == Addition().belongs(long, split)


# ---- where does a question begin?


@pytest.mark.parametrize(
    "words",
    ("> 5 5 5 5 5 5 =", "a r0 r0 r0 r0", "[ > > > > ]"),
    ids=("addition", "multihop", "phop"),
)
def test_a_token_that_stands_nowhere_else_tells_constant_texts_apart(words):
    """
    Without it attention, which knows distances alone, would see the same at every position of a
    constant text.
    """
    numbers = {word: i for i, word in enumerate(dict.fromkeys(words.split()))}
    text = torch.tensor([[numbers[word] for word in words.split()]])
    for position in ("relative", "window", "rope"):
        model = LoopedGPT(Config(len(numbers), position=position))
        constant = [i for i, word in enumerate(words.split()) if words.split().count(word) > 2]
        states = model.think(text, 12)[0, constant]
        assert torch.cdist(states, states).fill_diagonal_(1).min() > 1e-3
        # without the first token there is nothing to tell them apart by
        cut = model.think(text[:, constant], 12)[0]
        assert torch.cdist(cut, cut).max() < 1e-3
