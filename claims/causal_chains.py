"""
A task of shared_memory.py: more_tasks/chains.py for a model that reads from left to right.

    python train.py --task causal_chains
"""

from dataclasses import dataclass

from more_tasks.chains import Chains


@dataclass
class CausalChains(Chains):
    """
    As Chains, but a position sees only what stands before it.

        "f>k b>f q>z k>d r>q z>s ? b -> d"      from b to f, to k, to d, where the chain ends

    So an edge cannot find out where its chain ends, if the next edge stands behind it: only the
    names that are asked for, behind all edges, can walk, an edge after the other.
    """

    causal = True
