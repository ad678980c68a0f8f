"""
E4: settings with which a trained model goes on beyond its training.

FLAGS are settings of train.py (`python train.py --task multihop --help`). They come on top of those
that table.START in grader/table.py names; table.MOST has the budget, and table.FREE names the other
settings that you may choose. Try your settings yourself before you grade them:

    python train.py --hops 3 --entities 8 --relations 3 --n_embd 32 --n_head 2 --steps 400 \
        --threads 1 --overwrite                   (all in one line on Windows)
    python analyze.py depth runs/multihop --factor 2 --loops 24
"""

FLAGS = dict()


def loops_for(hops):
    """How many loops (1 to 24) a question of so many hops (1 to 6) gets at test."""
    raise NotImplementedError("E4: choose FLAGS, and how many loops a question gets")
