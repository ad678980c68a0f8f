"""
The prompts of in_context_regression.py, its training loop, and two other ways to answer a prompt.

A prompt has EXAMPLES tokens (x, y, 0) and QUESTIONS tokens (x, 0, 1), all with y = w x for a w of
its own. Errors are mean squares at the questions, as a share of the variance of y, which is D:
always to say 0 has an error of 1.
"""

import torch
from torch.nn import functional as F
from tqdm import trange

from support.hashing import stream
from train import Settings, learning_rate, make_optimizer

D, EXAMPLES, QUESTIONS = 4, 8, 4  # numbers in x, pairs (x, y) in a prompt, and x alone
STEPS, LR = 3600, 2e-3


def prompts(seed, split, step, size):
    """Tokens (B, T, D + 2), and the y of all of them (B, T), that of the questions, too."""
    generator = torch.Generator().manual_seed(stream(seed, split, step))
    x = torch.randn(size, EXAMPLES + QUESTIONS, D, generator=generator)
    y = (x @ torch.randn(size, D, 1, generator=generator))[..., 0]
    question = (torch.arange(x.shape[1]) >= EXAMPLES).float().expand_as(y)
    return torch.cat((x, (y * (1 - question))[..., None], question[..., None]), dim=2), y


def fit(lab, label, model):
    """Train a model on fresh prompts, or load what an earlier call trained; returns it."""
    path = lab.folder / f"{label}.pt"
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model
    flags = Settings(steps=3 if lab.tiny else STEPS, batch=64, lr=LR, weight_decay=0.0)
    optimizer = make_optimizer(flags, model)
    for step in trange(flags.steps, desc=label, leave=False):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(flags, step)
        loss, _ = model.loss(*prompts(lab.seed, "train", step, flags.batch))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), flags.clip)
        optimizer.step()
    lab.folder.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), path)
    return model


def error(said, y):
    """Of what is said at the questions (B, QUESTIONS)."""
    return F.mse_loss(said, y[:, EXAMPLES:]).item() / D


@torch.no_grad()
def error_by_loop(model, tokens, y, loops):
    """The error before the first loop and after each."""
    return [error(model.readout(h)[:, EXAMPLES:], y) for h in model.states(tokens, loops)]


def gradient_descent(tokens, y, steps, rate):
    """The error of gradient descent on each prompt's own examples, from w = 0, after each step."""
    x, given = tokens[:, :EXAMPLES, :D], y[:, :EXAMPLES, None]
    w, errors = torch.zeros(len(x), D, 1), []
    for _ in range(steps):
        w = w - rate * x.mT @ (x @ w - given) / EXAMPLES
        errors.append(error((tokens[:, EXAMPLES:, :D] @ w)[..., 0], y))
    return errors


def least_squares(tokens, y):
    w = torch.linalg.lstsq(tokens[:, :EXAMPLES, :D], y[:, :EXAMPLES, None]).solution
    return error((tokens[:, EXAMPLES:, :D] @ w)[..., 0], y)
