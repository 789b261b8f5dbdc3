# make demo: set up, then run the main job on real data into demo/
# make quick: what a contributor runs often: lint, types and one law of each kind
# make test: set up, then lint, types, tests and doctests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo quick-demo quick test lint types index install wheel-check newest
.PHONY: bench bench-posteriors bench-peers clean

demo: $(INSTALLED)
	$(BIN)/ppgen demo

quick-demo: $(INSTALLED)
	$(BIN)/ppgen demo --quick

quick: lint types
	$(BIN)/python -m pytest -m quick --no-header -q tests

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

# What a user gets: the wheel alone, in an environment and a folder outside of this checkout.
wheel-check: $(INSTALLED)
	rm -rf dist && $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	there=$$(mktemp -d) && trap 'rm -rf "$$there"' EXIT && $(PYTHON) -m venv "$$there/venv" && \
		"$$there/venv/bin/python" -m pip install --quiet -c constraints.txt dist/*.whl && \
		cd "$$there" && venv/bin/ppgen demo --quick --out demo && ls -l demo

# The newest releases that the ranges in pyproject.toml allow, on the newest Python that is here.
# torch alone stays as constraints.txt has it: newer ones come with CUDA, gigabytes of it, and so does this one
# where an index has no CPU build of it for that Python.
NEWEST_PYTHON ?= $(shell python3.13 -c "" 2>/dev/null && echo python3.13 || echo $(PYTHON))

newest:
	rm -rf .venv-newest && $(NEWEST_PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager \
		".[dev,features,mnist,molecules]" $$(grep '^torch==' constraints.txt)
	.venv-newest/bin/python -m pip list
	.venv-newest/bin/pytest -m quick -o filterwarnings=default tests

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
	rm -rf $(VENV) $(PEERS) .venv-newest demo dist .mypy_cache .pytest_cache .ruff_cache
