"""
Writes README.md of claims/ and of papers/: `python -m claims.table`. The first is made from the
JSON under results/papers/, the second from the first lines of each model.
"""

import json
import re
from pathlib import Path

from claims.parts import UNTESTED, VERDICTS, kind_of

ROOT = Path(__file__).resolve().parents[1]

CLAIMS = """# What the papers claim, measured in miniature

## What they teach together

**In short.** Where a question takes steps, the same few layers used again do nearly what as many
different layers do, on the five tasks where that was judged: least squares, p-hop, edges, formulas
and boards. On p-hop they learn more slowly. They add little memory, and where memory is what is
missing, different layers are better. Whether a loop goes on, rests or forgets beyond its training
depends on the recipe and on the task: on strings on the norm, on least squares on which loops have
a loss, on hops on that and on the recipe. On boards it goes on with either norm, and on p-hop it
forgets if only its last loop has a loss. Harder questions can be given more loops. A few starts or
noisy runs, of which one is taken, solve more than one run, also for the same loops in all.

**The scale.** Most models have one or two layers of a width of at most 64 and were trained for
minutes on one core: no number here is that of a paper. A hop, an edge or a move is a step; facts
are known by heart, or stand in the text. In p-hop one asks what came after the last c, then after
the last one of that, and so on. Edges lead from name to name, and a walk follows them. Injection
gives a loop its input again each time, a window shows it only the nearest tokens, and pre-norm or
post-norm says whether a norm stands before a layer or after it. Boards are Sudoku of 6x6 cells.
They must be searched, except those of attractor and looped_diffusion, and the first ones of fprm
and tiny_recursive_model. Settings are chosen on validation questions, called val here, and reported
on others. There are three exceptions: facts that a model has to know are the same in all questions,
capo, which asks how many it can hold, counts the best of three rates, and parcae, where nothing is
chosen, is reported on val. Numbers are medians of three seeds, or of five.

**What held:**

- **Depth.** With a loss on its last loop alone, one layer looped 12 times fits least squares like
  12 layers, each with an error of 0.0004 of the variance, and loses it by 60 loops, 0.2171. With a
  loss on its last six loops it goes on for five times as long, 0.0025, and 0.0085 on one seed; but
  its error, 0.0023, is six to eight times that of the layers. That is under the bar of 0.01, which
  was set after earlier seeds had failed one of 1.25 times (in_context_regression). One layer looped
  4 times makes three hops of p-hop like 4 layers, 1.00, if all hops come at once and the training
  is long. (With a curriculum, on earlier seeds, it stopped at 0.67 on one of three.) It walks 4
  edges nearly like 4 layers, 0.98 and 1.00. Used once it does neither, 0.39 and 0.00, nor with
  pauses, 0.41 and 0.00. Sums of six numbers one layer learns without loops, on the one seed that
  was tried (latent_thoughts). Two layers looped 3 times find all values in formulas of 5
  operations, 0.93, as often as 6 layers, 0.88, which is just enough to count as learned; used once
  they have 0.65 (mano). One block looped 4 times adds as well as 4 layers, 0.90 and 0.91, and
  looped 7 times less well than 7 layers, 0.92 and 0.97, or better with our injection, 0.99; this
  was not judged (mixture_of_recursions). Two layers in the order AABB beat AB on hops, 0.90 to 0.75
  by heart and 1.00 to 0.59 in the text. Used 4 times each, as AABBAABB or as ABABABAB, they make
  nearly all hops, 1.00. So the order AABB gains nothing over ABAB, but it saves some of the time:
  on one core of a server AABBCCDD takes 1.61 times as long as ABCD at a width of 256 and 1.84 at
  512, where ABCDABCD takes 1.90 and 1.97 (mobile). With one denoising step, six loops solve 0.67 of
  the boards and six different layers 0.56; six steps of one layer solve 0.54. In six steps both
  solve nearly all, 0.98 and 0.99 (looped_diffusion). With eight times the compute the best number
  of loops rises from 4.4 to 8.1 (parcae).
- **Memory.** Two layers hold no more when they are looped, 2.34 bits in a parameter and 2.39. One
  layer holds a fifth more, 2.47 and 2.08, which is told and not judged. In all that is about 500
  bits; a second layer of its own adds about 2,300 (capo). Where tokens need of one another only
  what the first loop makes of them, its keys and values are enough: along 4 edges 1.00, with a
  window of later loops or without it. A model that keeps those of all loops has 0.98, and two plain
  loops, which keep slightly more, 0.20. In p-hop letters need what others have found in later
  loops. There such a memory learns more slowly, 0.39 to 1.00, on the one seed that was tried
  (shared_memory).
- **Harder questions, more loops.** Gates spend 6.0 loops on 6 hops and 1.0 on one (ouro); halting
  that is taught one hop after the other, which was chosen after the others had been run, spends 6.0
  and 1.3. If all hops come at once, and a loop has no price, it spends 8.8 and 3.0 with a halting
  bias that starts at -3, and 7.0 and 2.0 with one that starts at 0. Both answer right, so that
  whether 0 sticks is not tested. Without our injection and window 6 hops are not learned, 0.04
  (universal_transformer). An exit that stops when the output hardly changes (by KL) takes 15 loops
  for 12 hops and 3 for one. At 12 hops it loses nothing, 0.99; that of the control, a loop with a
  fixed start and count, has 0.88, although it is right if it loops on (huginn). Trained at its last
  loop alone, a model of 6 hops is right at earlier loops as often as a walk of one hop a loop, 0.63
  and 0.64. Elastic training, in which a random earlier loop learns, too, gives 0.73, and the mean
  of all losses 0.79. Of 4 hops, without our injection and window, the last loop alone gives 0.41
  there and 0.46 beyond the last loop, elastic training 0.83 and 0.99 (elastic).
- **Search.** Eight noisy runs of a trained loop, of which its head takes one, solve 0.99 of the
  boards at the noise that val likes, and 0.92 at twice that noise; a vote in place of the head
  would have 0.94, which is lower by one standard error. One run without noise solves 0.80, and 0.83
  with as many loops as val likes, up to those of all eight (ptrm). Of eight runs that start from
  noise, the one that moves least at its end is right 0.99; a single run is right 0.92, and one with
  as many loops as all eight 0.94. This is the loop that was trained with noise. The plain loop has
  0.72 from noise; from its embedding it has 0.88, also with as many loops as eight runs, which is
  less by no more than the error; and of eight runs from noise the stillest is right 0.99
  (equilibrium). Where the first step of a path must be searched for, latent thoughts answer right
  0.83, written steps at the same cost 0.74; a blind first step would give 0.75. In the paper most
  of this is gained by the curriculum, with pauses or nothing in the place of thoughts; here pauses
  learn nothing, 0.50 (coconut).
- **Trained stacks.** Layers of the plain stack that are run twice mostly hurt on the trained hops;
  in half steps they hurt less. On questions of one hop more than in training the best span adds
  0.22 in half steps and 0.12 in whole ones (layer_duplication). A trained stack of six layers
  learns two more hops better as a loop than as it is, at the same cost, 0.99 and 0.82. From scratch
  this loop learns nothing in as many steps, 0.04, and as much for the cost of both trainings, 0.99
  (retrofitted_recurrence).
- **Loops around the model, and in time.** A program that calls a model on parts of 6 hops answers
  48 hops, 1.00, where one call for all fails, 0.05, if the model sees the whole text. (A model that
  sees three tokens needs no calls, 1.00, at seven times the cost.) Errors stay: parts of 24 hops
  are right 0.51, and two in a row 0.23 (recursive_calls). Where each token of a text follows from
  the one before, it takes 2.2 passes a token if several unfinished tokens loop together in each
  pass. Written one after the other, tokens need 4.0 of the 8 loops of training. (A layer that is
  used once writes these texts, too, in one pass a token.) Where tokens do not depend on each other,
  the two ways take 1.1 and 2.0 passes a token (parallel_sampler). At the same cost a recurrence in
  time tracks 96 moves, where loops over the text fail at 24, 0.13; as many loops in a row do it,
  too, at 13 times the cost (staircase). Weights written by hand run random programs exactly
  (programmable_computer).

**What held in part, or under a condition:**

- **Norm and loss beyond the training.** On strings, loops that go on want post-norm. (Recall is the
  injection; the progressive loss also trains from the middle of a run.) With pre-norm and recall
  alone a net forgets what it knew, 0.04. With that loss added, most seeds keep it for 120 loops,
  too few to decide, and random counts in place of the loss do as well; longer strings fail, 0.03.
  With post-norm a net with both keeps it and answers strings four times as long, 1.00; so does one
  with recall alone, after 101 loops instead of 36 (deep_thinking). Trained on 2 loops, fewer than
  its questions of 4 hops need, a model gets 0.21 of all that loops gain from further ones, and 4
  are best; trained on 4 or more, it gets nothing. After 64 loops the loss is 9.3 times its lowest
  if 2 were trained, 1.7 times if 4 were, and hardly higher if 8 or 16 were (parcae).
- **Many loops on boards.** By its author's numbers the loop of Sotaku loses its boards after many
  loops on two seeds of three, and late states in a fifth of the training batches mend that. Here
  this is not tested, for our loop loses nothing: it solves 0.80 of the boards after 48 loops and
  0.81 after 768. (It lost some when it was trained half as long, on one seed.) With late states it
  solves 0.78, which is within the error, and after the 12 loops of training 0.50 in place of 0.62.
  The plain loop that was trained for as long has 0.91 (late_states). Pre-norm with scaled residuals
  solves 0.90 of the hard boards, pre-norm alone 0.83 and post-norm 0.88, all within the noise; it
  halts by its rest, after 7.2 loops on easy boards and 22.1 on hard ones, at no loss, as post-norm
  does, too (fprm). A loop that hands on a weighted mean of its results solves fewer boards than the
  plain loop by one standard error, 0.83 and 0.93, and not clearly more than one with steps of a
  fixed size, 0.79; on p-hop, where one of three seeds did not learn it, nothing is tested
  (infiloop). A loop whose state is the prediction itself solves 0.84 after 96 loops, pre-norm with
  scaled residuals and the plain loop 0.92 each, and steps of a fixed size 0.89. Where it halts at
  rest, after 31.0 loops, it loses nothing, as the others do not, either (simplex).
- **Steps that hurt.** Run a loop twice as far as it was trained. Of its steps that hurt an answer
  there, 0.47 start in a direction that helps it (on five seeds, from 0.17 to 0.84), and a quarter
  of the step mends 0.73 of those, numbers like the paper's. Three quarters would be expected if
  failures of all lengths were alike. Random steps fail too rarely there to compare. After the 8
  loops of training it is the other way round: its own steps hardly ever fail in this way, and of
  the random ones that hurt 0.44 do. A rule that chooses the length of the step, and looks at the
  right answer for that, is better than a quarter, though not than the better of no step and a whole
  one. That the rule knows the curvature adds little: the slope alone tells the sign of a whole step
  0.89, both tell it 0.91, which is under the bar. From loop 16 on, twice the trained 8, 48 quarter
  steps leave 0.47 right, and 48 whole ones 0.46; after 8 loops it had 1.00 (quarter_step).
- **The gradient at rest.** A loop that comes to rest needs no gradient through its loops: the
  equation of the state at rest gives one. With this gradient it solves 0.89 of the boards after 48
  loops and 0.93 after 192, as with the one through all loops. Training keeps a sixteenth of the
  numbers, and no more when there are more loops. The gradient is a sum; no difference was seen to
  its first two terms alone, called one step, which give 0.90 and 0.95; its first one gives 0.76 and
  0.88. The plain loop has 0.83 and 0.88, and 0.60 after 48 loops on one seed. The proposal at which
  the loops begin is not clearly nearer to the answer than that of a model trained through all
  loops, 0.33 and 0.36 of the cells (attractor).
- **Losses on the way.** A loss after each segment of a long thought takes the tiny recursive model
  from 0.59 to 0.88 after 18 applications, and from 0.76 to 0.94 at the best counts, each with its
  better norm; with pre-norm alone it hurts, and with post-norm alone the plain loop learns on one
  seed of three. On boards that must be searched a second state solves fewer after 18 applications,
  0.75 to 0.90, and as many at the best counts, 0.94 and 0.95. Averaged weights gain, 0.59 to 0.75
  (tiny_recursive_model). A model that also learns short routes, with one and a half times the loops
  in each step of its training, has 0.67 on them, and the plain loop 0.63. Whether that is the
  twentieth that was asked for is within the noise, and so is whether it helps to be told the
  budget, for without that it has 0.66 (loopformer). A loop that is told its number adds more
  numbers right than the same loop that is told 0, 0.990 and 0.967, on two seeds of three, but the
  plain loop does as well, 0.993, and leaves no room (timestep).
- **Routers, gates and earlier loops.** A router with a threshold for each loop gives hard tokens
  more loops, 5.2 to 3.8, and chooses better than chance, 0.91 to 0.77. From 7 loops for all,
  trained for the same FLOPs, it does not differ by more than the error, 0.92, and when asked it
  loops 3.9 times. Seven layers have 0.97, and the 7 loops have 0.99 with our injection, which the
  paper's model has not (mixture_of_recursions). A gate that is trained with the model saves loops:
  it takes 3.5, as few as the answers need, where one count for all takes 6.0. That leaves a second
  stage, which trains the gate alone, nothing to save; it takes 5.6. Without the entropy term the
  gate puts a probability of 0.99 on the last loop, but on one seed of five less, 0.61, so that this
  is not decided (ouro). On p-hop a loop that also sees what its earlier loops made of all tokens
  has a higher loss than as many plain loops on two seeds of three, 0.237 nats a letter and 0.150;
  four plain loops have 0.054 (cotformer).
- **Weights beside the loop.** With experts, of which each token uses a few, a loop knows nearly as
  many of 4,096 facts as six layers of as many weights, for no more compute, 0.99 and 1.00; the
  plain loop knows 0.84. Of 9,216 facts, in as many steps, it knows fewer than the layers, 0.41 to
  0.63, and more than the plain loop, 0.24. Experts in the MLP alone are worse, 0.96 and 0.32. A
  plain loop that is wider, with as many weights, knows 1.00 and 0.69 at three times the compute
  (mixture_of_experts). A block looped r times is worth r^phi blocks of its own. For single facts
  loops add nothing, phi = 0.00 with two and -0.05 with four, or little, 0.10 with
  hyper-connections. For hops by heart they add most of what blocks of its own would add, 0.72 with
  two loops, and with four, on two seeds of three, more, 1.31; with a gradient through half of the
  four loops phi is 0.63 (recurrence_worth). Take a loop that was made of a trained stack, and train
  it for 300 steps. With matrices of rank 16 for each loop it is nearly as good as the stack, 0.98
  to 1.00; with a rank of 4 it is worse than with none, 0.67 to 0.85. With none, and with or without
  a curriculum, as val likes, it has learned in these steps what a loop from scratch has not, 0.91
  and 0.07; after 1,200 both have, 1.00 (relaxed_recursive). Four streams in place of one state
  lower the loss of texts that a hidden Markov chain writes, 1.312 and 1.328 nats a letter, by more
  than one standard error and less than two. With nearly as many weights a wider state is better
  still, 1.296, and three wider layers used once do not differ, 1.307. Six layers, which have two
  thirds more weights, have 1.167. So on such texts weights help much, and loops little (hyperloop).
  Low-rank matrices that a router chooses for each token hold facts no better than as many weights
  in matrices of each loop's own, at a loss of 2.382 and 2.262 nats a fact. Nor can they be merged
  into one: of a smaller set of facts, all known before, 0.25 are still right with the merged
  matrix, and 0.21 with none (mixture_of_loras).
- **Lessons from itself.** A model that was taught sums of up to 10 digits answers longer ones, and
  learns from its answers. If it keeps those that are the same for a + b and b + a, 0.89 of its sums
  of 11 to 18 digits are right, on one seed of five 0.45. If it keeps all, 0.66 are; without such
  lessons 0.62, and with right labels 0.97. (This was asked on new seeds, after the number of digits
  reached had decided nothing.) The filter delays the avalanche of wrong labels but does not prevent
  it: 0.88 of the labels of 18 digits that it keeps are right, less than nine tenths on three seeds
  of five, and 0.51 on one. Without it 0.14 are right (self_improvement).

**What did not show,** among others. One claim could not be tested: that late states help, where the
loop lost nothing without them (late_states). Nor did it show that shared layers do more than
different ones in the tiny recursive model, 0.59 and 0.54, or that a gradient through one step
hurts, 0.69 and 0.75, where seeds and boards leave too much open (tiny_recursive_model); that the
whole gradient at rest is worth more than one step of it (attractor); that a halting bias of 0
sticks where -3 does not (universal_transformer); and that a router is better than as many loops for
all (mixture_of_recursions). The table says what was missing, and the sections say what it takes.

**Four claims fail here in their main sentence.** One fails clearly: experts of low rank hold facts
no better than matrices that are the same for all tokens (mixture_of_loras; this paper we know by a
description only). Three fail by one standard error: a weighted mean of all results does not solve
more than the plain loop (infiloop), nor does a state that is the prediction itself (simplex), and a
sight of the earlier loops does not lower the loss (cotformer). Parts of others fail clearly: with
pre-norm longer strings (deep_thinking), several streams better than a stack of more weights
(hyperloop), experts as good as layers for the larger number of facts (mixture_of_experts), matrices
of rank 4 (relaxed_recursive), and a loop that is worth something for single facts
(recurrence_worth). By one to slightly more than two standard errors these fail: streams better than
a wider state (hyperloop), loops that are worth less than blocks of their own on hops
(recurrence_worth), a second state (tiny_recursive_model), and a filter that keeps wrong labels from
multiplying (self_improvement).

## How they were judged

**The files.** Each measures the claim of one paper with a control that could refute it. It has
three functions: `measure` trains and yields rows of numbers, `judge` compares them by part, and
`draw` makes a picture. The models are in [papers/](../papers/README.md), a page each. The files
share [experiment.py](experiment.py), the training, [rows.py](rows.py), the table of numbers, and
[parts.py](parts.py), the rules of every verdict.

    python -m claims.ouro                  on three seeds: runs/ouro/ouro.json and ouro.png
    python -m claims.ouro --seeds 20       on one seed
    make claims                            all of them, hours; it goes on where it stopped

**The rules.** A part of a claim is answered with yes or no only if its control has learned (as much
as a bar in the code), if its bar can be reached and can be missed, and if the margin, which is the
distance beyond the bar, is larger than one standard error of the seeds and of the questions. (All
seeds share the boards of Sudoku, so that more seeds do not lower the error of these.) Inside the
error the answer is "no difference seen" (or, where the question is whether a bar is reached, that
more seeds are needed). Otherwise it is "not tested", and the part names what is missing. A claim is
"reproduced in part" if some parts are shown and none is refuted; "depends" means that one is shown
and another refuted.

**Seeds.** Those below 40 had been seen when these rules were made; the verdicts that still rest on
them are named below the table. The sections say what was tried for the models and controls; for
many it was one setting.

**The table** is written by `python -m claims.table` from [results/papers](../results/papers). The
claims are in our words. Behind each answer stands its margin with one standard error.

"""
COLUMNS = (
    "claim of",
    "the paper says",
    "its numbers",
    "ours, with the margin beyond the bar",
    "verdict",
    "a part is not shown if",
)

PAPERS = """# Models of the literature, each as the difference to looped.py

Each file is a subclass of `LoopedGPT` that overrides what its paper changes. It begins with what
the paper does, what is different here, and how it is used. `python train.py --model NAME --task
TASK` trains it on any task, with the flags of the paper beside those of the loop (`--help` shows
them). What is only a matter of settings is a preset: `--preset` kohli, saunshi, huginn, parcae or
discoloop ([recipes.py](../support/recipes.py)). Whether the claims of the papers hold is measured
in [claims/](../claims/README.md).

This page is written by `python -m claims.table` from the first lines of the files.

| model | of | what is different | command |
|---|---|---|---|
"""


def cells(*texts):
    return "| " + " | ".join(str(text).replace("|", "/") for text in texts) + " |\n"


# --------------------------------------------------------------------------------------------------
# claims/README.md


def claim_row(numbers):
    name, seeds = numbers["name"], numbers["seeds"]
    minutes = max(found["minutes"] for found in numbers["by_seed"])
    ours = "; ".join(told(part) for part in numbers["parts"])
    ours += f" (seeds {seeds[0]} to {seeds[-1]}, at most {minutes} minutes each)"
    verdict = f"**{kind_of(numbers['verdict'])}**"
    says = (f"[{name}](#{name})", numbers["claim"], numbers["theirs"])
    return cells(*says, ours, verdict, numbers["falls"])


def told(part):
    """A part, its answer, and its margin where it was tested."""
    text = f"{part['name']}: {part['answer']}"
    if part["answer"].startswith(UNTESTED):
        return text
    margin, error = part["margin"], part["error"]
    places = 1 if abs(margin) >= 10 else 2 if f"{abs(margin):.2f}" != f"{error:.2f}" else 3
    return f"{text}, {margin:+,.{places}f} ± {error:.{places}f}"


def claim_section(numbers):
    name, seeds = numbers["name"], len(numbers["seeds"])
    what, points = told_by_block(numbers["ours"])
    lines = [
        f"## {name}",
        "",
        f"[{numbers['title']}](https://arxiv.org/abs/{numbers['arxiv']})",
        "",
        f"- The code: [{name}.py]({name}.py). What changes in the loop: {numbers['changes']}",
        f"- Theirs: {numbers['theirs']}",
        f"- Ours, {seeds} seeds{what}:",
        *points,
        f"- Also tried: {numbers['tried']}",
    ]
    if numbers["note"]:
        lines.append(f"- Where this is not the paper: {numbers['note']}")
    return "\n".join([*lines, "", f"![{name}](../results/papers/{name}/{name}.png)", ""])


def told_by_block(ours):
    """
    What all the numbers are, or "", and the lines of a list. A group that has a name more than the
    next one begins with what they both are, and so are all that follow with as many names:

        "accuracy: loop: 1 hop 1.00, 2 hops 0.98; stack: 1 hop 1.00, 2 hops 0.95; weights 100"
    """
    groups = [split(group, ": ") for group in split(ours, "; ")]
    counts = [len(group) for group in groups]
    if len(groups) > 1 and set(counts[1:]) == {counts[0] - 1}:  # one heading for all
        what = groups[0].pop(0)
        return f", {what}", [line for group in groups for line in told_by_line(group, "  - ")]
    points, below = [], None  # how many names the groups below the last heading have
    for group, after in zip(groups, [*counts[1:], None]):
        if len(group) != below:
            below = after if after == len(group) - 1 else None
            if below:
                points.append(f"  - {group.pop(0)}:")
        points += told_by_line(group, "    - " if below else "  - ")
    return "", points


def told_by_line(group, point):
    """A point of the list; if it is long ("huginn: 1 hop 1.00, 2 hops .."), with points below."""
    *names, items = group
    line = ": ".join(group)
    if len(line) <= 160 or not names:
        return [point + line]
    items = split(items, r"(?<=[\d\])]), ")  # behind a number
    return [f"{point}{': '.join(names)}:", *(f"  {point}{item}" for item in items)]


def split(text, mark):
    """The pieces between the marks (a pattern) that stand outside of brackets."""
    pieces, start = [], 0
    for found in re.finditer(mark, text):
        before = text[: found.start()]
        if len(re.findall(r"[(\[]", before)) == len(re.findall(r"[)\]]", before)):
            pieces.append(text[start : found.start()])
            start = found.end()
    return [*pieces, text[start:]]


def claims_page():
    paths = sorted((ROOT / "results/papers").glob("*/*.json"))
    judged = [json.loads(path.read_text()) for path in paths]
    judged.sort(key=lambda numbers: VERDICTS.index(kind_of(numbers["verdict"])))
    names = {numbers["name"] for numbers in judged}
    waiting = [name for name in names_of_claims() if name not in names]
    text = CLAIMS + f"{counted(judged)}\n\n" + cells(*COLUMNS) + cells(*["---"] * len(COLUMNS))
    text += "".join(claim_row(numbers) for numbers in judged)
    early = [numbers["name"] for numbers in judged if min(numbers["seeds"]) < 40]
    if early:
        text += f"\nOn seeds below 40: {', '.join(early)}.\n"
    if waiting:
        links = ", ".join(f"[{name}]({name}.py)" for name in waiting)
        text += f"\nNot run on three seeds yet, so without a verdict: {links}.\n"
    text += "\n# Their numbers and ours\n\n"
    text += "Ours are medians of the seeds, with ranges in brackets; bars and margins are of their "
    text += "means.\n\n"
    return text + "\n".join(claim_section(numbers) for numbers in judged)


def counted(judged):
    """How many claims have each verdict, in words."""
    kinds = [kind_of(numbers["verdict"]) for numbers in judged]
    counts = [f"{kinds.count(kind)} {kind}" for kind in VERDICTS if kind in kinds]
    return f"Of {len(kinds)} claims: {', '.join(counts)}."


def names_of_claims():
    paths = sorted((ROOT / "claims").glob("*.py"))
    return [path.stem for path in paths if "\nCLAIM = Claim(" in path.read_text()]


# --------------------------------------------------------------------------------------------------
# papers/README.md


def model_row(path):
    text = path.read_text().split('"""')[1]
    title = " ".join(text.strip().split("\n\n")[0].split())
    different = re.search(r"What is different here: (.*?)(\n\n|$)", text, re.S)[1]
    first = re.split(r"(?<=\.)\s", different)[0].rstrip(".")  # its first sentence
    command = re.search(r"^    (python .*?)( {2,}.*)?$", text, re.M)[1].rstrip(" \\")
    return cells(f"[{path.name}]({path.name})", title, " ".join(first.split()), f"`{command}`")


def papers_page():
    paths = sorted((ROOT / "papers").glob("[!_]*.py"))
    return PAPERS + "".join(model_row(path) for path in paths)


if __name__ == "__main__":
    (ROOT / "claims/README.md").write_text(claims_page())
    (ROOT / "papers/README.md").write_text(papers_page())
