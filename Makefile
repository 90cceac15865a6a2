# make demo : trains RadioDiff-k² on a local Ray cluster and writes runs/demo/report/report.html
# make serve: serves radio maps with the installed model at http://127.0.0.1:8000
# make test : style, import layers, and all tests but a few slow ones, which are make test-slow
# make audit: known security holes of the pinned versions (asks the package index)
# Each makes .venv first; a second call reuses it. CONSTRAINTS= installs without the pinned versions (for GPUs).

PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
VENV := .venv
INSTALLED := $(VENV)/installed

.PHONY: demo test test-slow audit serve mlflow clean-demo

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable ".[sionna,geo,dev]"
	touch $@

demo: $(INSTALLED)
	$(VENV)/bin/python jobs/demo.py

test: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python -m pytest -m "not ray" --numprocesses auto --maxprocesses 4
	$(VENV)/bin/python -m pytest -m "ray and not slow" --numprocesses 2 --dist loadfile --durations 10

test-slow: $(INSTALLED)
	$(VENV)/bin/python -m pytest -m slow --durations 10

# Fails also if a version could not be asked for: an answer that is missing is no all-clear.
audit: $(INSTALLED)
	$(VENV)/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

serve: $(INSTALLED)
	$(VENV)/bin/python jobs/serve.py

mlflow: $(INSTALLED)
	@echo "the runs: http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning"
	$(VENV)/bin/mlflow ui --backend-store-uri sqlite:///$(CURDIR)/runs/mlflow.db

clean-demo:
	rm -rf runs/demo
