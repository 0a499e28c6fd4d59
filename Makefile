# For a bare machine: `make demo`, `make demo-events`, `make demo-zoo`, `make test`; for detection
# and segmentation `make deps-det`, `make demo-det`, `make demo-seg`. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install deps-det demo demo-events demo-zoo demo-det demo-seg test lint clean

# A stamp is made when its step is through: a broken install continues, a finished one is not repeated.
install: $(VENV)/.package

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	"the pinned stack needs Python 3.11 or newer: make PYTHON=python3.11 install")'
	$(PYTHON) -m venv $(VENV)
	touch $@

# mmcv and mmcv-lite lie in the same folder: the one leaves before the other comes
$(VENV)/.stack: $(VENV)/.created requirements/pinned.txt
	$(BIN)/python -m pip uninstall --yes mmcv
	$(BIN)/python -m pip install -r requirements/pinned.txt
	touch $@

$(VENV)/.package: $(VENV)/.stack setup.py pyproject.toml requirements/runtime.txt
	$(BIN)/python -m pip install --no-build-isolation --no-deps -e .
	touch $@

# mmcv with compiled operators in place of mmcv-lite: built from source once, some 12 to 20 minutes
# on two cores, into a wheel cache (MMCV_WHEELS), from which later installations take seconds
deps-det: $(VENV)/.operators

$(VENV)/.operators: $(VENV)/.package tools/misc/install_mmcv_ops.py
	$(BIN)/python tools/misc/install_mmcv_ops.py
	touch $@

demo: install
	PYTHON=$(BIN)/python bash tools/demo_digits.sh

demo-events: install
	PYTHON=$(BIN)/python bash tools/demo_events.sh

demo-zoo: install
	$(BIN)/python tools/demo_zoo.py

demo-det: deps-det
	PYTHON=$(BIN)/python bash tools/demo_det.sh

demo-seg: deps-det
	PYTHON=$(BIN)/python bash tools/demo_seg.sh

test: install
	$(BIN)/python -m pytest -m "not slow"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) mmqkformer/.mim mmqkformer.egg-info build dist .pytest_cache .ruff_cache .hypothesis
