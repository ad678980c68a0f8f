"""
The process that runs a submission: `python child.py PROBE USER`. It knows what is asked, but not
what is right. The grader's questions come through stdin, and the answers leave through stdout.
"""

import importlib
import inspect
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1]
MEMORY = 3 * 2**29  # bytes of address space, beside those that PyTorch has taken
PROCESSES = 32  # and threads, of a user who is made for this check


def main():
    probe, user = sys.argv[1], int(sys.argv[2])
    questions, answers = take_the_pipes()
    with suppress(OSError):  # if memory runs out, the system ends this process and not the grader
        Path("/proc/self/oom_score_adj").write_text("1000")
    if user:
        become(user)
    import torch

    torch.set_num_threads(1)
    limit(user)
    sys.path[0] = str(FOLDER)
    from grader import messages, probes

    def reply(said):
        """What the grader asks next, now that it knows what is said."""
        messages.send(answers, dict(said=said))
        return messages.receive(questions)

    try:
        question, function = reply("ready"), getattr(probes, probe)
        if "ask" in inspect.signature(function).parameters:  # it goes on asking
            question["ask"] = reply
        messages.send(answers, dict(said=function(importlib.import_module, **question)))
    except NotImplementedError as error:
        messages.send(answers, dict(complaint=f"not written yet ({one_line(error)})"))
    except Exception as error:
        complaint = f"{type(error).__name__}: {one_line(error)}{place(error)}"
        messages.send(answers, dict(complaint=complaint))


def take_the_pipes():
    """The ends of the pipes; print of a submission goes to stderr, and its input is empty."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return questions, answers


def one_line(error):
    return " ".join(str(error).split())[:300]


def place(error):
    """The line of the submission that an exception went through last."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if FOLDER in path.parents and path.parent.name != "grader":
            return f" ({path.relative_to(FOLDER)}, line {frame.lineno})"
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({Path(error.filename).name}, line {error.lineno})"
    return ""


def become(user):
    """From root to a user who owns nothing but this folder. There is no way back."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def limit(user):
    """What this process and those that it starts may take, as far as the system can limit it."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG: it ends if the grader is killed
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = dict(RLIMIT_CORE=0, RLIMIT_FSIZE=2**26, RLIMIT_CPU=600)
    if user:
        limits["RLIMIT_NPROC"] = PROCESSES
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits["RLIMIT_AS"] = pages * resource.getpagesize() + MEMORY
    for name, most in limits.items():
        with suppress(ValueError, OSError):  # less may be allowed already
            resource.setrlimit(getattr(resource, name), (most, most))


if __name__ == "__main__":
    main()
