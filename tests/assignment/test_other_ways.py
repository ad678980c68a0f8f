"""A solution that is written in another way than the repository's gets full points, too."""

import build
import grade
import pytest
from grader import judges, probes, table
from helpers import PARITY, ROOT
from mistakes import DONE

LOOPED = {
    "LoopedGPT.forward": """
        h, e, positions = self.begin(tokens)
        t, most = 0, self.config.loops if loops is None else loops
        while t < most:
            h, t = self.loop(h, e, t, positions), t + 1
        return self.readout(h)
""",
    "LoopedGPT.loop": """
        state = h if self.config.injection == "none" else self.inject(h, e)
        n = self.config.n_core
        for i in range(n):
            layer = self.core[i if self.config.tied else t * n + i]
            state = layer(state, positions)
        if self.config.reembed:
            state = self.reembed(state)
        return state
""",
    "LoopedGPT.reembed": """
        said = torch.softmax(self.head(h), dim=-1)
        vectors = self.embed.weight / self.embed.weight.norm(dim=1, keepdim=True)
        added = torch.einsum("btv,vc->btc", said, vectors) * math.sqrt(h.shape[-1])
        return h + self.reembed_gate * added
""",
    "LoopedGPT.states": """
        h = first if h is None else h
        counts = torch.as_tensor(self.config.loops if loops is None else loops).expand(len(h))
        kept, k = [h], self.config.backprop_loops
        for t in range(max(counts.tolist())):
            rows = []
            for row, count in enumerate(counts.tolist()):
                state = kept[-1][row : row + 1]
                if t < count:
                    state = state.detach() if k and t and count - t == k else state
                    state = self.loop(state, e[row : row + 1], t, positions)
                rows.append(state)
            kept.append(torch.cat(rows))
        return kept
""",
    "LoopedGPT.readout": """
        for block in self.coda:
            h = block(h, self.positions(h))
        return self.head(h)
""",
    "LoopedGPT.think": """
        first, e, positions = self.begin(tokens)
        h = first if h is None else h
        counts = torch.as_tensor(self.config.loops if loops is None else loops).expand(len(h))
        rows = []
        for row, count in enumerate(counts.tolist()):
            state, tracked = h[row : row + 1], count - (self.config.backprop_loops or count)
            for t in range(count):
                with torch.set_grad_enabled(torch.is_grad_enabled() and t >= tracked):
                    state = self.loop(state, e[row : row + 1], t, positions)
            rows.append(state)
        return torch.cat(rows)
""",
    "LoopedGPT.solve": """
        done = torch.zeros(len(h), dtype=torch.bool)
        last = torch.full((len(h),), math.inf)
        loops_used = torch.zeros(len(h), dtype=torch.long)
        for t in range(max_loops):
            new = self.loop(h, e, t, positions)
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
    for each in build.CUTS["looped.py"]:
        if each.name in LOOPED:
            stub = f'        raise NotImplementedError("{each.hint}")\n'
            assert source.count(stub) == 1
            source = source.replace(stub, LOOPED[each.name].lstrip("\n"))
    return source


@pytest.mark.parametrize(
    "check", [each for each in table.CHECKS if each.snapshot], ids=lambda check: check.name
)
@pytest.mark.parametrize("name", ["public", "hidden"])
def test_another_looped(check, name, request):
    course = request.getfixturevalue(name)
    seed = grade.seed_of(course.salt, check.probe)
    answer = getattr(probes, check.probe)(build.loader({"looped.py": another_looped()}), seed)
    assert judges.judge(check, answer, course.known[check.probe]) == ""


@pytest.mark.parametrize("name", ["public", "hidden"])
def test_the_plain_think_of_the_repository_lacks_the_points_of_its_cost_alone(name, request):
    course = request.getfixturevalue(name)
    source = (ROOT / "looped.py").read_text()
    for check in table.CHECKS:
        if check.exercise == "E2":
            seed = grade.seed_of(course.salt, check.probe)
            answer = getattr(probes, check.probe)(build.loader({"looped.py": source}), seed)
            message = judges.judge(check, answer, course.known[check.probe])
            assert message == (DONE if check.name == "e2_cost" else ""), check.name


TASKS = {"parity": PARITY.replace("bits: int = 6", "bits: int = 10")}  # 6 bits: too few questions
OF_THE_REPOSITORY = {
    "MultiHop": "tasks",
    "PHop": "more_tasks.phop",
    "Addition": "tasks",
    "Chains": "more_tasks.chains",
    "Sums": "claims.sums",
}
for name, module in OF_THE_REPOSITORY.items():
    TASKS[name] = f"from {module} import {name}\n\n\nclass Mine({name}):\n    unit = 'steps'\n"


@pytest.mark.parametrize("name", TASKS)
def test_another_task(name):
    answer = probes.task(build.loader({"my_task.py": TASKS[name]}), 5)
    checks = [check for check in table.CHECKS if check.probe == "task"]
    assert [judges.judge(check, answer, {}) for check in checks] == [""] * len(checks)
