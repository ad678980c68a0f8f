PYTHON ?= python3
RUN = .venv/bin/python

.PHONY: demo test

demo: .venv/installed
	$(RUN) train.py --task multihop --control --out runs/demo --overwrite
	$(RUN) analyze.py depth runs/demo --factor 5 --loops 48
	$(RUN) analyze.py think runs/demo

test: .venv/installed
	$(RUN) -m pytest -q

.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet -r requirements.txt
	touch $@
