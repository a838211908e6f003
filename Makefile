# Targets: venv tour test check bench docs soak clean
#
# Each makes .venv on first use and nothing on later ones: the stamp is newer than what it was made from.

PYTHON ?= python3
VENV ?= .venv

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs
SOAK_STAMP := $(VENV)/.installed-soak

# OpenMP threads that spin while they wait slow down everything else on a small machine.
export OMP_WAIT_POLICY := PASSIVE

# scripts/ use the environment that is active; here it is always ours.
IN_VENV := VIRTUAL_ENV="$(abspath $(VENV))" PATH="$(abspath $(BIN)):$$PATH"

.DEFAULT_GOAL := test
.PHONY: venv tour test check bench docs soak clean

venv: $(STAMP)

# A machine that already has torch (a GPU image, say) keeps it: the environment then sees the system's packages, and the
# pin of torch is left out. Otherwise torch comes from the package index as pinned. The new environment itself is asked,
# since it sees the packages of the base interpreter and not those of an environment that happens to be active.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -m venv --clear --system-site-packages $(VENV)
	@if $(BIN)/python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)'; then \
		echo "keeping the torch that is installed: $$($(BIN)/python -c 'import torch; print(torch.__version__)')"; \
		grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt; \
	else \
		$(PYTHON) -m venv --clear $(VENV) && cp constraints.txt $(VENV)/constraints.txt; \
	fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt -e '.[e5,parquet,corpus,tensorboard,peft,translate,static,dev]'
	@touch $@

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt -e '.[docs]'
	@touch $@

# Ray is needed by the slow tests alone.
$(SOAK_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt -e '.[ray]'
	@touch $@

tour: $(STAMP)
	$(BIN)/interlingua tour

test: $(STAMP)
	$(IN_VENV) scripts/test

check: $(STAMP)
	$(IN_VENV) scripts/check

soak: $(SOAK_STAMP)
	$(IN_VENV) scripts/test -n 0 -m soak

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

docs: $(DOCS_STAMP)
	$(BIN)/python -m mkdocs build --strict

# Leaves .venv, which is dear to make again: `rm -r .venv` does that.
clean:
	rm -rf site dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests scripts -type d -name __pycache__ -prune -exec rm -rf {} +
