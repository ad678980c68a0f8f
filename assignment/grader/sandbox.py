"""
One check of a submission, in a process and a folder of its own.

Nothing that comes from there is trusted. The process knows what is asked, but not what is right. It
answers through a pipe, in messages that are read without executing anything (messages.py); nothing
else of it is read. Whatever the submission does, one line about it comes back.

With a guard, a submission can neither read nor stop anything of the grader or of another check:
"bubblewrap" shows it the system, Python and its own folder, and no network. "a user of its own" is
for root: each check runs as a user who has never existed before, and ends with all processes of
this user. Without a guard a submission can do what you can do.
"""

import itertools
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from grader import messages

START_SECONDS = 180  # to import PyTorch, on whatever machine
PRINTED = 1_000_000  # bytes
GUARDS = ("bubblewrap", "a user of its own")
FIRST_USER, USERS = 20_000, 20_000  # numbers between those of people and those of containers
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/nix")
SHARED = ("/tmp", "/var/tmp", "/dev/shm")  # where each user may write
NO_FORM = "the answer has not the form that it should have"
counter = itertools.count(secrets.randbelow(USERS))


def run(files, probe, asked, seconds, guard=""):
    """
    (the answer or None, a complaint or ""). `files` are those of the submission and of the grader.
    `asked` is a dictionary, with which the probe is called, or a generator (dialogues.py): what it
    yields first is such a dictionary. It is sent what the probe says and yields what the probe gets
    in return, and in the end it returns the answer.
    """
    user = fresh_user() if guard and is_root() else 0
    folder = Path(tempfile.mkdtemp(prefix="check-"))  # of mode 0700
    printed = tempfile.TemporaryFile()
    try:
        write(files, folder)
        if user:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, user, user)
        words = [sys.executable, "-u", str(folder / "grader" / "child.py"), probe, str(user)]
        process = subprocess.Popen(
            [*walls(folder, guard, user), *words],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            env=environment(folder),
            start_new_session=True,
        )
        talk = Talk(process, as_generator(asked))
        try:
            complaint = watch(talk, printed, seconds)
        finally:
            end(process, user)
        return (None, complaint) if complaint else (talk.answer, talk.complaint)
    finally:
        printed.close()
        remove(folder)
        if user:
            remove_files_of(user)


def write(files, folder):
    """Files {"a/b.py": bytes} into a folder."""
    for name, content in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


# --------------------------------------------------------------------------------------------------
# The conversation


def as_generator(asked):
    """A dictionary as the only question."""
    if not isinstance(asked, dict):
        return asked

    def one_question():
        return (yield asked)

    return one_question()


def conversation(asked, reply):
    """What the generator `asked` returns, if `reply` answers each of its questions."""
    question = next(asked)
    while True:
        said = reply(question)
        try:
            question = asked.send(said)
        except StopIteration as stop:
            return stop.value


class Talk(threading.Thread):
    """
    The conversation with a process. It has a thread of its own, because a process may stop reading
    or writing at any time, and the grader has to look at the clock.
    """

    def __init__(self, process, asked):
        super().__init__(daemon=True)
        self.process, self.asked = process, asked
        self.answer, self.complaint = None, ""
        self.began, self.ready = time.monotonic(), False
        self.start()

    def run(self):
        try:
            self.hear()  # that PyTorch is imported
            self.began, self.ready = time.monotonic(), True
            self.answer = conversation(self.asked, self.reply)
        except (EOFError, BrokenPipeError):
            self.complaint = self.how_it_ended()
        except Complaint as complaint:
            self.complaint = str(complaint)
        except Exception as error:  # a message can hold anything
            self.complaint = f"{NO_FORM} ({type(error).__name__}: {one_line(error)})"

    def reply(self, question):
        messages.send(self.process.stdin, question)
        return self.hear()

    def hear(self):
        message = messages.receive(self.process.stdout)
        if complaint := message.get("complaint"):
            raise Complaint(one_line(complaint))
        return message["said"]

    def how_it_ended(self):
        how = "went on without its answer"
        with suppress(subprocess.TimeoutExpired):
            code = self.process.wait(timeout=10)
            how = f"ended the program with code {code}"
            if code < 0 or code > 128:  # bubblewrap adds 128
                how = f"was killed by signal {-code if code < 0 else code - 128} (out of memory?)"
        return f"{how} before it had answered: a submission returns, it does not exit"


class Complaint(Exception):
    """What a process says when it has no answer."""


def one_line(text):
    """Text that a submission has chosen, without what could confuse a terminal or a page."""
    line = " ".join(str(text)[:1000].split())[:500]
    return "".join(each if each.isprintable() else "?" for each in line)


def watch(talk, printed, seconds):
    """Wait for the end of the conversation; a complaint if it takes too long."""
    while talk.is_alive():
        talk.join(0.05)
        if os.fstat(printed.fileno()).st_size > PRINTED:
            return "printed more than a megabyte: leave out what you print in a loop"
        limit = seconds if talk.ready else START_SECONDS
        if time.monotonic() - talk.began > limit:
            return f"did not end within {limit:g} seconds: does a loop never stop?"
    return ""


# --------------------------------------------------------------------------------------------------
# Guards


def is_root():
    return hasattr(os, "geteuid") and os.geteuid() == 0


def find_guard(files):
    """The best guard that works here, or "". `files` are those of the grader."""
    possible = [bool(shutil.which("bwrap")), is_root() and hasattr(os, "setresuid")]
    hello = {**files, "grader/probes.py": b"def hello(load):\n    return 'hello'\n"}
    for guard, is_possible in zip(GUARDS, possible):
        if is_possible and run(hello, "hello", {}, 20, guard) == ("hello", ""):
            return guard
    return ""


def fresh_user():
    """A user number that belongs to nobody, and that this grader has not used before."""
    while True:
        user = FIRST_USER + next(counter) % USERS
        if is_nobody(user) and is_nobody(user + USERS):  # the second one is for `end`
            return user


def is_nobody(user):
    import pwd

    with suppress(KeyError):
        return not pwd.getpwuid(user)
    return True


def walls(folder, guard, user):
    """The words with which a command runs in bubblewrap; none for other guards."""
    if guard != "bubblewrap":
        return []
    words = ["bwrap", "--die-with-parent", "--unshare-pid", "--unshare-net", "--unshare-ipc"]
    if user:
        words += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]  # to become this user
    for path in SYSTEM:
        words += ["--ro-bind-try", path, path]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for prefix in sorted({sys.prefix, sys.base_prefix}):
        for parent in reversed(Path(prefix).parents[:-1]):
            words += ["--dir", str(parent)]  # passable, although /root may be closed
        words += ["--ro-bind", prefix, prefix]
    return [*words, "--bind", str(folder), str(folder), "--chdir", str(folder), "--"]


def environment(folder):
    """An environment without the variables of this process, which may hold secrets."""
    keep = ("PATH", "LANG", "SYSTEMROOT", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    kept = {name: os.environ[name] for name in keep if name in os.environ}
    return kept | dict(
        HOME=str(folder),
        TMPDIR=str(folder),
        MPLCONFIGDIR=str(folder),
        USER="student",
        OMP_NUM_THREADS="1",
        CUDA_VISIBLE_DEVICES="",
        PYTHONDONTWRITEBYTECODE="1",
    )


def end(process, user):
    """End the process and the processes that it has started."""
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
    if user:  # by a process that may kill those of the user, but that they may not kill
        ids = f"{user + USERS}, {user}, {user + USERS}"
        code = f"import os; os.setresgid({ids}); os.setresuid({ids}); os.kill(-1, 9)"
        subprocess.run([sys.executable, "-ISc", code], capture_output=True, cwd="/")


def remove(path):
    """A file or a folder, which may be deeper than shutil.rmtree can go."""
    if os.name == "posix":
        subprocess.run(["rm", "-rf", "--", str(path)], capture_output=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def remove_files_of(user):
    for folder in map(Path, SHARED):
        with suppress(OSError):
            for path in folder.iterdir():
                if path.lstat().st_uid == user:
                    remove(path)


def keep_memory_to_ourselves():
    """No other process of this user may read this one's memory or environment (Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
