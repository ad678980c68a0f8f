"""What cannot work says so in one line: the ValueErrors of looped.py, kept apart from what it teaches."""

import math
import zipfile

import torch

CHOICES = {
    "injection": ("none", "add", "concat", "diagonal"),
    "norm": ("pre", "post", "sandwich"),
    "position": ("none", "rope", "alibi", "relative", "window", "grid"),
    "state_init": ("embed", "zeros", "noise"),
    "loss": ("final", "every"),
}


def check_config(config):
    for name, allowed in CHOICES.items():
        if getattr(config, name) not in allowed:
            raise ValueError(f"{name}={getattr(config, name)!r} is unknown; choose from {', '.join(allowed)}")
    lowest = dict.fromkeys(("vocab_size", "block_size", "n_embd", "n_head", "n_core", "loops", "reach"), 1)
    for name, least in {**lowest, "n_prelude": 0, "n_coda": 0, "backprop_loops": 0}.items():
        if getattr(config, name) < least:
            raise ValueError(f"{name} must be at least {least}, not {getattr(config, name)}")
    if config.n_embd % config.n_head:
        raise ValueError(f"n_embd={config.n_embd} must be divisible by n_head={config.n_head}")
    width = config.n_embd // config.n_head
    if config.position == "rope" and width % 2:
        raise ValueError(f"position='rope' rotates pairs: n_embd / n_head = {width} must be even")
    if (config.position == "grid") != bool(config.coordinates):
        raise ValueError("position='grid' and coordinates go together")
    if config.injection == "none" and config.state_init != "embed":
        raise ValueError(f"injection='none' with state_init={config.state_init!r}: the model would never see its input")
    if config.injection == "none" and config.backprop_loops:
        raise ValueError("backprop_loops cuts the only way of the gradient to the input if injection='none'")
    if config.loss == "every" and config.backprop_loops:
        raise ValueError("loss='every' needs every loop and its gradient: leave out backprop_loops")


def check_tokens(tokens, config):
    """Tokens are int64 (B, T) below vocab_size."""
    if not torch.is_tensor(tokens) or tokens.dim() != 2 or tokens.dtype != torch.long:
        found = f"{tokens.dtype} {tuple(tokens.shape)}" if torch.is_tensor(tokens) else type(tokens).__name__
        raise ValueError(f"tokens must be int64 (B, T), not {found}")
    if tokens.numel() and not 0 <= tokens.min() <= tokens.max() < config.vocab_size:
        raise ValueError(f"tokens must be 0..{config.vocab_size - 1}, not {tokens.min()}..{tokens.max()}")


def loop_counts(loops, config, B):
    """The count of each of B sequences, (B,) int64 on the CPU: from an int, from one for each, or from the config."""
    counts = whole_numbers(loops, config)
    if counts.shape not in ((), (B,)):
        raise ValueError(f"loops must be one for all or one for each of the {B} sequences, not {tuple(counts.shape)}")
    return counts.expand(B)


def one_count(loops, config):
    """The same for calls that loop all sequences equally often: an int."""
    distinct = whole_numbers(loops, config).unique()
    if len(distinct) != 1:
        raise ValueError("only think and forward take a loop count for each sequence; this call needs one for all")
    return int(distinct)


def whole_numbers(loops, config):
    """Loops as int64 on the CPU, each a count that the model has."""
    try:
        counts = torch.as_tensor(config.loops if loops is None else loops).cpu()
    except (TypeError, ValueError, RuntimeError):  # words, or a number beyond int64
        counts = torch.tensor(math.nan)
    if counts.is_floating_point() or counts.is_complex() or counts.dtype == torch.bool:
        shown = " ".join(str(loops).split())[:60]  # a tensor would take several lines
        raise ValueError(f"loops must be a whole number, or one for each sequence, not {shown}")
    if (counts < 1).any():
        raise ValueError(f"loops must be at least 1, not {counts.min()}")
    if not config.tied and (counts > config.loops).any():
        raise ValueError(f"an untied model has layers for {config.loops} loops, not for {counts.max()}")
    return counts.long()


def find_rule(rule, rules, threshold):
    """What a rule measures, and its threshold: the usual one if none is given."""
    if rule not in rules:
        raise ValueError(f"rule={rule!r} is unknown; choose from {', '.join(rules)}")
    measure, usual = rules[rule]
    return measure, usual if threshold is None else threshold


def check_cache(cache, loops, config):
    """The loops of a cache's tokens, which must all be alike."""
    if not config.causal:
        raise ValueError("only a causal model can read or generate token by token")
    if cache.loops not in (None, loops):
        raise ValueError(f"the tokens in this cache took {cache.loops} loops; those behind them cannot take {loops}")
    cache.loops = loops


def load_tensors(path, device="cpu"):
    """What torch.save wrote; ValueError if its checksums, which PyTorch ignores, are wrong. Executes nothing."""
    if zipfile.ZipFile(path).testzip():
        raise ValueError(f"{path} is damaged")
    return torch.load(path, map_location=device, weights_only=True)
