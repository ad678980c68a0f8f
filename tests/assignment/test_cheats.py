"""
Submissions that try to get points, secrets or the grader itself. Each runs as in a hidden course,
under the guard that this machine has; without one these tests are skipped.
"""

import io
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grade
import pytest
import torch
from grader import messages, sandbox
from helpers import ROOT
from mistakes import DONE

SALT = "a-secret-of-the-tests"  # as in conftest.py


@pytest.fixture(scope="session")
def guarded(hidden):
    guard = sandbox.find_guard(hidden.files)
    if not guard:
        pytest.skip("needs bubblewrap, or root with a Python that all users can read")
    return replace(hidden, guard=guard)


def graded(course, submission, *checks, seconds=60):
    """Under each check, the points and the message."""
    found = grade.grade(submission, course, checks, seconds=seconds)
    return [(points, message) for _, points, message in found]


# ---- forged answers

FORGE = """
import json, os, struct
def say(value):  # into every pipe there is
    text = json.dumps(value).encode()
    for pipe in range(3, 20):
        try:
            os.write(pipe, struct.pack("<2Q", len(text), 0) + text)
        except OSError:
            pass
"""
NO_FORM = "the answer has not the form that it should have"
SHAPELESS = dict(kind="float32", shape=[10**9, 0])
FORGED = {  # {name: (looped.py, what it is told)}
    "an answer of nothing": (f"{FORGE}say(dict(said={{}})); os._exit(0)", NO_FORM),
    "an answer of another shape": (
        f"{FORGE}say(dict(said={{'one layer': {SHAPELESS}}})); os._exit(0)",
        NO_FORM,
    ),
    "no message": (f"{FORGE}say([[]]); os._exit(0)", NO_FORM),
    "an announcement of too much": (
        f"{FORGE}struct.pack = lambda *_: b'\\xff' * 16\nsay(0); os._exit(0)",
        "an answer of more than 20 MB",
    ),
    "a fresh start of the clock": (f"{FORGE}say(dict(said='ready'))\nwhile True: pass", NO_FORM),
    "a complaint that clears the screen": (
        "raise ValueError('\\x1b[2J\\n' + 'all points' * 10**6)",
        "ValueError: ?[2J all points",
    ),
    "an end behind the answer": (f"{FORGE}os.kill(os.getpid(), 19)", "did not end within 4 sec"),
    "an end without an answer": ("import os; os._exit(0)", "ended the program with code 0"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_answer_gets_nothing(name, guarded):
    code, wanted = FORGED[name]
    [(points, message)] = graded(guarded, {"looped.py": code.encode()}, "e1_loop", seconds=4)
    assert points == 0 and message.isprintable() and len(message) < 600
    assert wanted in message, message


def test_a_task_that_speaks_for_itself_gets_nothing(guarded, full):
    code = f"{FORGE}say(dict(said=dict(tokens={{}}, again={{}}, difficulty={{}}))); os._exit(0)"
    for points, message in graded(guarded, full | {"my_task.py": code.encode()}, "e3"):
        assert points == 0 and NO_FORM in message, message


def frame(text, numbers=b""):
    return io.BytesIO(struct.pack("<2Q", len(text), len(numbers)) + text + numbers)


@pytest.mark.parametrize(
    "text",
    [
        b'{"kind": "float32", "shape": [4000000000]}',  # more rows than bytes
        b'{"kind": "float32", "shape": [1000000000, 0]}',
        b'{"kind": "float32", "shape": [-1, -4]}',
        b'{"kind": "float32", "shape": [true]}',
        b'{"kind": "float32", "shape": "4"}',
        b'{"kind": "load", "shape": [1]}',
        b"[" * 100_000,
        b"9" * 100_000,
        b"\xff",
    ],
    ids=lambda text: repr(text[:60]),
)
def test_no_message_can_take_more_than_it_brings(text):
    with pytest.raises((ValueError, RecursionError)):
        messages.receive(frame(text, bytes(4)))


def test_messages_bring_what_was_sent():
    file = io.BytesIO()
    sent = {"a": [1, 0.5, None, True, "text"], "b": torch.rand(3, 2), "c": torch.zeros(2, 0)}
    sent["d"] = torch.tensor([True, False]).expand(4, 2)
    messages.send(file, sent)
    file.seek(0)
    got = messages.receive(file)
    assert got["a"] == sent["a"]
    assert all(torch.equal(got[name], sent[name]) for name in "bcd") and got["d"].is_contiguous()
    assert messages.receive(frame(b'{"kind": "bool", "shape": [1]}', b"\x07")).sum() == 1
    with pytest.raises(TypeError, match="an answer cannot hold a set"):
        messages.send(file, {1})


def test_counts_of_the_submission_are_not_taken(guarded, full):
    """A `think` that loops every row to the end, and says of itself whatever it likes."""
    plain = (ROOT / "looped.py").read_text()
    line = "class LoopedGPT(nn.Module):\n"
    lies = f"{line}    rows = property(lambda self: 14, lambda self, value: None)\n"
    lies += "    rows_with_gradient = rows\n\n"
    assert line in plain
    submission = full | {"looped.py": plain.replace(line, lies).encode()}
    assert graded(guarded, submission, "e2_cost") == [(0, DONE)]


# ---- secrets

SPY = """
import os, socket
from pathlib import Path

salt = {salt!r}[::-1].encode()  # the spy knows it only to say whether it has seen it
seen = []
for name in ("environ", "cmdline", "maps", "mem"):
    for process in Path("/proc").glob("[0-9]*"):
        try:
            seen.append((process / name).read_bytes())
        except OSError:
            pass
for top in {folders!r}:
    for folder, _, names in os.walk(top):
        for name in names:
            try:
                seen.append(Path(folder, name).read_bytes())
            except OSError:
                pass
may = []
for path in ({python!r}, "/etc", "/usr/bin"):
    if os.access(path, os.W_OK):
        may.append(f"write {{path}}")
if {walls!r}:
    try:
        socket.create_connection(("127.0.0.1", {port}), 1)
        may.append("use the network")
    except OSError:
        pass
told = f"salt seen: {{any(salt in each for each in seen)}}"
raise ValueError(f"read {{len(seen)}} files, {{told}}, may {{may}}, root: {{os.getuid() == 0}}")
"""


def test_a_spy_finds_neither_the_salt_nor_another_check(guarded, folders):
    hidden_file = folders / "autograder" / "hidden.pt"
    assert SALT.encode() in hidden_file.read_bytes()
    with tempfile.TemporaryDirectory(prefix="check-") as other, socket_that_listens() as port:
        Path(other, "config.json").write_text(SALT)  # as in the folder of another check
        code = SPY.format(
            salt=SALT[::-1],
            folders=[str(folders / "autograder"), other, "."],
            python=os.path.dirname(torch.__file__),
            walls=guarded.guard == "bubblewrap",
            port=port,
        )
        [(_, message)] = graded(guarded, {"looped.py": code.encode()}, "e1_loop")
    assert "salt seen: False, may [], root: False" in message and "read 0" not in message, message


def socket_that_listens():
    import contextlib
    import socket

    @contextlib.contextmanager
    def listening():
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield server.getsockname()[1]

    return listening()


def test_the_solution_is_not_beside_a_task(guarded, full):
    code = "text = open('looped.py').read()\nraise ValueError(text.count('raise NotImplemented'))"
    [(_, message)] = graded(guarded, full | {"my_task.py": code.encode()}, "e3_pure")
    assert "ValueError: " in message and "ValueError: 0" not in message, message


# ---- harm

MARK = f"7531{os.getpid()}"  # seconds of sleep, by which its processes are known
SURVIVOR = """
import os, subprocess
for _ in range(60):
    try:
        subprocess.Popen(["sleep", "{mark}"], start_new_session=True)
    except OSError:
        break
for _ in range(3000):  # deeper than a program may go that cleans up
    os.mkdir("d")
    os.chdir("d")
for pid in os.listdir("/proc"):
    if pid.isdecimal() and int(pid) not in (os.getpid(), 1):
        try:
            os.kill(int(pid), 19)  # stop
        except OSError:
            pass
raise ValueError("all is done")
"""


def sleepers():
    """The processes that SURVIVOR started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [path] * (MARK.encode() in path.read_bytes())
        except OSError:
            pass
    return found


def test_nothing_of_a_submission_survives_or_harms_another_check(guarded, full, monkeypatch):
    made, make = [], tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **more: made.append(make(**more)) or made[-1])
    with ThreadPoolExecutor(2) as pool:
        honest = pool.submit(graded, guarded, full, "e1_loop")
        code = SURVIVOR.replace("{mark}", MARK)
        [(_, message)] = graded(guarded, {"looped.py": code.encode()}, "e1_readout")
        assert "all is done" in message, message
        assert honest.result() == [(5, "")]
    assert not sleepers()
    assert len(made) == 2 and not any(map(os.path.exists, made))


@pytest.mark.skipif(not sandbox.is_root(), reason="the limit belongs to the user of a check")
def test_processes_and_memory_have_a_limit(guarded):
    code = "import subprocess\nfor count in range(200):\n    try:\n"
    code += "        subprocess.Popen(['sleep', '9'])\n    except OSError:\n        break\n"
    code += "try:\n    x = bytearray(2**31)\nexcept MemoryError:\n    count += 1000\n"
    code += "raise ValueError(f'{1000 < count < 1040}')"
    [(_, message)] = graded(guarded, {"looped.py": code.encode()}, "e1_loop")
    assert "ValueError: True" in message, message


# ---- the grader itself


def test_without_a_guard_nothing_is_graded(folders, full, monkeypatch, capsys, tmp_path):
    hidden_file = folders / "autograder" / "hidden.pt"
    sandbox.write(full, tmp_path)
    monkeypatch.setattr(sandbox, "find_guard", lambda files: "")
    with pytest.raises(SystemExit) as stop:
        grade.main([str(tmp_path), "--hidden", str(hidden_file)])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and "install bubblewrap" in error and error.count("\n") == 1


def test_a_grader_that_is_stopped_loses_nothing(folders, tmp_path):
    hidden_file = folders / "autograder" / "hidden.pt"
    before = hidden_file.read_bytes()
    runs = tmp_path / "runs"
    endless = f"import os, time\nopen({str(runs)!r}, 'w').write(str(os.getpid()))\n"
    sandbox.write({"looped.py": f"{endless}time.sleep(600)".encode()}, tmp_path / "endless")
    words = ["grade.py", tmp_path / "endless", "--hidden", "hidden.pt", "--trust", "--only", "e1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    grader = subprocess.Popen(
        [sys.executable, *map(str, words)], cwd=folders / "autograder", env=environment
    )
    wait_until(lambda: runs.exists() and runs.read_text())
    grader.send_signal(signal.SIGTERM)
    assert grader.wait(20) == -signal.SIGTERM
    assert hidden_file.read_bytes() == before and hidden_file.stat().st_mode & 0o777 == 0o600
    if sys.platform == "linux":  # the submission ends, too
        assert wait_until(lambda: not os.path.exists(f"/proc/{runs.read_text()}"))


def wait_until(it_is_so):
    end = time.time() + 120
    while not it_is_so() and time.time() < end:
        time.sleep(0.1)
    return it_is_so()
