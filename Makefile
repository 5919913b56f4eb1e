# Two commands do everything from a fresh clone: `make book` and `make test`.

PYTHON ?= python3
PROFILE ?= demo

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
PEERS_PIP := .venv-peers/bin/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help book env pdf test test-site clean distclean
.PHONY: bench bench-check bench-peers bench-gpu bench-inner-loop bench-real bench-claims bench-beyond bench-memory bench-runs

help: ## show this list
	@echo "make TARGET [PROFILE=smoke|demo|paper] [PYTHON=python3]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

book: .venv/.book ## data, experiments, notebooks and the site; says where to read it
	@$(PY) book/build.py --profile $(PROFILE)

env: .venv/.book ## the environment alone, in .venv: what the commands and notebooks need

pdf: .venv/.test ## the book that `make book` has built, as one PDF
	@$(PY) book/print_edition.py

test: .venv/.test ## ruff, mypy and pytest
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest

test-site: .venv/.test ## the tests of a site that `make book` has built, in a browser
	$(PY) -m pytest tests/browser tests/test_book.py
	$(PY) benchmarks/site_speed.py index.html

bench: .venv/.test ## training the usual way against ours: time, memory, I-AUROC (ten minutes)
	$(PY) data_scripts/make_synthetic.py --only mvtec_ad
	OMP_NUM_THREADS=1 $(PY) benchmarks/speed.py --out benchmarks/speed.json

bench-check: .venv/.test ## the same at one size, against the record in benchmarks/speed.json
	$(PY) data_scripts/make_synthetic.py --only mvtec_ad
	OMP_NUM_THREADS=1 $(PY) benchmarks/speed.py --check

bench-peers: .venv-peers/.done ## anomalib's detectors against ours; an environment of its own (an hour)
	.venv-peers/bin/python data_scripts/make_synthetic.py --only mvtec_ad
	OMP_NUM_THREADS=1 .venv-peers/bin/python -W ignore benchmarks/peers.py --out benchmarks/peers.json

bench-gpu: .venv/.test ## the processor against a GPU, which this machine must have (minutes)
	$(PY) data_scripts/make_synthetic.py --only mvtec_ad
	$(PY) benchmarks/gpu.py --compile --out benchmarks/gpu.json

bench-inner-loop: .venv/.test ## what of meta-learning is its inner loop; DATA_ROOT=FOLDER CATEGORY=NAME
	OMP_NUM_THREADS=1 $(PY) benchmarks/inner_loop.py --data-root "$(DATA_ROOT)" \
	  --category $(CATEGORY) --epochs 3 5 8 --out benchmarks/inner_loop.json

bench-real: .venv/.test ## I-AUROC on real images, for the record of the book; DATA_ROOT=FOLDER CATEGORY=NAME
	OMP_NUM_THREADS=1 $(PY) benchmarks/accuracy.py --data-root "$(DATA_ROOT)" --category $(CATEGORY) \
	  --strategy plain soft comet comet+ --seeds 8 --copies --out benchmarks/real.json

bench-claims: .venv/.test ## the runs that the ledger of claims judges, with 20 seeds (an hour)
	$(PY) data_scripts/make_synthetic.py
	OMP_NUM_THREADS=1 $(PY) benchmarks/claims.py --engine processes --out benchmarks/claims.json

bench-beyond: .venv/.test ## all weightings on all stand-ins, for the record of the book (hours)
	$(PY) data_scripts/make_synthetic.py
	OMP_NUM_THREADS=1 $(PY) benchmarks/beyond.py --engine processes --out benchmarks/beyond.json

bench-memory: .venv/.test ## peak memory of both detectors with 5,000 images (some minutes)
	OMP_NUM_THREADS=1 $(PY) benchmarks/memory.py

bench-runs: .venv/.test ## I-AUROC of every strategy; what several processes gain (an hour)
	$(PY) data_scripts/make_synthetic.py --only mvtec_ad
	$(PY) benchmarks/accuracy.py --data-root data/synthetic/mvtec_ad --category bottle_cap hide woven
	$(PY) benchmarks/engines.py

clean: ## remove the built site; keep data, runs, features and the environment
	rm -rf book/_build book/notebooks

distclean: clean ## remove everything that was made here, results included
	rm -rf .venv .venv-peers data/synthetic runs .cache

.venv/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; name one with: make PYTHON=python3.12"; exit 2; }
	@echo "== Making a virtual environment in .venv"
	@$(PYTHON) -m venv .venv
	@touch $@

# PyTorch comes first and alone: a CPU build that pip is told of (PIP_FIND_LINKS or
# PIP_EXTRA_INDEX_URL) is then kept, and no CUDA package follows with the rest.
.venv/.torch: .venv/.python constraints.txt
	@echo "== Installing PyTorch (the largest package; once)"
	@$(PIP) install --quiet -c constraints.txt torch
	@touch $@

.venv/.book: .venv/.torch pyproject.toml
	@echo "== Installing the package and what builds the book (a minute or two; once)"
	@$(PIP) install --quiet -c constraints.txt -e '.[book]'
	@touch $@

.venv/.test: .venv/.torch pyproject.toml
	@echo "== Installing the package and what tests it (a minute or two; once)"
	@$(PIP) install --quiet -c constraints.txt -e '.[book,cluster,dev]'
	@touch $@ .venv/.book

.venv-peers/.done: constraints.txt pyproject.toml benchmarks/peers-requirements.txt
	@$(PYTHON) -m venv .venv-peers
	@echo "== Installing anomalib and what it needs into .venv-peers (two gigabytes; once)"
	@$(PEERS_PIP) install --quiet -c constraints.txt torch
	@$(PEERS_PIP) install --quiet -c constraints.txt -r benchmarks/peers-requirements.txt -e .
	@touch $@
