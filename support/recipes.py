"""
The defaults of train.py: what the recipe of a task sets, then that of a GPU, then a preset. A flag
given by hand wins over all of them. results/LOG.md tells how the recipes were chosen.
"""

# What the run of a task needs other than the defaults of Settings and Config.
RECIPES = {
    "multihop": dict(position="window", reach=3, lr=3e-3, steps=2500),
    "composition": dict(
        reembed=True, norm="pre", reach=3, sampler="difficulty", slack=2, curriculum=False,
        weight_decay=0.3, ema=0.999, batch=512, min_lr=0.4, steps=5500, eval_every=125,
        snapshots=True,
    ),
    "chains": dict(
        n_head=1, injection="concat", reembed=True, position="none", backprop_loops=3, lead=2,
        gate=0.8, ema=0.998, lr=3e-3, steps=2000,
    ),
    "phop": dict(position="alibi", n_prelude=1, lead=3, slack=2, batch=32, steps=1500),
    "addition": dict(position="window", reach=3, lead=2, steps=4500),
    "sudoku": dict(
        position="grid", sampler="fixed", loops=12, loss="every", curriculum=False, lr=3e-3,
        steps=1000,
    ),
}  # fmt: skip

# `--scale gpu`: what one GPU has on top.
GPU_RECIPES = {
    # the world of Kohli et al. 2026; all questions of a batch take as many loops as the hardest
    "multihop": dict(
        reembed=True, hops=16, entities=200, relations=10, n_embd=128, batch=512,
        sampler="difficulty", per="batch", lr=1e-3, clip=0.3, warmup=300, steps=8000,
    ),
    "phop": dict(hops=16, length=256, n_embd=256, batch=512, steps=20000, lr=1e-3),
    "addition": dict(digits=20, n_embd=128, batch=1024, steps=10000),
    "sudoku": dict(
        box="3x3", puzzles=100000, search=True, n_embd=128, loops=16, batch=512, steps=30000,
        lr=1e-3, ema=0.999,
    ),
}  # fmt: skip

# `--preset NAME`: a paper whose loop is a matter of settings. A paper that changes more has a file
# in papers/. The block stays ours: no SwiGLU, no norms of queries and keys, and one or two layers
# where the papers have four.
PLAIN = dict(
    reembed=False, curriculum=False, loss="final", backprop_loops=0, state_init="embed", lead=0,
    slack=4,
)  # fmt: skip
PRESETS = {
    # Kohli et al. 2026, arXiv 2604.07822: GPT-2, looped, with one count for a batch. Theirs has 4
    # layers, starts with output projections of zero, and opens the next hop when 95 % of a held-out
    # set are right.
    "kohli": PLAIN | dict(
        n_core=2, injection="none", norm="pre", position="none", sampler="poisson", loops=4,
        per="batch", curriculum=True, gate=0.95,
    ),
    # Saunshi et al. 2025, arXiv 2502.17416: the same, with the same number of loops each time.
    "saunshi": PLAIN | dict(
        injection="none", norm="pre", position="rope", sampler="fixed", loops=6, per="sequence",
    ),
    # Geiping et al. 2025, arXiv 2502.05171: theirs has 2 + 4 + 2 layers, 32 loops on average, and a
    # gradient through 8 of them.
    "huginn": PLAIN | dict(
        n_prelude=1, n_coda=1, injection="concat", norm="sandwich", position="rope",
        state_init="noise", sampler="lognormal", loops=8, per="batch", backprop_loops=4,
    ),
    # Prairie et al. 2026, arXiv 2604.12946: theirs has 2 to 8 layers in each part, and norms of
    # queries and keys.
    "parcae": PLAIN | dict(
        model="parcae", n_prelude=1, n_coda=1, norm="pre", position="rope", state_init="noise",
        sampler="poisson", loops=8, per="sequence", backprop_loops=4,
    ),
    # Fu et al. 2026, arXiv 2607.00341: DiscoLoop, with as many loops as hops. Theirs re-embeds with
    # a temperature and one gate; we normalise the embeddings and not their mixture.
    "discoloop": PLAIN | dict(
        injection="none", norm="pre", position="relative", reembed=True, sampler="difficulty",
        slack=0, per="sequence",
    ),
}  # fmt: skip


def recipe_of(task, scale="cpu", preset=""):
    """The defaults of a run, {flag: value}, as far as they differ from those of the dataclasses."""
    gpu = GPU_RECIPES.get(task, {}) if scale == "gpu" else {}
    return RECIPES.get(task, {}) | gpu | PRESETS.get(preset, {})
