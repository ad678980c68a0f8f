"""
Files that are whole or not there: written in one step, and read only if their checksums are right.
And a lock, so that only one program at a time writes into a run folder.
"""

import os
import zipfile
from contextlib import suppress

import torch

from support.processes import fail

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None

locks = {}  # {folder: its descriptor} of the folders that this process has locked


def lock(folder):
    """
    Until `unlock`, or until this process ends in whatever way, no other program can lock the
    folder.
    """
    folder = os.path.realpath(folder)
    if fcntl is None or folder in locks:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        fail(f"another program is training in {folder}: wait for it, or stop it")
    except OSError:  # some network disks have no locks
        os.close(descriptor)
    else:
        locks[folder] = descriptor


def unlock(folder):
    if (descriptor := locks.pop(os.path.realpath(folder), None)) is not None:
        os.close(descriptor)


def save(path, content):
    """
    Write a checkpoint or a text so that at every moment there is a whole file, the old one or the
    new.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with open(unfinished, "wb") as file:
            file.write(content.encode()) if isinstance(content, str) else torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except (OSError, RuntimeError) as error:  # PyTorch reports a full disk as a RuntimeError
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        fail(f"could not write {path} ({error}); what was there before is unharmed", code=1)


def load_tensors(path, device="cpu"):
    """
    What torch.save wrote; ValueError if its checksums, which PyTorch ignores, are wrong. Executes
    nothing.
    """
    if zipfile.ZipFile(path).testzip():
        raise ValueError(f"{path} is damaged")
    return torch.load(path, map_location=device, weights_only=True)
