# The commands a newcomer needs. Each sets up .venv itself when it is missing or out of date.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
ONE := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
# Keeps glibc from giving memory back between steps: page faults would be timed otherwise, whoever comes last.
HOLD := MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_MMAP_THRESHOLD_=4000000000

.PHONY: help demo test check bench rank curvature traffic replicas suite format clean

help: ## Say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

demo: $(READY) ## Train with and without SAM on digits, measure every layer, judge the claims, write a page
	$(BIN)/lowland study sam_lowers_feature_rank

test: $(READY) ## Run the whole test suite
	$(ONE) $(BIN)/python -m pytest -n auto

check: $(READY) ## Lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(ONE) $(BIN)/python -m pytest -q tests/test_imports.py

bench: $(READY) ## Time and memory of a training step beside other libraries, as ratios
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(ONE) $(HOLD) $(BIN)/python bench/steps.py

rank: $(READY) ## Time and memory of the feature rank beside plain passes
	$(ONE) $(HOLD) $(BIN)/python bench/rank.py

curvature: $(READY) ## Products, eigenvalues and traces beside other libraries, in gradients
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m pip install --quiet --no-deps --requirement bench/peers.txt
	$(ONE) $(HOLD) $(BIN)/python bench/curvature.py

replicas: $(READY) ## A grid of seeds and radii as one batched network, beside separate runs
	$(ONE) $(BIN)/python bench/replicas.py

traffic: $(READY) ## Count the bytes that a step reduces over processes
	$(ONE) $(BIN)/python bench/traffic.py

suite: $(READY) ## Run another library's own tests of SAM on ours
	$(ONE) $(BIN)/python bench/public_suite.py

format: $(READY) ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove .venv and caches; results in runs/ stay
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)
