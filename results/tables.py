"""
The tables of README.md and RESULTS.md, written from the numbers under results/: `make tables`

A table stands between two comments of its file. The same table stands in tables.md, with names
where the numbers belong:

    {demo.best[12]}                an attribute of Depth(results/demo), here at 12 hops
    {bench/bench[threads]}           an entry of results/bench/bench.json
    {exits[settle][loops]}         an entry of what a function of SUMMARIES returns

A number that several seeds found is written as their median, with their range behind it:
"0.97 [0.96, 0.98]". `python results/tables.py --check` writes nothing and only says whether a
committed table differs from its numbers.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent
ROOT = RESULTS.parent
FILES = (ROOT / "README.md", ROOT / "RESULTS.md")
VERDICTS = ("reproduced", "reproduced in part", "depends", "not reproduced", "not tested")
TABLE = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


# --------------------------------------------------------------------------------------------------
# How a number is written


def accuracy(x):
    """Two decimals; three where two would hide how far an accuracy is from 1."""
    return f"{x:.3f}" if 0.98 <= x < 0.9995 else f"{x:.2f}"


def count(x):
    return f"{x:,.0f}"


def size(x):
    """A number that may be tiny or huge."""
    if not 0.001 <= x < 1e6:
        return f"{x:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    if x < 0.1:
        return f"{x:.3f}"
    if x < 10:
        return f"{x:.2f}"
    return count(float(f"{x:.1e}"))  # two digits and zeros


def between(values, written=accuracy):
    """The median of the seeds, and their range if it can be seen."""
    low, middle, high = (written(x) for x in (min(values), np.median(values), max(values)))
    return middle if low == high else f"{middle} [{low}, {high}]"


def read(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


# --------------------------------------------------------------------------------------------------
# A folder with a depth.json


class Depth:
    """
    What `analyze.py depth` and train.py found in the runs of a folder, as texts.

        best[12]                   accuracy at difficulty 12, with the loop count chosen on val
        loops[12]                  that loop count
        trained[12]                accuracy with the most loops of training
        after[48][12]              accuracy after 48 loops
        control[12]                accuracy of the untied control
        parts[12][name]            accuracy (best) on one kind of question
        shortcuts[12][name]        accuracy of a simpler solver, which does less than is asked
        most_loops                 the most loops of training
        last_loop                  the most loops that were asked of the model
        lost                       the most accuracy that a seed loses, at any difficulty, if it
                                   takes last_loop loops instead of those of `best`
        seeds, minutes, parameters
        growth                     how the loops that are needed grow with the difficulty (numbers)
        fit                        how well two laws fit the error after each loop (numbers)
    """

    def __init__(self, folder):
        found = json.loads((folder / "depth.json").read_text(encoding="utf-8"))
        self.runs, self.difficulty = found["by_run"], found["difficulty"]
        self.seeds = len(found["seeds"])
        self.most_loops, self.last_loop = found["trained_loops"]["largest"], found["loops"][-1]
        self.growth, self.fit = found.get("growth"), found["fit"]
        self.folder = folder

        self.best = self.texts("accuracy_at_best_loops")
        self.trained = self.texts("accuracy_at_trained_loops")
        self.loops = self.texts("best_loops", count)
        self.control = self.texts("control") if found["control"] else {}
        self.parts, self.shortcuts = self.texts_by_name("parts"), self.texts_by_name("shortcuts")
        self.after = {}
        for t in found["loops"]:
            each = [[row[t - 1] for row in run["accuracy"]] for run in self.runs]
            self.after[t] = self.by_difficulty(each)
        lost = []
        for run in self.runs:
            for best, by_loop in zip(run["accuracy_at_best_loops"], run["accuracy"]):
                lost.append(best - by_loop[-1])
        self.lost = f"{max(lost):.3f}"

    def by_difficulty(self, each, written=accuracy):
        """{difficulty: text} of one list for each run, which goes over the difficulties."""
        return {d: between(values, written) for d, values in zip(self.difficulty, zip(*each))}

    def texts(self, key, written=accuracy):
        return self.by_difficulty([run[key] for run in self.runs], written)

    def texts_by_name(self, key):
        """{difficulty: {name: text}}; empty where the runs have no such numbers."""
        texts = {}
        for i, difficulty in enumerate(self.difficulty):
            each = [run[key][i] for run in self.runs if key in run]
            names = each[0] if each else {}
            texts[difficulty] = {name: between([of[name] for of in each]) for name in names}
        return texts

    def logged(self):
        """(minutes, parameters) of each run, from the last line that training prints."""
        alone = self.folder / "alone.txt"  # of runs that no control was trained beside
        path = alone if alone.exists() else self.folder / "log.txt"
        line = r"(?<!control): \d+ steps in ([\d.]+) minutes on \w+, ([\d,]+) parameters"
        return re.findall(line, path.read_text(encoding="utf-8"))

    @property
    def minutes(self):
        return f"{np.median([float(minutes) for minutes, _ in self.logged()]):.1f}"

    @property
    def parameters(self):
        return self.logged()[0][1]


# --------------------------------------------------------------------------------------------------
# Summaries of other files, {name: text} or {name: {name: text}}


def masked():
    """Multi-hop with positions that see far, with all tokens seen and with far ones hidden."""
    found, texts = read("claims/masked"), {}
    for kind in ("seen", "hidden"):
        hops = found[kind][0]
        texts[kind] = {int(n): between([run[n] for run in found[kind]]) for n in hops}
    return texts


def starts(folder):
    """
    Boards of a file, by kind: the accuracy of one start after the loops of training and after many,
    and that of the stillest of nine starts.
    """
    files = [
        json.loads(path.read_text()) for path in sorted((RESULTS / folder).glob("solve*.json"))
    ]
    trained_loops, loops = files[0]["trained_loops"], files[0]["loops"][-1]
    texts = dict(seeds=len(files), trained_loops=trained_loops, loops=loops)
    for kind in ("solved by singles", "need search"):
        each = [numbers[kind] for numbers in files]
        if all(found["boards"] for found in each):
            texts[kind] = dict(
                trained=between([found["boards"][trained_loops - 1] for found in each]),
                more=between([found["boards"][-1] for found in each]),
                kept=between([found["kept"] for found in each]),
            )
    return texts


def starts6():
    return starts("sudoku6")


def starts9():
    return starts("sudoku9")


def minimal9():
    """
    Boards of 9x9 with few clues, by file and recipe: one start after the loops of training and
    after many, and the stillest of nine from noise and with renamed digits.
    """
    texts = {}
    for path in sorted((RESULTS / "sudoku9/minimal").glob("*-noise.json")):
        recipe, file, _ = path.stem.rsplit("-", 2)
        texts.setdefault(recipe.rstrip("0123456789"), {}).setdefault(file, []).append(path)
    for files in texts.values():
        for file, paths in files.items():
            runs = [json.loads(path.read_text()) for path in paths]
            others = [path.with_stem(path.stem.replace("noise", "renamed")) for path in paths]
            renamed = [json.loads(path.read_text()) for path in others]
            trained = runs[0]["trained_loops"]
            files[file] = dict(
                trained=between([share_of(run, trained) for run in runs]),
                more=between([share_of(run, run["loops"][-1]) for run in runs]),
                noise=between([share_of(run) for run in runs]),
                renamed=between([share_of(run) for run in renamed]),
            )
    return texts


def share_of(numbers, loops=None):
    """The share of all boards of a file that is right, after so many loops or of all starts."""
    right = total = 0
    for kind in ("solved by singles", "need search"):
        if puzzles := numbers[kind]["puzzles"]:
            share = numbers[kind]["boards"][loops - 1] if loops else numbers[kind]["kept"]
            right, total = right + puzzles * share, total + puzzles
    return right / total


def phases():
    """Each kind of model: the median step at which it reached 0.9, and its accuracy at the end."""
    numbers, texts = read("phases/phases"), {}
    for worlds in numbers["pooled"]:
        kind, steps = worlds["kind"], worlds["steps"]
        runs = [run for run in numbers["runs"] if run["kind"] == kind and run["steps"][-1] == steps]
        found = dict(seeds=len(runs), steps=count(steps), questions=worlds["questions"])
        for split in ("train", "val", "alone"):
            step = np.median([run["reached"][split] or np.inf for run in runs])
            found[split] = count(step) if np.isfinite(step) else "never"
        found["ID"] = between([run["end"]["test"] for run in runs])
        share, low, high = (accuracy(worlds[key]) for key in ("share", "low", "high"))
        found["OOD"] = f"{share} [{low}, {high}]"
        texts[kind] = found
    return texts


def lens():
    """
    Each kind of loop, after its last phase, on compositions of facts seen alone: what the state
    behind the first loop holds, and the accuracy if a share of that state is rewritten.
    """
    texts = {}
    looks = read("phases/lens")["runs"]
    for kind in dict.fromkeys(look["kind"] for look in looks):
        members = [look for look in looks if look["kind"] == kind]
        last = [list(look["lens"].values())[-1] for look in members]
        texts[kind] = dict(
            seeds=len(members),
            read=between([found["alone"][0][0][1] for found in last]),
            cosine=between([found["alone"][1][1] for found in last]),
            cosine_ID=between([found["val"][1][1] for found in last]),
            unchanged=between([look["patched"]["0"] for look in members]),
            half=between([look["patched"]["0.5"] for look in members]),
            rewritten=between([look["patched"]["1"] for look in members]),
        )
    return texts


def rest():
    """What `analyze.py fixedpoint` found on each task, after its last loop."""
    texts = {}
    for path in (RESULTS / "fixedpoint").glob("*.json"):
        found = json.loads(path.read_text())
        if "at_rest_if_right" not in found:
            continue
        wrong = round((1 - found["right"]) * found["questions"])
        texts[path.stem] = dict(
            right=accuracy(found["right"]),
            wrong=wrong,
            rest_if_right=accuracy(found["at_rest_if_right"]),
            right_from_noise=accuracy(found["right_from_noise"]),
            right_from_another=accuracy(found["right_from_another's end"]),
            cosine_from_noise=accuracy(found["alignment_from_noise_if_right"]),
            cosine_from_another=accuracy(found["alignment_from_another's end_if_right"]),
        )
        enough = wrong >= 10  # of fewer wrong answers, a share or an AUROC says nothing
        texts[path.stem] |= dict(
            rest_if_wrong=accuracy(found["at_rest_if_wrong"]) if enough else "",
            auroc=accuracy(found["auroc"][-1]) if enough else "",
            auroc_within=accuracy(found["auroc_within"][-1]) if enough else "",
        )
    return texts


def exits():
    """Each exit rule beyond the trained hops, at the threshold chosen for it on val."""
    texts = {}
    for rule, found in read("fixedpoint/exits")["rules"].items():
        right, loops = found["hard"][found["settings"].index(found["chosen"])]
        texts[rule] = dict(accuracy=accuracy(right), loops=count(loops))
    return texts


def stages():
    """The loop from which attention repeats itself, with 1 and with 3 layers in the loop."""
    sys.path.append(str(ROOT))
    from analyses.stages import repeats_from

    texts = {}
    for name in ("stages", "stages3"):
        looped = [run["looped"] for run in read(f"fixedpoint/{name}")["runs"]]
        loops = [repeats_from(found["difference"], found["layers"]) for found in looped]
        texts[name] = between(loops, count)
    return texts


def stability():
    """
    random["pre 0.02"]["add"]     movement at random weights, by norm, scale and injection
    trained["0.01"]["concat"]     after training, by learning rate and injection
    """
    found = read("stability/stability")
    random, trained = {}, {}
    for row in found["random"]:
        loop = random.setdefault(f"{row['norm']} {row['std']}", {})
        loop[row["injection"]] = size(row["movement"])
    for row in found["trained"]:
        by_injection = trained.setdefault(f"{row['lr']}", {})
        by_injection[row["injection"]] = dict(
            loss=f"{row['loss']:.2f}",
            radius=f"{row['radius']:.2f}",
            size_8=size(row["size_8"]),
            size_32=size(row["size_32"]),
            growth=size(row["size_32"] / row["size_8"]),
        )
    return dict(random=random, trained=trained, seeds=len(found["seeds"]))


def bench():
    """A training step of 8 loops, for each kind of loop; and what sampled loop counts cost."""
    found, texts = read("bench/bench"), {}
    for row in found["rows"]:
        if row["what"] == "training" and row["loops"] == 8:
            texts[row["kind"]] = dict(
                ms=count(row["ms"]),
                rate=f"{row['share_of_peak']:.2f}" if "share_of_peak" in row else "",
                MB=count(row["memory"] / 1e6) if "memory" in row else "",
            )
    texts["sampled"] = f"{found['sampled']['sampled'] / found['sampled']['fixed']:.2f}"
    return texts


def cache():
    """{kind of cache: {places of carry: text}}"""
    found, texts = read("cache/cache"), {}
    for kind in ("none", "last", "first"):
        by_difficulty = zip(found["difficulty"], zip(*found[f"{kind}_by_run"]))
        texts[kind] = {difficulty: between(values) for difficulty, values in by_difficulty}
    return texts


def latent_thoughts():
    """{"question, model": text}"""
    each = {}  # the accuracies of the seeds
    for run in read("papers/latent_thoughts/latent_thoughts")["by_seed"]:
        for row in run["rows"]:
            name = f"{row['question']}, {row['model']}"
            each.setdefault(name, []).append(row["right"])
    return {name: between(values) for name, values in each.items()}


def papers():
    """How many of the claims of the papers got each verdict."""
    paths = (RESULTS / "papers").glob("*/*.json")
    verdicts = [json.loads(path.read_text(encoding="utf-8"))["verdict"] for path in paths]
    kinds = [verdict.split(" (")[0] for verdict in verdicts]
    return dict(all=len(kinds)) | {kind: kinds.count(kind) for kind in VERDICTS}


SUMMARIES = {
    "bench": bench,
    "cache": cache,
    "exits": exits,
    "latent_thoughts": latent_thoughts,
    "lens": lens,
    "masked": masked,
    "papers": papers,
    "phases": phases,
    "rest": rest,
    "stability": stability,
    "stages": stages,
    "starts6": starts6,
    "starts9": starts9,
    "minimal9": minimal9,
}


# --------------------------------------------------------------------------------------------------
# From names to numbers, and into the files


class Numbers(dict):
    """{name: what stands under results/ by that name}, read when a table asks for it."""

    def __missing__(self, name):
        if name in SUMMARIES:
            self[name] = SUMMARIES[name]()
        elif (RESULTS / f"{name}.json").exists():
            self[name] = read(name)
        else:
            self[name] = Depth(RESULTS / name)
        return self[name]


def read_templates():
    """{name: table} of tables.md."""
    text = (RESULTS / "tables.md").read_text(encoding="utf-8")
    return {name: table for _, name, table, _ in TABLE.findall(text)}


def fill(text, templates, numbers):
    """The text of a file, with its tables written anew."""

    def write(found):
        begin, name, _, end = found.groups()
        return begin + templates[name].format_map(numbers) + end

    return TABLE.sub(write, text)


def main():
    only_check = "--check" in sys.argv
    templates, numbers, stale = read_templates(), Numbers(), []
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        new = fill(text, templates, numbers)
        if new == text:
            continue
        stale.append(path.name)
        if not only_check:
            path.write_text(new, encoding="utf-8")
    what = "differ from their numbers" if only_check else "written"
    print(f"{what}: {', '.join(stale) or 'none'}")
    if only_check and stale:
        sys.exit(1)


if __name__ == "__main__":
    main()
