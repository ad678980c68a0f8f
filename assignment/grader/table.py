"""
The exercises and what is checked of them. To change the points of the course, change the numbers
here; the handout repeats them.
"""

from dataclasses import dataclass

EXERCISES = {
    "E1": "the loop",
    "E2": "loop counts and gradients",
    "E3": "a task of your own",
    "E4": "extrapolate",
    "E5": "when to stop",
    "E6": "an experiment",
}
WRITTEN = {"E5": 5, "E6": 10, "predictions": 5}  # points that people give, see INSTRUCTOR.md


@dataclass
class Check:
    name: str
    points: float
    title: str
    probe: str  # the function of probes.py that asks the submission; checks may share its run
    seconds: float = 20  # what the probe may take, after PyTorch is imported
    snapshot: bool = False  # right is what the solution answers; False: judges.py decides

    @property
    def exercise(self):
        return self.name[:2].upper()


CHECKS = [
    Check("e1_forward", 4, "as many loops as asked", "forward", snapshot=True),
    Check("e1_loop", 5, "one pass of the loop", "loop", snapshot=True),
    Check("e1_readout", 3, "an answer from any state", "readout", snapshot=True),
    Check("e1_reembed", 3, "the prediction as an embedding", "reembed", snapshot=True),
    Check("e2_states", 8, "each state, with a loop count for each row", "states", snapshot=True),
    Check("e2_gradient", 8, "the gradient of the last loops alone", "gradient", snapshot=True),
    Check("e2_cost", 4, "the last state, without needless work", "cost", snapshot=True),
    Check("e3_pure", 4, "questions by the generator, answers by the tokens", "task"),
    Check("e3_difficulty", 4, "difficulty as asked, also beyond training", "task"),
    Check("e3_splits", 3, "no question in two splits", "task"),
    Check("e3_depth", 4, "no answer without thinking", "task"),
    Check("e4_recipe", 3, "a recipe within the budget", "recipe"),
    Check("e4_trained", 5, "the trained hops, in a hidden world", "recipe"),
    Check("e4_beyond", 7, "twice the trained hops", "recipe"),
    Check("e5_solve", 5, "each sequence stops on its own", "solve", snapshot=True),
    Check("e5_rule", 5, "as right as a fixed count, with a quarter fewer loops", "rule"),
    Check("e6_form", 5, "three seeds, a control, one page", ""),
]

# ---- What a submission is: nothing else is taken from it
SUBMITTED = ("looped.py", "my_task.py", "recipe.py", "exit_rule.py", "report.md")
EXPERIMENT = "e6"  # a folder: experiment.py, result.json as claims/experiment.py writes it, page.md

# ---- E4: what is trained (see probes.train_recipe), and how good is good enough
HOPS = 3
WORLD = dict(
    task="multihop", hops=HOPS, entities=8, relations=3, seed=0, model="looped", control=False
)
START = dict(
    steps=400,
    batch=64,
    n_embd=32,
    n_head=2,
    lr=2e-3,
    position="relative",
    reach=4,
    reembed=False,
)
MOST = dict(
    steps=400,
    batch=64,
    n_embd=32,
    n_prelude=1,
    n_core=2,
    n_coda=1,
    loops=16,
    lead=8,
    slack=8,
)
FREE = (
    *("n_head", "injection", "norm", "position", "reach", "state_init", "reembed", "loss"),
    *("backprop_loops", "lr", "warmup", "min_lr", "weight_decay", "beta2", "clip", "ema"),
    *("sampler", "per", "curriculum", "gate"),
)
MOST_LOOPS = 24  # at test
BAR_TRAINED, BAR_BEYOND = 0.9, 0.6

# ---- E5
RULE_LOSS = 0.03  # a rule that is right less often by this much counts as equally right
RULE_SAVES = 0.25  # of the loops of the cheapest fixed count that is as right as any other
