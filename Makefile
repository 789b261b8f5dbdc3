# make demo: set up, then run the main job on real data into demo/
# make test: set up, then lint, types, tests and doctests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo quick-demo test lint types index install bench bench-posteriors bench-peers clean

demo: $(INSTALLED)
	$(BIN)/ppgen demo

quick-demo: $(INSTALLED)
	$(BIN)/ppgen demo --quick

test: lint types
	$(BIN)/python -m pytest -n 2 --dist loadgroup --durations 10

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

# After a family has come or gone.
index: $(INSTALLED)
	$(BIN)/python tools/family_index.py

install: $(INSTALLED)

bench: $(INSTALLED)
	$(BIN)/python benchmarks/nuts.py

bench-posteriors: $(INSTALLED)
	$(BIN)/python benchmarks/posteriors.py

# Other libraries' samplers live in an environment of their own, beside ppgen itself.
PEERS := .venv-peers

bench-peers: $(PEERS)/.installed
	$(PEERS)/bin/python benchmarks/posteriors.py --peers

$(PEERS)/.installed: pyproject.toml constraints.txt benchmarks/peers/constraints.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-c benchmarks/peers/constraints.txt -e . pymc nutpie pystan setuptools
	touch $@

# Exact versions come from constraints.txt; pyproject.toml keeps the ranges that users install with.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) $(PEERS) demo dist .mypy_cache .pytest_cache .ruff_cache
