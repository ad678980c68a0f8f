# %% [markdown]
# # Looped transformers
#
# The exercises are in `handout.md`. This notebook is a place to try things. It runs in the folder
# of the assignment.

# %%
import importlib

import exit_rule
import matplotlib.pyplot as plt
import torch
from grade import main as grade
from grader import judges

import looped
import tasks

torch.set_num_threads(1)

# %% [markdown]
# **The questions.** Follow relations through facts that stand nowhere in the question: only the
# weights can know them.

# %%
task = tasks.MultiHop(hops=3, entities=8, relations=3)
batch = task.batch("train", 0, 5, difficulty=3)
for tokens, targets in zip(batch.tokens, batch.targets):
    print(task.show(tokens, targets))

# %% [markdown]
# **E1.** One question, read after every loop, and how far each loop moved the state. The cell works
# as soon as you have written `loop` and `readout` in `looped.py`. Nothing is trained yet, so the
# answers mean nothing. Run it again with another number in `manual_seed`, and with
# `injection="none"`: does the movement end?

# %%
importlib.reload(looped)
torch.manual_seed(0)
model = looped.LoopedGPT(looped.Config(vocab_size=task.vocab_size))
try:
    h, e, positions = model.begin(batch.tokens[:1])
    for t in range(12):
        before, answer = h, task.name(int(model.readout(h)[0, 3].argmax()))
        h = model.loop(h, e, t, positions)
        moved = ((h - before).norm() / h.norm()).item()
        print(f"after {t} loops: {answer}, and the next loop moves the state by {moved:.4f}")
except NotImplementedError as error:
    print(error)

# %% [markdown]
# **E2.** A batch with a loop count for each row. Each row has to end where `forward` ends, which
# you wrote in E1: the differences are below 0.00001. The gradient of the last 5 loops is that of
# all, because no row has more; that of the last loop is another one. If nothing needless is done,
# 14 rows are looped; if each row takes the most loops, 25.

# %%
counts = torch.tensor([3, 1, 5, 2, 3])
try:
    for k in (0, 5, 1):
        model.config.backprop_loops, rows, loop = k, [], model.loop
        model.loop = lambda h, *more, rows=rows, loop=loop: rows.append(len(h)) or loop(h, *more)
        last = model.think(batch.tokens, counts)
        del model.loop
        model.zero_grad()
        (last**3).sum().backward()
        gradient = float(model.core[0].mlp[0].weight.grad.norm())
        print(f"backprop_loops={k}: {sum(rows)} rows looped, a gradient of {gradient:.4f}")
    for row, count in enumerate(counts.tolist()):
        alone = model(batch.tokens[row : row + 1], count)
        difference = (model.readout(last)[row] - alone[0]).abs().max()
        print(f"row {row}, {count} loops: a difference of {difference:.6f}")
except NotImplementedError as error:
    print(error)

# %% [markdown]
# **E5.** The picture, on the val questions of a trained model: your rule at many thresholds, and
# fixed loop counts.

# %%
importlib.reload(exit_rule)
given = torch.load("grader/given.pt", weights_only=True)
known = torch.load("grader/known.pt", weights_only=True)["rule"]
val = known["val"]
right = known["right"][:, val]  # (loops, questions): is a question right after so many loops?
states, mask = given["states"][:, val].float(), given["answer_mask"][val]
model = looped.LoopedGPT(looped.Config(**given["settings"]))
model.load_state_dict(given["weights"], strict=False)  # its embedding and its last norm
model.readout = model.head
plt.plot(range(1, len(right) + 1), right.float().mean(1), ".-", label="fixed")
try:
    last, measured = torch.full((len(mask),), torch.inf), []
    with torch.no_grad():
        for before, h in zip(states, states[1:]):
            last = exit_rule.rule(model, before, h, mask, last)
            measured.append(last)
    measured, points = torch.stack(measured), []
    for threshold in measured.flatten().sort().values[::400]:
        loops = judges.loops_used(measured, threshold)
        points.append((loops.float().mean(), right.gather(0, loops[None] - 1).float().mean()))
    plt.plot(*zip(*points), "o", label="your rule")
except NotImplementedError as error:
    print(error)
plt.xlabel("mean loops")
plt.ylabel("accuracy (val)")
plt.legend()
plt.savefig("e5.png")

# %% [markdown]
# **Grade** a part of it, as often as you like.

# %%
grade([".", "--only", "e1"])
