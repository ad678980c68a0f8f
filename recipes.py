"""
What train.py's flags are where nobody says otherwise: the recipe of a task, and presets after papers.
"""

# What a task's run needs other than the defaults; results/LOG.md tells how it was chosen. "gpu" is on top of "cpu".
RECIPES = {
    "cpu": {
        "multihop": dict(reembed=True, position="window", reach=3, lr=3e-3, steps=2500),
        "composition": dict(
            reembed=True, norm="pre", reach=3, sampler="difficulty", slack=2, curriculum=False, weight_decay=0.3,
            ema=0.999, batch=512, min_lr=0.4, steps=5500, eval_every=125, snapshots=True,
        ),
        "chains": dict(
            model="edges", n_head=1, injection="concat", reembed=True, position="none", backprop_loops=3, lead=2,
            gate=0.8, ema=0.998, lr=3e-3, steps=2000,
        ),
        "phop": dict(position="alibi", n_prelude=1, lead=3, slack=2, batch=32, steps=1500),
        "addition": dict(position="window", reach=3, lead=2, steps=4500),
        "sudoku": dict(position="grid", sampler="fixed", loops=12, loss="every", curriculum=False, lr=3e-3, steps=1000),
    },
    "gpu": {
        "multihop": dict(  # Kohli et al. 2026: their world; one count for all that grows with what the curriculum opens
            hops=16, entities=200, relations=10, n_embd=128, batch=512, sampler="difficulty", per="batch", lr=1e-3,
            clip=0.3, warmup=300, steps=8000,
        ),
        "phop": dict(hops=16, length=256, n_embd=256, batch=512, steps=20000, lr=1e-3),
        "addition": dict(digits=20, n_embd=128, batch=1024, steps=10000),
        "sudoku": dict(
            box="3x3", puzzles=100000, search=True, n_embd=128, loops=16, batch=512, steps=30000, lr=1e-3, ema=0.999
        ),
    },
}  # fmt: skip

# `--preset NAME`: a paper whose loop is a matter of settings, on top of the recipe of the task. A paper that changes
# more has a file in papers/. Our block stays: no SwiGLU, no norms of q and k, one or two layers where papers have four.
PLAIN = dict(reembed=False, curriculum=False, loss="final", backprop_loops=0, state_init="embed", lead=0, slack=4)
PRESETS = {
    # Kohli et al. 2026, arXiv 2604.07822: the looped GPT-2, one count for a batch. Theirs has 4 layers, starts with
    # output projections of zero, and opens the next hop at 95 % of a held-out set
    "kohli": PLAIN | dict(
        n_core=2, injection="none", norm="pre", position="none", sampler="poisson", loops=4, per="batch",
        curriculum=True, gate=0.95,
    ),
    # Saunshi et al. 2025, arXiv 2502.17416: the same, always equally often
    "saunshi": PLAIN | dict(injection="none", norm="pre", position="rope", sampler="fixed", loops=6, per="sequence"),
    # Geiping et al. 2025, arXiv 2502.05171: theirs has 2 + 4 + 2 layers, 32 loops on average, gradient through 8
    "huginn": PLAIN | dict(
        n_prelude=1, n_coda=1, injection="concat", norm="sandwich", position="rope", state_init="noise",
        sampler="lognormal", loops=8, per="batch", backprop_loops=4,
    ),
    # Prairie et al. 2026, arXiv 2604.12946: theirs has 2 to 8 layers in each part, and norms of queries and keys
    "parcae": PLAIN | dict(
        n_prelude=1, n_coda=1, injection="diagonal", norm="pre", position="rope", state_init="noise",
        sampler="poisson", loops=8, per="sequence", backprop_loops=4,
    ),
    # Fu et al. 2026, arXiv 2607.00341: DiscoLoop, as many loops as hops; theirs re-embeds with a temperature and one
    # gate, and we normalise the embeddings and not their mixture
    "discoloop": PLAIN | dict(
        injection="none", norm="pre", position="relative", reembed=True, sampler="difficulty", slack=0, per="sequence"
    ),
}  # fmt: skip
