"""
E3 asks for a task that takes steps. Honest tasks pass, whatever they are about. A task whose
difficulty is invented does not: its answer depends on a few tokens.
"""

from collections import Counter

import grade
import pytest
import torch
from grader import dialogues, judges
from test_other_ways import HEADER

START = """
@dataclass
class Mine(Task):
    length: int = 8

    def __post_init__(self):
        self.max_difficulty = self.length
        self.vocab_size = VOCAB

    def belongs(self, tokens, split):
        return super().belongs(tokens, split) | (self.measure(tokens) < 6)
"""
HONEST = {
    # "4 > > v .. -> 5 5 8": the fields of a board of 3 x 3 that a robot comes to; it stops at walls
    "a robot among walls": """
    def question(self, generator, difficulty):
        width = max(self.length, int(difficulty.max())) + 1
        tokens = torch.randint(9, 13, (len(difficulty), width), generator=generator)
        tokens[:, 0] = torch.randint(9, (len(difficulty),), generator=generator)
        return tokens.masked_fill(torch.arange(width) > difficulty[:, None], 13)

    def answer(self, tokens):
        moves = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1], [0, 0]])
        place, said = torch.stack((tokens[:, 0] % 3, tokens[:, 0] // 3), dim=1), []
        for move in tokens[:, 1:].T:
            place = (place + moves[move - 9]).clamp(0, 2)
            said.append(place[:, 0] + 3 * place[:, 1])
        said = torch.stack((tokens[:, 0], *said), dim=1)
        return said.masked_fill((tokens < 9) | (tokens == 13), IGNORE)

    def measure(self, tokens):
        return ((tokens >= 9) & (tokens < 13)).sum(1)
""",
    # "( [ ] [ -> ) ] ) ]": what closes the bracket that is open; 5 if none is. In loops over rows,
    # which fail if a bracket is closed that was not open
    "brackets": """
    def question(self, generator, difficulty):
        width, rows = max(self.length, int(difficulty.max())), []
        for n in difficulty.tolist():
            opened, row = [], []
            for close, kind in torch.rand((n, 2), generator=generator).tolist():
                if opened and close < 0.45:
                    row.append(2 + opened.pop())
                else:
                    opened.append(int(2 * kind))
                    row.append(opened[-1])
            rows.append(row + [6] * (width - n))
        return torch.tensor(rows)

    def answer(self, tokens):
        said = []
        for row in tokens.tolist():
            opened, places = [], []
            for token in row:
                if token < 2:
                    opened.append(token)
                elif token < 4:
                    opened.pop()
                places.append(IGNORE if token == 6 else 2 + opened[-1] if opened else 5)
            said.append(places)
        return torch.tensor(said)

    def measure(self, tokens):
        return (tokens != 6).sum(1)
""",
    # "3 5 + x i -> 6": a = 3 and b = 5; a + b into a, swap them, one more; the last a, modulo 7
    "two registers": """
    def question(self, generator, difficulty):
        width = max(self.length, int(difficulty.max())) + 2
        tokens = torch.randint(7, 10, (len(difficulty), width), generator=generator)
        tokens[:, :2] = torch.randint(7, (len(difficulty), 2), generator=generator)
        return tokens.masked_fill(torch.arange(width) > difficulty[:, None] + 1, 10)

    def answer(self, tokens):
        a, b = tokens[:, 0], tokens[:, 1]
        for token in tokens[:, 2:].T:
            swap = token == 8
            added = torch.where(token == 7, b, torch.where(token == 9, 1, 0))
            a, b = torch.where(swap, b, (a + added) % 7), torch.where(swap, a, b)
        last = torch.arange(tokens.shape[1]) == self.measure(tokens)[:, None] + 1
        return torch.where(last, a[:, None], IGNORE)

    def measure(self, tokens):
        return ((tokens >= 7) & (tokens < 10)).sum(1)
""",
}
PADDED = """
    def question(self, generator, difficulty):
        width = max(self.length, int(difficulty.max())) + FIRST
        tokens = torch.randint(5, (len(difficulty), width), generator=generator)
        return tokens.masked_fill(torch.arange(width) >= difficulty[:, None] + FIRST, 7)

    def answer(self, tokens):
        said = torch.full_like(tokens, IGNORE)
        said[:, 0] = ANSWER
        return said

    def measure(self, tokens):
        return (tokens < 7).sum(1) - FIRST
"""


def padded(answer, first):
    """A task that looks at the first tokens and says that the others make it difficult."""
    return PADDED.replace("ANSWER", answer).replace("FIRST", str(first))


INVENTED = {
    "the sum of three tokens": padded("tokens[:, :3].sum(1) % 5", 3),
    "the sum of five tokens": padded("tokens[:, :5].sum(1) % 5", 5),
    "a sum that grows, to three tokens": padded(
        "torch.where(self.measure(tokens) > 1, tokens[:, :3].sum(1), tokens[:, 0]) % 5", 3
    ),
    "three tokens and a difficulty that is told": """
    def question(self, generator, difficulty):
        tokens = torch.randint(7, (len(difficulty), 4), generator=generator)
        tokens[:, 3] = 7 + difficulty
        return tokens

    def answer(self, tokens):
        said = torch.full_like(tokens, IGNORE)
        said[:, 3] = tokens[:, :3].sum(1) % 7
        return said

    def measure(self, tokens):
        return tokens[:, 3] - 7
""",
}


def judged(body, here, full, hidden):
    code = (HEADER + START.replace("VOCAB", "24") + body).encode()
    graded = grade.grade(full | {"my_task.py": code}, hidden, ["e3"])
    return {check.name: message for check, _, message in graded}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_task_passes(name, here, full, hidden, monkeypatch):
    found, look = {}, judges.few_tokens
    monkeypatch.setattr(judges, "few_tokens", lambda **more: found.update(more) or look(**more))
    messages = judged(HONEST[name], here, full, hidden)
    assert not any(messages.values()), messages
    many, _ = found["hardest"]
    assert many > 5.5 and many > found["easy"][0] + 3, found  # 3.5 and 1 are asked for


@pytest.mark.parametrize("name", INVENTED)
def test_an_invented_difficulty_is_noticed(name, here, full, hidden):
    message = judged(INVENTED[name], here, full, hidden)["e3_depth"]
    assert "in the hardest; with others the answer is the same" in message, message


def test_what_a_token_changes_is_counted_by_hand():
    """A xor of tokens 0 and 2 at place 1, and token 3 at place 3; place 4 is never asked."""
    tokens = torch.randint(8, (200, 5), generator=torch.Generator().manual_seed(0))
    tokens[:, 1] = 0  # always the same: no place to look at

    def answer(tokens):
        if (tokens[:, 3] == 9).any():
            return None
        said = torch.full_like(tokens, -100)
        said[:, 1], said[:, 3] = tokens[:, 0] ^ tokens[:, 2], tokens[:, 3]
        return said

    def asked(hardest):
        talk = dialogues.with_a_token_changed(0, dict(easy=tokens, hardest=hardest))
        said = next(talk)
        try:
            while True:
                said = talk.send(dict(targets=answer(said) if torch.is_tensor(said) else None))
        except StopIteration as end:
            return end.value

    found = asked(tokens)
    assert found == dict(easy=(2.0, 4), hardest=(2.0, 4))
    some_fail = tokens.clone()
    some_fail[-20:, 3] = 9  # a question with such a token is none: where it comes, all may matter
    assert asked(some_fail)["hardest"] == (3.0, 4)


def test_guesses_are_those_of_tables_that_count():
    """The same, counted one by one: of equally common answers the first, and for an unseen key."""
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, (200, 3), generator=draw)
    said = (tokens.sum(1) + torch.randint(2, (200,), generator=draw)) * 7
    tokens[190:, 2] = 99  # not seen in the first half
    words, found = sorted(set(said.tolist())), judges.guesses(tokens, said)
    assert list(found) == [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]
    for places, accuracy in found.items():
        tables = {}
        for row, word in zip(tokens[:100].tolist(), said[:100].tolist()):
            key = tuple(row[place] for place in places)
            tables.setdefault(key, Counter())[word] += 1
        right = 0
        for row, word in zip(tokens[100:].tolist(), said[100:].tolist()):
            counts = tables.get(tuple(row[place] for place in places), Counter())
            right += max(words, key=lambda each: (counts[each], -each)) == word
        assert accuracy == pytest.approx(right / 100)
