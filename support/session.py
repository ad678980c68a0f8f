"""
A run while it lasts: its progress bar, its checkpoints, and when it stops. And the control that is
trained beside it.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import torch
from tqdm import tqdm

from support.files import save, unlock
from support.flags import ROOT
from support.folder import VERSION, config_of, draw_curve, read_metrics, saved_flags
from support.hashing import stream
from support.processes import RANK, RANKS, agree, fail, loss_function


class Run:
    """
    One training run: its folder, its bar, when it is saved and when it stops. `parts` are the
    model, the optimizer and the average of the weights or None, {name: ..}; `progress` (step,
    level, mastery) is saved beside them. With a checkpoint the run goes on from there.
    """

    def __init__(self, flags, task, parts, progress, checkpoint=None):
        self.flags, self.task, self.parts, self.progress = flags, task, parts, progress
        self.folder, self.began, self.stopped = Path(flags.out), time.time(), []
        self.time_is_up = False  # after --minutes
        self.results = {}  # of the last evaluation; none if a run is resumed that had ended
        self.unsaved_row = None  # of an evaluation that only --minutes brought about
        self.model = parts["model"]
        self.device = next(self.model.parameters()).device.type
        self.loss = loss_function(flags, self.model)
        if checkpoint:
            for name, part in parts.items():
                if part:
                    part.load_state_dict(checkpoint[name])
            progress.update({name: checkpoint[name] for name in progress})
            if RANK == 0:
                self.forget_after(progress["step"])
        elif RANK == 0:
            self.save()
            save(self.folder / "config.json", json.dumps(config_of(flags), indent=1))
        self.bar = tqdm(
            total=flags.steps,
            initial=progress["step"],
            desc=self.folder.name,
            position=int(os.environ.get("LOOPED_BAR", 0)),
            mininterval=0.5,
            disable=True if RANK > 0 else None,  # None: only where a terminal shows it
        )

    def save(self):
        if RANK == 0:
            state = {name: part.state_dict() if part else None for name, part in self.parts.items()}
            state.update(version=VERSION, config=saved_flags(self.flags), **self.progress)
            save(self.folder / "checkpoint.pt", state)

    def forget_after(self, step):
        """
        Drop the lines that a run wrote after its last checkpoint, and a last one that was cut in
        half.
        """
        rows = [row for row in read_metrics(self.folder) if row["step"] <= step]
        save(self.folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def steps(self):
        """
        The steps to do, until the last, --minutes, Ctrl-C or SIGTERM (a step is finished; asked
        twice, it stops).
        """

        is_control = "LOOPED_CONTROL" in os.environ  # see control_beside

        def finish_step_and_stop(number, _):
            if self.stopped and not is_control:
                raise KeyboardInterrupt
            self.stopped.append("interrupted")
            # the step may be followed by an evaluation (print is not safe in a handler)
            os.write(2, b"\nfinishing this step, then saving; once more to stop at once\n")

        asked = [signal.SIGINT, signal.SIGTERM]
        if is_control:
            asked.remove(signal.SIGINT)
        if not hears_signals():
            asked = []
        handlers = {each: signal.signal(each, finish_step_and_stop) for each in asked}
        try:
            for step in range(self.progress["step"], self.flags.steps):
                if (
                    self.flags.minutes
                    and RANK == 0
                    and time.time() - self.began > 60 * self.flags.minutes
                ):
                    self.time_is_up = True  # so this step is the last
                    self.stopped.append(f"stopped after {self.flags.minutes} minutes")
                # for state_init="noise"
                torch.manual_seed(stream(self.flags.seed, "noise", step) + RANK)
                yield step
                level, mastery = self.progress["level"], self.progress["mastery"]
                stop, level, mastery = agree(bool(self.stopped), level, mastery)
                self.progress.update(level=level, mastery=mastery)
                if stop and step + 1 < self.flags.steps:
                    self.save()
                    break
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self.bar.close()
            unlock(self.folder)

    def show(self, **now):
        """The bar moves on by a step."""
        postfix = "loss {loss:.3f}, right {right:.2f}, {loops:.1f} loops, difficulty to {level}"
        self.shown = postfix.format(**now)
        self.bar.set_postfix_str(self.shown, refresh=False)
        self.bar.update()

    def is_due(self, step):
        """Is it time for an evaluation?"""
        return self.is_regular(step) or self.time_is_up

    def is_regular(self, step):
        return (step + 1) % self.flags.eval_every == 0 or step + 1 == self.flags.steps

    def log(self, model, results, **row):
        """
        An evaluation: a line of metrics.jsonl, the weights that were judged (with --snapshots), a
        checkpoint. One that only --minutes brought about is told and drawn and not written: a
        resumed run shall leave the same lines as one that never stopped.
        """
        self.results = results
        regular = self.is_regular(row["step"] - 1)
        if not regular:
            self.unsaved_row = {**row, **results}
        if RANK > 0 or not regular:
            return
        if self.bar.disable:
            print(
                f"{self.folder}: step {row['step']} of {self.flags.steps}, {self.shown}",
                file=sys.stderr,
            )
        with open(self.folder / "metrics.jsonl", "a") as file:
            file.write(json.dumps({**row, **results}) + "\n")
        if self.flags.snapshots:
            save(self.folder / "snapshots" / f"{row['step']:06d}.pt", model.state_dict())
        self.save()

    def fail_at(self, loss, gradient, tokens, loops):
        """End the run because its loss is no number any more."""
        self.bar.close()
        what = f"the loss is {loss.item()}, its gradient {gradient.item()}"
        if hasattr(self.model, "think"):
            with torch.no_grad():
                size = self.model.think(tokens, loops).norm(dim=-1).mean().item()
            what += f" and the size of a state {size:.3g}"
        good = f"the last good checkpoint is {self.folder}/checkpoint.pt"
        step = self.progress["step"]
        fail(
            f"{what} at step {step}; {good}. Try a lower --lr or --clip, or another --norm", code=1
        )

    def close(self):
        """
        The last evaluation, {split: {difficulty: accuracy}}, told and drawn; None if the run was
        interrupted.
        """
        flags, done, level = self.flags, self.progress["step"], self.progress["level"]
        if RANK > 0:
            return None
        if done == flags.steps or self.time_is_up:
            try:
                draw_curve(self.folder, self.unsaved_row)
            except Exception as error:  # of a font, a disk, ..: the run itself has ended well
                print(f"there is no curve.png: {error}", file=sys.stderr)
            minutes = (time.time() - self.began) / 60
            size = sum(p.numel() for p in self.model.parameters())
            print(
                f"{self.folder}: {done} steps in {minutes:.1f} minutes on {self.device}, {size:,} "
                "parameters"
            )
            for split, result in self.results.items():
                accuracies = "  ".join(
                    f"{difficulty}: {accuracy:.3f}" for difficulty, accuracy in result.items()
                )
                print(f"accuracy by difficulty ({split} split): {accuracies}")
            if level < (hardest := self.task.max_difficulty):
                print(
                    f"the curriculum opened difficulty {level} of {hardest}: no harder question "
                    "was trained"
                )
        if done < flags.steps:
            why = (self.stopped or ["interrupted"])[0]
            print(f"{why} at step {done}; continue with: {self.command_to_resume()}")
        return self.results if done == flags.steps or self.time_is_up else None

    def command_to_resume(self):
        flags, start = self.flags, ["python"]
        if RANKS > 1:
            start = ["torchrun", "--nproc_per_node", str(RANKS)]
        program = ROOT / "train.py"
        with suppress(ValueError):  # on another drive of Windows
            program = os.path.relpath(program)
        words = [*start, str(program), "--out", str(self.folder), "--resume"]
        for name in ("task", "model"):
            if getattr(flags, name).endswith(".py"):
                words += [f"--{name}", getattr(flags, name)]
        return shlex.join(words) + " --control" * flags.control


def hears_signals():
    """Of all threads, Python lets only the main one handle signals."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def control_beside(flags, most_loops):
    """
    With --control: the untied control, trained beside the run in a process of its own, on the same
    data. It has as many distinct layers as the run's most loops, all of them always used, and
    pre-norm, which suits it better (results/LOG.md). If the run does not end well, the control is
    stopped, too.
    """
    control = SimpleNamespace(run_ended_well=False)
    if not flags.control:
        yield control
        return
    folder = Path(flags.out, "control")
    chosen = {**vars(flags), "tied": False, "sampler": "fixed", "loops": most_loops, "norm": "pre"}
    chosen.update(backprop_loops=0, checkpoint_loops=0, out=str(folder), control=False)
    chosen.update(overwrite=False, resume=flags.resume and (folder / "checkpoint.pt").exists())
    argv = [sys.executable, str(ROOT / "train.py")]
    for name, value in chosen.items():
        if name in ("ranks", "lead", "slack"):
            continue
        if isinstance(value, bool):
            argv += [f"--{name}" if value else f"--no-{name}"]
        else:
            argv += [f"--{name}", str(value)]
    environment = {**os.environ, "LOOPED_BAR": "1", "LOOPED_CONTROL": "1"}  # the line of its bar
    # A terminal sends Ctrl-C to both processes, and a cluster SIGTERM. The control ignores the
    # first, and it may hear the second twice: below, it is told to stop.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if hears_signals() else None
    process = subprocess.Popen(argv, env=environment)
    if hears_signals():
        signal.signal(signal.SIGINT, handler)
    try:
        yield control
    finally:
        if not control.run_ended_well:
            process.terminate()  # it saves and leaves, too (on Windows it only leaves)
        code = process.wait()
    if code and control.run_ended_well:
        raise SystemExit(code)
