"""One file for each phenomenon: measure, draw, say. `python analyze.py` lists them."""
