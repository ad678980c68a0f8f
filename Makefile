PYTHON ?= python3
RUN = .venv/bin/python
GROK = $(RUN) train.py --task composition --threads 1 --overwrite

.PHONY: demo phases looped plain untied once inside stability bench tables claims test assignment autograder

demo: .venv/installed
	$(RUN) train.py --task multihop --control --out runs/demo --overwrite
	$(RUN) analyze.py depth runs/demo --factor 5 --loops 48
	$(RUN) analyze.py think runs/demo

phases: .venv/installed
	$(MAKE) -j2 looped plain untied once
	$(RUN) analyze.py phases runs/looped runs/plain runs/untied runs/once

looped:
	$(GROK) --out runs/looped
plain:
	LOOPED_BAR=1 $(GROK) --out runs/plain --no-reembed
untied:
	$(GROK) --out runs/untied --no-tied --loops 4
once:
	LOOPED_BAR=1 $(GROK) --out runs/once --sampler fixed --loops 1

inside: runs/demo/checkpoint.pt
	$(RUN) analyze.py fixedpoint runs/demo
	$(RUN) analyze.py stages runs/demo
	$(RUN) analyze.py exits runs/demo

stability: .venv/installed
	$(RUN) analyze.py stability runs/stability

bench: .venv/installed
	$(RUN) analyze.py bench runs/bench

tables: .venv/installed
	$(RUN) results/tables.py

claims: .venv/installed
	for file in $$(grep -l "^CLAIM = Claim(" claims/*.py); do \
		$(RUN) -m claims.$$(basename $$file .py) || exit 1; done

assignment: .venv/installed
	$(RUN) assignment/build.py

autograder: .venv/installed
	@test -n "$(SALT)" || { echo 'make autograder SALT=..: choose a secret word' >&2; exit 2; }
	@$(RUN) assignment/build.py --salt "$(SALT)"

test: .venv/installed
	$(RUN) -m pytest -q -n auto --dist loadgroup

runs/demo/checkpoint.pt:
	$(MAKE) demo

.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet -r requirements.txt
	touch $@
