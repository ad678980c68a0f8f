"""Who writes it in another way than the repository gets full points, too."""

import build
import grade
import pytest
from grader import judges, probes, table
from helpers import PARITY

LOOPED = {
    "LoopedGPT.loop": """
        before = h if self.config.injection == "none" else self.inject(h, e)
        n = self.config.n_core
        for i in range(n):
            layer = self.core[i if self.config.tied else t * n + i]
            before = layer(before, where, cache, ("core", t, i))
        if self.config.reembed:
            said = torch.softmax(self.head(before), dim=-1)
            vectors = self.embed.weight / self.embed.weight.norm(dim=1, keepdim=True)
            before = before + self.reembed_gate * torch.einsum("btv,vc->btc", said, vectors) * math.sqrt(h.shape[-1])
        return before
""",
    "LoopedGPT.states": """
        kept = [start if h is None else h]
        for t in range(self.config.loops if loops is None else loops):
            kept.append(self.loop(kept[-1], e, t, where))
        return kept
""",
    "LoopedGPT.readout": """
        for i, block in enumerate(self.coda):
            h = block(h, self.positions(h), cache, ("coda", 0, i))
        logits = self.head(h)
        return logits if answer_mask is None else logits[answer_mask]
""",
    "LoopedGPT.think": """
        h = start if h is None else h
        rows = []
        for row, count in enumerate(counts.tolist()):
            state, first = h[row : row + 1], count - (self.config.backprop_loops or count)
            for t in range(count):
                with torch.set_grad_enabled(torch.is_grad_enabled() and t >= first):
                    state = self.loop(state, e[row : row + 1], t, where)
            rows.append(state)
        return torch.cat(rows)
""",
    "LoopedGPT.solve": """
        done = torch.zeros(len(h), dtype=torch.bool)
        loops_used, last = torch.zeros(len(h), dtype=torch.long), torch.full((len(h),), math.inf)
        for t in range(max_loops):
            new = self.loop(h, e, t, where)
            last = measure(self, h, new, answer_mask, last)
            h = torch.where(done[:, None, None], h, new)
            loops_used[~done] = t + 1
            done = done | (last < threshold)
            if done.all():
                break
        return self.readout(h), loops_used
""",
}


def another_looped():
    source = build.student_files()["looped.py"].decode()
    for each in build.CUTS:
        if each.name in LOOPED:
            stub = f'        raise NotImplementedError("{each.hint}")\n'
            assert source.count(stub) == 1
            source = source.replace(stub, LOOPED[each.name].lstrip("\n"))
    return source


@pytest.mark.parametrize("check", [each for each in table.CHECKS if each.snapshot], ids=lambda check: check.name)
@pytest.mark.parametrize("name", ["public", "hidden"])
def test_another_looped(check, name, request):
    course = request.getfixturevalue(name)
    seed = grade.seed_of(course.salt, check.probe)
    answer = getattr(probes, check.probe)(build.loader({"looped.py": another_looped()}), seed)
    assert judges.judge(check, answer, course.known[check.probe]) == ""


TASKS = {"parity": PARITY.replace("bits: int = 6", "bits: int = 10")}  # of 6 bits there are too few questions
for module, name in (
    ("tasks", "MultiHop"),
    ("tasks", "PHop"),
    ("tasks", "Addition"),
    ("chains", "Chains"),
    ("sums", "Sums"),
):
    TASKS[name] = f"from {module} import {name}\n\n\nclass Mine({name}):\n    unit = 'steps'\n"


@pytest.mark.parametrize("name", TASKS)
def test_another_task(name):
    from helpers import paper

    paper("sums")
    answer = probes.task(build.loader({"my_task.py": TASKS[name]}), 5)
    checks = [check for check in table.CHECKS if check.probe == "task"]
    assert [judges.judge(check, answer, {}) for check in checks] == [""] * len(checks)
