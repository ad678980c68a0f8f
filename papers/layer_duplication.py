"""
Training-Free Looped Transformers (Chen et al. 2026, arXiv 2605.23872)

Take a stack of different layers that somebody has trained, and run some of them, first to last,
twice. Nobody trained it for that; does more depth help? The paper says that running them again as
they are mostly hurts: the layers behind them get a state that has gone too far. If a layer is taken
as a step of a differential equation, two half steps should do better than two whole ones:

    naive       h <- F(h), twice                        F: the layers first to last
    damped      h <- h + (F(h) - h) / 2, twice

What is different here: when the turn of layer `first` comes, first to last are run `times` times.
With times=1 it is the stack itself, which train.py trains.

    python train.py --task multihop --model layer_duplication --no-tied --sampler fixed --loops 6
    python -m claims.layer_duplication
"""

from dataclasses import dataclass

from looped import Config, LoopedGPT


@dataclass
class DuplicationConfig(Config):
    first: int = 0  # the first layer that is repeated, counted from 0
    last: int = 0  # the last one
    times: int = 1  # how often they are run
    damping: float = 1.0  # how much of each run's change is kept
    tied: bool = False


class DuplicationGPT(LoopedGPT):
    config_class = DuplicationConfig

    def loop(self, h, e, t, positions):
        """Layer t. All repeated layers run when it is the turn of the first of them."""
        first, last = self.config.first, self.config.last
        if first < t <= last:  # has run already
            return h
        if t != first:
            return super().loop(h, e, t, positions)
        for _ in range(self.config.times):
            after = h
            for layer in range(first, last + 1):
                after = super().loop(after, e, layer, positions)
            h = after if self.config.damping == 1 else h + self.config.damping * (after - h)
        return h
