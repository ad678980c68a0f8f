"""
What a course asks for in another way than this repository, so that a solution that is copied from
here fails: variants of the code of two exercises, chosen by the salt. Without a salt there are
none. A variant changes the text of looped.py (the docstring that students get, and the code of the
solution) and of the handout.
"""

from dataclasses import dataclass

from support.hashing import stream


@dataclass
class Variant:
    name: str
    check: str  # that a copied solution fails
    copied: str  # what the student is told then
    changes: dict  # {file: [(old, new), ..]}


# --------------------------------------------------------------------------------------------------
# E1: which share of each embedding is added

NEXT_LINE = "        directions = "  # behind that of the prediction p
FORMULA = "h + gate * sqrt(C) * sum over {} of p(v) E(v) / |E(v)|"
IN_DOCSTRING = f"            {FORMULA.format('tokens v')}\n"
IN_HANDOUT = f"    {FORMULA.format('v')}          gate (C,): self.reembed_gate\n"
EXAMPLE = """\
1/4, and a gate of 1. Then (1.5, 0.5, 0, 0) is added to the state. Without the division by |E(v)| it
would be (3, 0.5, 0, 0), and without sqrt(C) (0.75, 0.25, 0, 0).
"""


def reembedding(name, weights, code, example, copied):
    """`weights` is the formula of w(v), by which token v is weighted in place of p(v)."""

    def formula(line, indent):
        return line.replace("p(v)", "w(v)") + f"{indent}{weights}\n"

    changes = {
        "looped.py": [
            (NEXT_LINE, code + NEXT_LINE),
            (IN_DOCSTRING, formula(IN_DOCSTRING, 12 * " ")),
        ],
        "handout.md": [(IN_HANDOUT, formula(IN_HANDOUT, 4 * " ")), (EXAMPLE, example)],
    }
    return Variant(name, "e1_reembed", f"{copied}: see the formula in its docstring", changes)


E1 = [
    reembedding(
        "the prediction beside that of chance",
        "w(v) = p(v) - 1 / V          V: the number of tokens",
        "        p = p - 1 / p.shape[-1]\n",
        """\
1/4, and a gate of 1. Then w is (1/4, -1/4), and (0.5, -0.5, 0, 0) is added to the state. Without
the division by |E(v)| it would be (1, -0.5, 0, 0), and without sqrt(C) (0.25, -0.25, 0, 0).
""",
        "each token is weighted by p(v); here by w(v) = p(v) - 1 / V",
    ),
    reembedding(
        "the prediction sharpened",
        "w(v) = p(v)^2 / (sum over tokens u of p(u)^2)",
        "        p = p**2 / (p**2).sum(-1, keepdim=True)\n",
        """\
1/4, and a gate of 1. Then w is (0.9, 0.1), and (1.8, 0.2, 0, 0) is added to the state. Without the
division by |E(v)| it would be (3.6, 0.2, 0, 0), and without sqrt(C) (0.9, 0.1, 0, 0).
""",
        "each token is weighted by p(v); here by w(v) = p(v)^2 / sum of p(u)^2",
    ),
]

# --------------------------------------------------------------------------------------------------
# E5: after which loop a sequence stops

MEASURED = "            measured = measure("
BELOW = "(measured < threshold)"
WHEN = """\
        A sequence stops when the number that the exit rule measures falls below the threshold, at
        the latest after max_loops."""
FIRST = """\
    n(i) = the first t + 1 for which m(h(t), h(t + 1))[i] < threshold, or max_loops if there is none
"""
STOPS_AFTER = """\
from h = 0 and e = 1, and the rule |h - before|, the movements are 0.5, 0.25, 0.125. A threshold of
0.2 stops after 3 loops.
"""


def stopping(name, when, first, code, below, copied):
    changes = {
        "looped.py": [(MEASURED, code + MEASURED), (BELOW, below), (WHEN, when)],
        "handout.md": [
            (FIRST, first),
            (STOPS_AFTER, STOPS_AFTER.replace("0.125. A", "0.125, 0.0625.\nA").replace("3", "4")),
        ],
    }
    return Variant(name, "e5_solve", f"{copied}: see its docstring", changes)


E5 = [
    stopping(
        "twice in a row",
        """\
        A sequence stops when the number that the exit rule measures has been below the threshold
        after two loops in a row, at the latest after max_loops.""",
        """\
    n(i) = the first t + 1 for which m(h(t), h(t + 1))[i] < threshold and m(h(t - 1), h(t))[i] <
           threshold, or max_loops if there is none; before the first loop m is infinite
""",
        "            previous = measured  # in the first loop infinity\n",
        "(torch.maximum(measured, previous) < threshold)",
        "a row stops once its measure is below the threshold; here it has to be twice in a row",
    ),
    stopping(
        "one loop later",
        """\
        A sequence takes one loop more after the number that the exit rule measures has fallen below
        the threshold, and stops; at the latest after max_loops.""",
        """\
    n(i) = the first t + 1 for which m(h(t - 1), h(t))[i] < threshold, or max_loops if there is
           none; before the first loop m is infinite
""",
        "            previous = measured  # in the first loop infinity\n",
        "(previous < threshold)",
        "a row stops once its measure is below the threshold; here it takes one loop more",
    ),
]


def chosen(salt):
    """The variants of a course: one of each exercise, or none without a salt."""
    if not salt:
        return []
    return [
        variants[stream(salt, "variant", number) % len(variants)]
        for number, variants in enumerate((E1, E5))
    ]


def vary(name, source, variants):
    """The text of a file with the variants in it."""
    for variant in variants:
        for old, new in variant.changes.get(name, []):
            if source.count(old) != 1:
                raise ValueError(f"the variant {variant.name!r} changes {old!r} once in {name}")
            source = source.replace(old, new)
    return source
