"""Run folders: two programs at once, other directories, code of others, metrics, more steps."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from helpers import (
    PARITY,
    ROOT,
    STEPS,
    TASK_FLAGS,
    TINY,
    end,
    fork,
    main,
    metrics,
    refused,
    same_checkpoints,
)

import support.session
import train
from analyses.common import find_analysis, run_analysis
from support import figures, files, flags
from support.boards import Boards, load_bank
from support.flags import find_task
from support.folder import draw_curve
from tasks import Sudoku
from train import load_model

pytestmark = pytest.mark.usefixtures("elsewhere")
RUN = ["--task", "multihop", *TINY, "--out", "run"]
LONG = [*RUN, "--steps", "100000"]


def edit_config(**changes):
    path = Path("run/config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def wait_for(path):
    """Until there is something in the file."""
    deadline = time.time() + 200
    while not (Path(path).exists() and Path(path).stat().st_size) and time.time() < deadline:
        time.sleep(0.02)


# ---- what loses work


def test_only_one_program_at_a_time_trains_in_a_folder(capsys):
    process = fork(LONG, output="said.txt")
    wait_for("run/config.json")
    for argv in (["--out", "run", "--resume"], [*RUN, "--overwrite", "--seed", "1"]):
        assert "another program is training in" in refused(lambda: main(argv), capsys)
    os.kill(process.pid, signal.SIGTERM)
    assert end(process) == 0 and json.loads(Path("run/config.json").read_text())["seed"] == 0
    main(["--out", "run", "--resume", "--minutes", "1e-9"])  # now it is free
    assert os.path.realpath("run") not in files.locks


def test_a_checkpoint_of_another_run_is_refused(run, capsys):
    assert load_model("run")
    edit_config(seed=1)
    assert "its --seed is another" in refused(lambda: load_model("run"), capsys)


@pytest.mark.parametrize("ends_before", ("the checkpoint", "the config"))
def test_a_run_that_is_stopped_before_its_config_is_there_begins_again(ends_before, monkeypatch):
    save = files.save

    def stop(path, content):
        if path.name == "config.json" or ends_before == "the checkpoint":
            raise KeyboardInterrupt
        save(path, content)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(support.session, "save", stop)
        main(RUN)
    assert (
        stopped.value.code == 130 and Path("run").exists() and not Path("run/config.json").exists()
    )
    main(RUN)
    assert load_model("run")


@pytest.mark.parametrize("precious", ("thesis.txt", "metrics.jsonl", "checkpoint.pt"))
def test_a_folder_with_anything_else_is_left_alone(precious, capsys):
    Path("run").mkdir()
    Path("run", precious).write_text("precious")
    assert "not empty" in refused(lambda: main(RUN), capsys)
    assert Path("run", precious).read_text() == "precious"


def test_no_training_is_lost_to_its_picture(capsys, monkeypatch):
    odd = os.fsdecode(b"$^$ \xff")
    main([*RUN[:-1], odd], curve=True)
    assert Path(odd, "curve.png").exists()
    monkeypatch.setattr(figures.Figure, "savefig", lambda *_, **__: 1 / 0)
    capsys.readouterr()
    main(RUN, curve=True)
    said = capsys.readouterr()
    assert "there is no curve.png: division by zero" in said.err and "accuracy by" in said.out


ALONE = [sys.executable, str(ROOT / "train.py"), *RUN]


@pytest.mark.parametrize("environment", (dict(RANK="1"), dict(RANK=""), dict(WORLD_SIZE="x")))
def test_a_rank_without_other_processes_is_one_process(environment):
    code = "from support import processes as p; print(p.RANK, p.RANKS, p.LOCAL_RANK)"
    environment = {**os.environ, **environment}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert said.stdout == "0 1 0\n"


def test_an_error_is_said_by_the_rank_that_has_it(capsys, monkeypatch):
    monkeypatch.setattr("support.processes.RANK", 1)
    assert "--steps" in refused(lambda: main(["--steps", "0"]), capsys)


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))
def test_a_signal_to_both_processes_keeps_the_checkpoint_of_the_control(number):
    """As a terminal sends Ctrl-C; and train.py then tells the control to stop, once more."""
    argv = [*ALONE, "--steps", "100000", "--control", "--eval_every", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        argv, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    wait_for("run/control/metrics.jsonl")
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0 and "Traceback" not in said, said
    assert "finishing this step, then saving" in said
    for folder in ("run", "run/control"):
        assert torch.load(f"{folder}/checkpoint.pt", weights_only=True)["step"] > 0


def test_training_in_a_thread_needs_no_signals():
    thread = threading.Thread(target=main, args=(RUN,))
    thread.start()
    thread.join()
    assert metrics("run").count("\n") == 2


def test_a_bank_that_cannot_be_kept_is_used_all_the_same(tmp_path, monkeypatch, capsys):
    def full_disk(content, path):
        path.write_bytes(b"half")
        raise RuntimeError("No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    bank = load_bank(Boards("2x2"), 60, False, tmp_path / "banks", "")
    said = capsys.readouterr().err
    assert len(bank["train"]["puzzle"]) and "--banks" in said and "No space left" in said
    assert not list((tmp_path / "banks").iterdir())


# ---- from elsewhere, and from somebody else


@pytest.mark.parametrize("place, folder", (("", "one/runs/run"), ("one/runs", "run")))
def test_a_run_is_loaded_from_another_directory(place, folder, tmp_path, monkeypatch):
    Path("one").mkdir()
    monkeypatch.chdir("one")
    Path("parity.py").write_text(PARITY)
    main(["--task", "parity.py", *TINY, "--out", "runs/run"])
    monkeypatch.chdir(tmp_path / place)
    find_task.cache_clear()  # as in a new process
    assert type(load_model(folder)[1]).__name__ == "Parity"
    main(["--out", folder, "--resume"])


def test_code_that_a_config_names_is_run_only_if_the_user_names_it_too(run, capsys):
    Path("run/evil.py").write_text(STEPS + "open('executed', 'w')\n")
    edit_config(model="run/evil.py")
    depth = find_analysis("fixedpoint")
    calls = (
        lambda: load_model("run"),
        lambda: main(["--out", "run", "--resume"]),
        lambda: run_analysis(depth, ["run", "--device", "cpu"]),
    )
    for call in calls:
        assert "add --model run/evil.py" in refused(call, capsys)
    assert not Path("executed").exists()
    refused(lambda: load_model("run", model="run/evil.py"), capsys)  # its weights are others
    assert Path("executed").exists()


def test_files_of_this_repository_may_be_run_but_not_those_in_a_run_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(flags, "ROOT", tmp_path)
    (tmp_path / "runs/foreign").mkdir(parents=True)
    (tmp_path / "runs/foreign/config.json").write_text("{}")
    assert flags.may_be_executed(tmp_path / "my_task.py")
    assert not flags.may_be_executed(tmp_path / "runs/foreign/my_task.py")
    assert not flags.may_be_executed(tmp_path / "runs/evil.py")  # beside the folder of a run
    assert not flags.may_be_executed(tmp_path.parent / "my_task.py")


def test_what_a_task_says_is_not_called_damage(run, capsys):
    edit_config(hops=-1)
    said = refused(lambda: load_model("run"), capsys)
    assert "must be at least 1" in said and "damaged" not in said


def test_a_model_of_another_vocabulary_is_no_damage(run, capsys):
    checkpoint = torch.load("run/checkpoint.pt", weights_only=True)
    checkpoint["model"]["embed.weight"] = checkpoint["model"]["embed.weight"][1:]
    torch.save(checkpoint, "run/checkpoint.pt")
    said = refused(lambda: load_model("run"), capsys)
    assert "does not fit" in said and "embed.weight" in said and "damaged" not in said


def test_weights_of_nan_are_refused_when_they_are_loaded(run, capsys):
    checkpoint = torch.load("run/checkpoint.pt", weights_only=True)
    checkpoint["model"]["embed.weight"][0, 0] = torch.nan
    torch.save(checkpoint, "run/checkpoint.pt")
    assert "weights that are no numbers" in refused(lambda: load_model("run"), capsys)


def test_a_model_is_loaded_without_the_bank_of_its_training():
    argv = ["--task", "sudoku", "--puzzles", "300", "--banks", "banks", *TINY, "--out", "run"]
    main(argv)
    for path in Path("banks").iterdir():
        path.unlink()
    assert isinstance(load_model("run")[1], Sudoku) and not list(Path("banks").iterdir())


def test_a_model_is_loaded_without_the_file_of_its_training():
    Path("four.txt").write_text("123.3412214343..\n" * 50)
    main(["--task", "sudoku", "--file", "four.txt", *TINY, "--out", "run"])
    Path("four.txt").unlink()
    task = load_model("run")[1]
    assert isinstance(task, Sudoku)
    with pytest.raises(ValueError, match="cannot read .*four.txt"):
        task.batch("test", 0, 4)


def test_a_run_that_was_moved_takes_the_task_that_is_named(capsys):
    Path("here").mkdir()
    Path("here/my_parity.py").write_text(PARITY)
    main(["--task", "here/my_parity.py", *TINY, "--out", "run"])
    Path("elsewhere/deep").mkdir(parents=True)
    Path("run").rename("elsewhere/deep/run")
    Path("here").rename("there")
    moved = "elsewhere/deep/run"
    flags.find_task.cache_clear()  # as in a new process
    assert "here/my_parity.py is unknown" in refused(lambda: load_model(moved), capsys)
    assert load_model(moved, task="there/my_parity.py")[2].task == "there/my_parity.py"
    run_analysis(find_analysis("cost"), [moved, "--device", "cpu", "--task", "there/my_parity.py"])


# ---- metrics.jsonl


@pytest.mark.parametrize("text", ("garbage\n", "[1]\n", "3\n", '{"step": 1}\n', '{"step": "x"}\n'))
def test_a_damaged_metrics_file_is_named(text, run, capsys):
    Path("run/metrics.jsonl").write_text(text)
    said = refused(lambda: main(["--out", "run", "--resume"]), capsys)
    assert "run/metrics.jsonl is damaged: its line 1" in said
    assert Path("run/metrics.jsonl").read_text() == text


def test_analyses_name_a_damaged_file(run, capsys):
    Path("run/depth.json").write_text("[1]")
    compare = find_analysis("compare")
    said = refused(lambda: run_analysis(compare, ["run", "--device", "cpu"]), capsys)
    assert "run/depth.json is not one of this program" in said
    main(["--task", "composition", *TASK_FLAGS["composition"], *TINY, "--out", "facts"])
    Path("facts/metrics.jsonl").write_text(metrics("run"))  # of multihop, without these splits
    phases = find_analysis("phases")
    said = refused(lambda: run_analysis(phases, ["facts", "--device", "cpu"]), capsys)
    assert "facts/metrics.jsonl has no accuracies of train" in said
    Path("facts/metrics.jsonl").write_text("garbage\n")
    said = refused(lambda: run_analysis(phases, ["facts", "--device", "cpu"]), capsys)
    assert "facts/metrics.jsonl is damaged: its line 1" in said


@pytest.mark.parametrize("text", ("", None))
def test_a_finished_run_without_metrics_has_no_curve(text, run):
    Path("run/metrics.jsonl").unlink()
    if text is not None:
        Path("run/metrics.jsonl").write_text(text)
    main(["--out", "run", "--resume"], curve=True)
    assert not Path("run/curve.png").exists()


# ---- more steps


@pytest.mark.parametrize("done", (["--minutes", "1e-9"], []), ids=("stopped", "finished"))
def test_more_steps_are_those_of_a_run_whose_cosine_ended_before(done, capsys):
    flags = ["--task", "multihop", "--hops", "2", *TINY]
    main([*flags, "--steps", "9", "--decay_steps", "6", "--out", "straight"])
    main([*flags, "--out", "run", *done])
    main(["--out", "run", "--resume", "--steps", "9"])
    assert "from step 6 to 9 the learning rate stays at 0.00015" in capsys.readouterr().err
    assert same_checkpoints("run", "straight") and metrics("run") == metrics("straight")
    said = refused(lambda: main(["--out", "run", "--resume", "--steps", "7"]), capsys)
    assert "--steps 7 (there: 9)" in said


def test_the_advice_to_resume_can_be_pasted(capsys, monkeypatch):
    Path("my parity.py").write_text(PARITY)
    main(["--task", "my parity.py", *TINY, "--minutes", "1e-9", "--out", "my run"])
    command = f"{os.path.relpath(ROOT)}/train.py --out 'my run' --resume --task 'my parity.py'"
    assert f"continue with: python {command}\n" in capsys.readouterr().out
    monkeypatch.setattr(support.session, "RANKS", 2)
    run = support.session.Run.__new__(support.session.Run)
    run.folder, run.flags = Path("my run"), train.parse_flags(["--task", "my parity.py"])[0]
    assert run.command_to_resume() == f"torchrun --nproc_per_node 2 {command}"


# ---- a read-only folder, and a notebook of somebody else


def test_a_read_only_run_is_refused_before_anything_is_computed(run, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr("analyses.common.load_model", lambda *_: 1 / 0)
    call = ["run", "--device", "cpu"]
    assert "copy the folder" in refused(lambda: run_analysis(find_analysis("cost"), call), capsys)


def test_to_import_this_project_changes_nothing_in_matplotlib():
    code = (
        "import matplotlib as m; m.use('svg'); before = dict(m.rcParams)\n"
        "import analyze, train, analyses.solve; from support.figures import plt\n"
        "plt.subplots(); assert dict(m.rcParams) == before and m.get_backend() == 'svg'"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_reader_that_goes_away_is_no_error():
    code = (
        "from support.processes import run_main\nrun_main(lambda: [print('x' * 99)"
        " for _ in range(9999)])"
    )
    line = f'{sys.executable} -c "{code}" | head -1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 141 and done.stderr == ""


def test_a_closed_stderr_loses_nothing():
    line = " ".join(ALONE) + " 2>&-"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert subprocess.run(["bash", "-c", line], env=environment).returncode == 0
    assert Path("run/curve.png").exists() and load_model("run")


def test_the_title_of_the_curve_rounds_no_accuracy_up_to_one(elsewhere, monkeypatch):
    Path("metrics.jsonl").write_text('{"step": 5, "loss": 0.1, "val": {"1": 1.0, "2": 0.998}}\n')
    titles = []
    monkeypatch.setattr(
        "support.folder.save_figure",
        lambda figure, *_, **__: titles.append(figure.get_suptitle()),
    )
    draw_curve(Path("."))
    assert "0.998" in titles[0] and "1.00" not in titles[0]
