# %% [markdown]
# # Looped transformers
#
# The exercises are in `handout.md`; this notebook is a place to try things. It runs in the folder of the assignment.

# %%
import importlib

import torch
from grade import main as grade

import looped
import tasks

torch.set_num_threads(1)

# %% [markdown]
# **The questions.** Follow relations through facts that only the weights can know.

# %%
task = tasks.MultiHop(hops=3, entities=8, relations=2)
batch = task.batch("train", 0, 5, difficulty=3)
for tokens, targets in zip(batch.tokens, batch.targets):
    print(task.show(tokens, targets))

# %% [markdown]
# **E1.** After you have written `loop`, `states` and `readout` in `looped.py`: one question, read after every loop.

# %%
importlib.reload(looped)
model = looped.LoopedGPT(looped.Config(vocab_size=task.vocab_size, block_size=task.block_size))
try:
    for t, h in enumerate(model.states(batch.tokens[:1], 4)):
        print(f"after {t} loops:", task.name(int(model.readout(h)[0, 3].argmax())))
except NotImplementedError as error:
    print(error)

# %% [markdown]
# **Grade** some of it, as often as you like.

# %%
grade([".", "--only", "e1"])
