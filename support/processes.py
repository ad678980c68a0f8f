"""
One process or several: how a program ends in one line, and what torchrun changes.

Under torchrun every process trains on batches of its own, and PyTorch's DistributedDataParallel
averages their gradients. train.py knows nothing of it: `share_of` gives it a task with other
batches, and `loss_function` a loss that is wrapped.
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def from_torchrun(name, default):
    """A number that torchrun puts into the environment, where others may leave anything."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default


RANKS = max(1, from_torchrun("WORLD_SIZE", 1))
RANK = from_torchrun("RANK", 0) if RANKS > 1 else 0  # a rank counts only beside others
LOCAL_RANK = from_torchrun("LOCAL_RANK", RANK)


def fail(message, code=2):
    print(f"{Path(sys.argv[0]).name}: error: {message}", file=sys.stderr)
    raise SystemExit(code)


def run_main(main):
    """
    Call main. What the user can mend ends the program with one line and exit code 2, Ctrl-C with
    130. Of a reader that has gone, such as `| head`, nothing is said (141, as a shell has it).
    """
    sys.stderr = sys.stderr or open(os.devnull, "w")  # it may have been closed
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name of a file may fit into no encoding
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
        print(end="", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except (ValueError, OSError) as error:
        fail(error)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        fail(
            "not enough memory for these sizes "
            f"({(str(error).splitlines() or ['asked for too much'])[0]})"
        )
    except KeyboardInterrupt:
        fail("interrupted", code=130)


def find_device(name):
    has = dict(cuda=torch.cuda.is_available(), mps=torch.backends.mps.is_available(), cpu=True)
    if name == "auto":
        name = next(device for device, available in has.items() if available)
    if not has[name]:
        fail(f"--device {name} was asked for, but PyTorch sees none here")
    return f"cuda:{LOCAL_RANK}" if name == "cuda" and RANKS > 1 else name


def prepare(flags):
    """Threads and processes; the device of the run."""
    if flags.control and not flags.threads:
        flags.threads = max(1, (os.cpu_count() or 2) // 2)
    if flags.threads:
        torch.set_num_threads(flags.threads)
    device = find_device(flags.device)
    if RANKS > 1:
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    flags.ranks = RANKS
    return device


def share_of(task):
    """
    The task as one of several processes sees it: of R processes, number r trains on the batches r,
    r + R, ...
    """
    if RANKS > 1:
        batch_of_all = task.batch

        def batch(split, step, *arguments):
            return batch_of_all(
                split, step * RANKS + RANK if split == "train" else step, *arguments
            )

        task.batch = batch
    return task


def agree(stop, level, mastery):
    """
    What all processes do next: stop if one has to, and draw the difficulties that process 0 has
    opened.
    """
    if RANKS == 1:
        return stop, level, mastery
    mine = torch.tensor(
        [float(stop), level * (RANK == 0), mastery * (RANK == 0)], dtype=torch.double
    )
    mine = mine.to(f"cuda:{LOCAL_RANK}" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(mine, dist.ReduceOp.MAX)
    stop, level, mastery = mine.tolist()
    return bool(stop), int(level), mastery


class LossModule(torch.nn.Module):
    """model.loss as the forward pass of a module, which is what DistributedDataParallel wraps."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *arguments):
        return self.model.loss(*arguments)


def loss_function(flags, model):
    """model.loss, in the precision of the run; several processes average their gradients."""
    if RANKS == 1:
        return in_precision(flags, model.loss)
    untied = not getattr(flags, "tied", True)  # then a small loop count leaves layers out
    wrapped = DistributedDataParallel(LossModule(model), find_unused_parameters=untied)
    return in_precision(flags, wrapped)


def in_precision(flags, loss):
    """A loss whose products are computed in the precision of the run."""
    rough = flags.precision == "bfloat16"
    # PyTorch 2.4 would go on using a cast that was made without a gradient
    keep_casts = not getattr(flags, "backprop_loops", 0)

    def loss_in_precision(tokens, targets, loops):
        with torch.autocast(
            tokens.device.type, torch.bfloat16, enabled=rough, cache_enabled=keep_casts
        ):
            return loss(tokens, targets, loops)

    return loss_in_precision
