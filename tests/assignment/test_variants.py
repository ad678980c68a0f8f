"""
With a salt, a course asks for another re-embedding and another rule of when to stop. The public
solution fails there, and one that follows the changed text passes.
"""

from types import SimpleNamespace

import build
import pytest
import torch
import variants
from grader import judges, table
from test_other_ways import LOOPED

# What the texts ask for, written in another way than the solution
BY_TEXT = {
    "the prediction beside that of chance": """
        directions = self.embed.weight / self.embed.weight.norm(dim=1, keepdim=True)
        mean = directions.mean(0)
        said = torch.softmax(self.head(h), dim=-1) @ directions - mean
        return h + self.reembed_gate * math.sqrt(h.shape[-1]) * said
""",
    "the prediction sharpened": """
        directions = self.embed.weight / self.embed.weight.norm(dim=1, keepdim=True)
        said = torch.softmax(2 * self.head(h), dim=-1) @ directions
        return h + self.reembed_gate * math.sqrt(h.shape[-1]) * said
""",
    "twice in a row": LOOPED["LoopedGPT.solve"]
    .replace(
        "        for t", "        calm = torch.zeros(len(h), dtype=torch.int64)\n        for t"
    )
    .replace(
        "            done = done | (last < threshold)\n",
        "            calm = torch.where(last < threshold, calm + 1, 0)\n"
        "            done = done | (calm >= 2)\n",
    ),
    "one loop later": """
        logits, loops_used = [], []
        for row in range(len(h)):
            state, last, calm = h[row : row + 1], torch.full((1,), math.inf), False
            for t in range(max_loops):
                new = self.loop(state, e[row : row + 1], t, positions)
                last = measure(self, state, new, answer_mask[row : row + 1], last)
                state = new
                if calm:
                    break
                calm = bool(last < threshold)
            logits.append(self.readout(state))
            loops_used.append(t + 1)
        return torch.cat(logits), torch.tensor(loops_used)
""",
}
NAMES = {"e1_reembed": "LoopedGPT.reembed", "e5_solve": "LoopedGPT.solve"}
OF_LOOPED = [check for check in table.CHECKS if check.snapshot]


@pytest.fixture(scope="module", params=[0, 1])
def course(request):
    chosen = [variants.E1[request.param], variants.E5[request.param]]
    known = build.make_known("a-secret", chosen)
    return SimpleNamespace(variants=chosen, known=known, files=build.student_files(chosen))


def judged(course, source):
    load, found = build.loader({"looped.py": source}), {}
    for check in OF_LOOPED:
        answer = build.answer_of(check.probe, load, "a-secret")
        found[check.name] = judges.judge(check, answer, course.known[check.probe])
    return found


def test_the_solution_of_the_course_passes(course):
    source = build.solution_files(course.variants)["looped.py"].decode()
    assert not any(judged(course, source).values())


def test_the_public_solution_fails_its_variants_and_is_told_why(course):
    found = judged(course, build.solution_files()["looped.py"].decode())
    copied = {each.check: each.copied for each in course.variants}
    assert {name: text for name, text in found.items() if text} == copied


def test_who_follows_the_text_passes(course):
    source = course.files["looped.py"].decode()
    answers = LOOPED | {NAMES[each.check]: BY_TEXT[each.name] for each in course.variants}
    for cut in build.CUTS["looped.py"]:
        stub = f'        raise NotImplementedError("{cut.hint}")\n'
        source = source.replace(stub, answers.get(cut.name, stub).lstrip("\n"))
    assert not any(judged(course, source).values())


def test_the_usual_mistakes_are_told_apart(course):
    for check in OF_LOOPED:
        known = course.known[check.probe]
        for number, (message, answer) in enumerate(known["wrong"][check.name]):
            assert not judges.same(answer, known["right"]), message
            for other, wrong in known["wrong"][check.name][:number]:
                assert message == other or not judges.same(answer, wrong), (message, other)


def test_docstring_and_handout_have_the_formula_and_none_has_the_code(course):
    plain = build.student_files()
    for file in ("looped.py", "handout.md"):
        text = course.files[file].decode()
        assert text != plain[file].decode() and "previous" not in text and "p**2" not in text
    for each in course.variants:
        for old, new in each.changes["handout.md"]:
            assert new in course.files["handout.md"].decode()
    functions = build.functions_of(course.files["looped.py"].decode())
    reembed = build.ast.get_docstring(functions["LoopedGPT.reembed"])
    assert "w(v) =" in reembed and "p(v) E(v)" not in reembed


def test_the_worked_numbers_of_the_handout(course):
    """E1: two tokens of probabilities 3/4 and 1/4. E5: movements that halve, a threshold of 0.2."""
    handout = course.files["handout.md"].decode()
    source = build.solution_files(course.variants)["looped.py"].decode()
    module = build.loader({"looped.py": source})("looped")
    model = module.LoopedGPT(module.Config(vocab_size=2, n_embd=4, n_head=1, reembed=True))
    model.embed.weight.data = torch.tensor([[2.0, 0, 0, 0], [0, 1, 0, 0]])
    model.head = lambda h: torch.tensor([[[0.75, 0.25]]]).log()
    added = model.reembed(torch.zeros(1, 1, 4)).flatten().tolist()
    assert f"({', '.join(f'{each:.3g}' for each in added)}) is added to the state" in handout
    model.begin = lambda tokens: (torch.zeros(1, 1, 1), torch.ones(1, 1, 1), None)
    model.loop = lambda h, e, t, positions: (h + e) / 2
    model.readout = lambda h: h

    def moved(model, before, h, answer_mask, last):
        return (h - before).abs().amax((1, 2))

    _, loops = model.solve(torch.zeros(1, 1).long(), moved, 0.2, max_loops=20)
    text = " ".join(handout.split())
    assert f"0.0625. A threshold of 0.2 stops after {int(loops)} loops" in text


def test_the_salt_chooses_and_without_one_all_is_as_in_the_repository():
    assert variants.chosen("") == [] and build.student_files([]) == build.student_files()
    names = [tuple(each.name for each in variants.chosen(f"salt {i}")) for i in range(40)]
    assert len(set(names)) == 4  # two of each exercise
    assert names == [tuple(each.name for each in variants.chosen(f"salt {i}")) for i in range(40)]


def test_a_variant_whose_text_is_gone_says_so():
    with pytest.raises(
        ValueError, match="the variant 'twice in a row' changes .* once in looped.p"
    ):
        variants.vary("looped.py", "nothing", variants.E5[:1])
