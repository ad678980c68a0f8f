"""
One check of a submission, in a process and a folder of its own.

The process knows what is asked, but not what is right: it sends the answers back to this process,
which compares them. Whatever the submission does, one line about it comes back.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

START_SECONDS = 180  # to import PyTorch, on whatever machine
PRINTED = 1_000_000  # bytes
ANSWER = 100_000_000


def write(files, folder):
    """Files {"a/b.py": bytes} into a folder."""
    for name, content in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def run(files, probe, payload, seconds):
    """
    (the answer of the probe or None, a complaint or ""). `files` are those of the submission and of
    the grader.
    """
    with tempfile.TemporaryDirectory(prefix="check-") as top:
        folder, out = Path(top, "submission"), Path(top, "out")
        write(files, folder)
        out.mkdir()
        Path(top).chmod(0o755)
        if user := other_user():
            for path in (folder, *folder.rglob("*"), out):
                os.chown(path, user["user"], user["group"])
        began = time.time()
        with open(Path(top, "printed"), "wb") as printed:
            process = subprocess.Popen(
                [sys.executable, "-u", str(folder / "grader" / "child.py"), probe, str(out)],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=printed,
                stderr=subprocess.STDOUT,
                env=environment(folder),
                start_new_session=True,
                **user,
            )
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(payload).encode())
                process.stdin.close()
            complaint = watch(process, out, Path(top, "printed"), seconds, began)
        finally:
            end(process)
        for name, content in files.items():
            if is_ours(name) and differs(folder / name, content):
                found = f"the submission changed {name} while it ran"
                return None, f"{found}: the grader's files are not yours to edit"
        return (None, complaint) if complaint else read(out, process.returncode)


def watch(process, out, printed, seconds, began):
    """Wait for the end of the process; a complaint if it is no good end."""
    while process.poll() is None:
        time.sleep(0.05)
        ready = out / "ready"
        with suppress(OSError):
            began = max(began, ready.stat().st_mtime)
        if printed.stat().st_size > PRINTED:
            return "printed more than a megabyte: leave out what you print in a loop"
        limit = seconds if ready.exists() else START_SECONDS
        if time.time() - began > limit:
            return f"did not end within {limit:g} seconds: does a loop never stop?"
    return ""


def read(out, code):
    """The answer that child.py left."""
    from support.files import load_tensors

    path = out / "answer.pt"
    if not path.exists():
        how = f"ended the program with code {code}"
        if code < 0:
            how = f"was killed by signal {-code} (out of memory?)"
        return None, f"{how} before it had answered: a submission returns, it does not exit"
    if path.stat().st_size > ANSWER:
        return None, "answered with more than 100 MB"
    try:
        answer = load_tensors(path)
        complaint, kind = answer.get("complaint", ""), answer.get("kind", "")
    except Exception as error:  # the file can hold anything
        return None, f"left an answer that cannot be read ({type(error).__name__})"
    if kind == "unwritten":
        return None, f"not written yet ({complaint})"
    return (None, complaint) if complaint else (answer["answer"], "")


def is_ours(name):
    return name.startswith("grader/") or name == "grade.py"


def differs(path, content):
    return not path.is_file() or path.read_bytes() != content


def end(process):
    """End the process and the processes that it has started."""
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def environment(folder):
    """An environment without the variables of this process, which may hold secrets."""
    keep = ("PATH", "LANG", "SYSTEMROOT", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    kept = {name: os.environ[name] for name in keep if name in os.environ}
    return kept | dict(
        HOME=str(folder),
        MPLCONFIGDIR=str(folder),
        OMP_NUM_THREADS="1",
        PYTHONDONTWRITEBYTECODE="1",
    )


@cache
def other_user():
    """
    For root: the user "nobody", as arguments for Popen, so that no submission gets root's rights.
    {} for any other user, and if "nobody" cannot run this Python.
    """
    if os.name != "posix" or os.geteuid() != 0:
        return {}
    import pwd

    with suppress(KeyError, OSError, subprocess.SubprocessError):
        nobody = pwd.getpwnam("nobody")
        user = dict(user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])
        command = [sys.executable, "-c", "import torch"]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **user)
        return user
    return {}


def keep_memory_to_ourselves():
    """No other process of this user may read this one's memory or environment (Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
