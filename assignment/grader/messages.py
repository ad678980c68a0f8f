"""
Messages between the grader and the process of a submission: JSON, in which a tensor is its kind and
its shape, and behind it the numbers of all tensors. To read one executes nothing, and takes memory
in proportion to its bytes.
"""

import json
import math
import struct

import torch

TEXT, NUMBERS = 2_000_000, 20_000_000  # bytes of the longest message
EMPTY = 10_000  # rows of the longest tensor without elements
KINDS = ("bool", "uint8", "int32", "int64", "float16", "float32", "float64")


def send(file, value):
    numbers = []

    def describe(tensor):
        if not torch.is_tensor(tensor):
            raise TypeError(f"an answer cannot hold a {type(tensor).__name__}")
        numbers.append(tensor.detach().cpu().contiguous().numpy().tobytes())
        return dict(kind=str(tensor.dtype).removeprefix("torch."), shape=list(tensor.shape))

    text = json.dumps(value, default=describe).encode()
    numbers = b"".join(numbers)
    file.write(struct.pack("<2Q", len(text), len(numbers)) + text + numbers)
    file.flush()


def receive(file):
    """EOFError if there is none any more, ValueError or KeyError if it is no message."""
    text, numbers = struct.unpack("<2Q", read(file, 16))
    if text > TEXT or numbers > NUMBERS:
        raise ValueError("an answer of more than 20 MB")
    text, numbers = read(file, text), memoryview(bytearray(read(file, numbers)))
    place = 0

    def restore(found):
        nonlocal place
        if found.keys() != {"kind", "shape"}:
            return found
        tensor = tensor_of(numbers[place:], **found)
        place += tensor.nbytes
        return tensor

    return json.loads(text, object_hook=restore)


def tensor_of(numbers, kind, shape):
    """The tensor whose numbers come first; there have to be as many as its shape says."""
    if kind not in KINDS or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"a tensor of kind {kind} and shape {shape}")
    dtype, count = getattr(torch, kind), math.prod(shape)
    size = count * dtype.itemsize
    largest = math.prod(max(each, 1) for each in shape)  # a tensor without elements may be long
    if size > len(numbers) or (not size and largest > EMPTY):
        raise ValueError(f"a tensor of shape {shape} from {len(numbers)} bytes")
    if not count:
        return torch.zeros(shape, dtype=dtype)
    tensor = torch.frombuffer(bytearray(numbers[:size]), dtype=dtype).reshape(shape)
    return tensor.view(torch.uint8) != 0 if kind == "bool" else tensor


def read(file, count):
    content = file.read(count)
    if len(content) < count:
        raise EOFError
    return content
