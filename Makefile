# Every target sets up what it needs: a virtual environment with the pinned packages.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Debian keeps ensurepip in python3-venv; the pip outside installs into an environment without one.
INSTALL = $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --no-deps

export DO_NOT_TRACK := 1
export GIT_PYTHON_REFRESH := quiet

# What conf/smoke sets, without its tasks: --env smoke does not read conf/local.
SMALL = training.epochs=1.0,training.eval_interval=0.5,training.checkpoint_interval_steps=5,model.n2n.steps=8,evaluation.num_resamples=200

.PHONY: ablation reference test lint smoke small viz mlflow bench bench-gpu docs review stability clean help
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] < (3, 14) else "Python 3.11 to 3.13 is needed; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV) > /dev/null 2>&1 || $(PYTHON) -m venv --clear --without-pip $(VENV)
	$(INSTALL) -r requirements.lock
	$(INSTALL) --no-build-isolation -e .
	@touch $(STAMP)

ablation: $(STAMP)  ## measure the five arms and write the report (ARGS="--params ...")
	$(BIN)/kedro run --pipeline ablation $(ARGS)

reference: $(STAMP)  ## the report of the kept study, from its files, without training
	$(BIN)/kedro run --pipeline reporting --env reference $(ARGS)

smoke: $(STAMP)  ## the same in under two minutes, too small to conclude anything
	$(BIN)/kedro run --pipeline ablation --env smoke $(ARGS)

small: $(STAMP)  ## your own data and settings (conf/local) in small
	$(BIN)/kedro run --pipeline ablation --params "$(SMALL)" $(ARGS)

review: $(STAMP)  ## review the hyperparameters of an environment (ARGS="--env t4")
	$(BIN)/kedro run --pipeline hyperparameter_review $(ARGS)

stability: $(STAMP)  ## original against corrected settings
	$(BIN)/kedro run --pipeline stability $(ARGS)

test: $(STAMP)  ## run the tests
	$(BIN)/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(STAMP)  ## formatting, style, types, import direction
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

viz: $(STAMP)  ## look at the pipelines
	$(BIN)/kedro viz run --include-hooks $(ARGS)

mlflow: $(STAMP)  ## look at the runs
	$(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db $(ARGS)

bench: $(STAMP)  ## the measurements behind the pages in benchmarks/ (minutes each)
	$(BIN)/python benchmarks/interval_coverage.py
	$(BIN)/python benchmarks/noise2noise_denoiser.py
	$(BIN)/python benchmarks/trm_reproduction.py

bench-gpu: $(STAMP)  ## what this machine's GPU does, in under eight minutes
	$(BIN)/python benchmarks/gpu_updates.py

docs: $(STAMP)  ## write the generated parts: the parameters reference, README's measured table, GPU hours
	$(BIN)/python docs/reference/make_parameters.py
	$(BIN)/python benchmarks/update_readme.py
	$(BIN)/python benchmarks/gpu_hours.py

clean:  ## remove results, keep the environment
	rm -rf data/0[2-8]*/* mlflow.db mlartifacts
