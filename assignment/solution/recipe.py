"""
E4: a loop goes on beyond its training if attention sees the neighbour alone, and if each loop ends
with something like a token.
"""

FLAGS = dict(position="window", reach=2, reembed=True, lr=4e-3, weight_decay=0.1)


def loops_for(hops):
    """How many loops a question of so many hops gets at test."""
    return 2 * hops + 4
