"""The modules stand in the folder above; the tests run on one thread, so that two suites may share a machine."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
torch.set_num_threads(1)
