"""Tasks beyond the three of tasks.py. `train.py --task NAME` looks for more_tasks/NAME.py."""
