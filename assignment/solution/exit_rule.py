"""E5: a question is answered once two loops in a row say the same, and are as sure of it."""

import math


def rule(model, before, h, answer_mask, last):
    """How far a loop moved the prediction, KL(p_t, p_(t-1)) in nats: the largest at an answer."""
    log_p = model.readout(h).log_softmax(-1)
    log_q = model.readout(before).log_softmax(-1)
    kl = (log_p.exp() * (log_p - log_q)).sum(-1)  # (B, T)
    return kl.masked_fill(~answer_mask, -math.inf).amax(1)
