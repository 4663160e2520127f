# make repro and make test do all the set-up they need; a second call installs nothing.
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help repro test lint bench scale seeds ablation chaos upstream setup clean

help:  ## print this
	@sed -n 's/^\([a-z]*\):[a-z ]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

repro: setup  ## train and evaluate the reward model
	goldrm check
	dvc repro
	@goldrm summary

test: setup  ## run the tests
	pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: setup  ## formatting, style, types, which folder may import which
	ruff format --check .
	ruff check .
	basedpyright
	lint-imports

bench: setup  ## measure speed against the notebook's way
	python benchmarks/bench.py

scale: setup  ## time and memory at 1,000, 5,000 and 25,000 training pairs (about 40 minutes on 2 cores)
	python benchmarks/scale.py

seeds: setup  ## the headlines with three seeds: mean and range (about half an hour on 2 cores)
	python benchmarks/seeds.py

ablation: setup  ## the default recipe with one part less or more, three seeds (about an hour and a half on 2 cores)
	python benchmarks/ablation.py

chaos: setup  ## kill the pipeline at 100 random moments; throw 100,000 damaged files at every loader
	PYTHONPATH=tests python tests/chaos.py
	GOLDRM_FUZZ=10 pytest tests/pipeline/test_fuzz.py

upstream: setup  ## train the stand-in language model again (frozen in upstream/dvc.yaml)
	cd upstream && python -m goldrm.pipeline.run train_sft.py
	dvc commit --force upstream/dvc.yaml:train_sft
	@echo "now set sft.sha256 in params.yaml to:" && sha256sum upstream/sft_lm.safetensors

setup: $(INSTALLED)

# site_cache_dir: everybody may write to DVC's default, /var/tmp/dvc, and DVC unpickles what it finds.
$(INSTALLED): requirements.lock pyproject.toml
	test -d $(VENV) || python3 -m venv $(VENV)
	pip install --requirement requirements.lock
	pip install --no-deps --no-build-isolation --editable .
	python -m goldrm.commands.plots_page
	dvc config --local plots.html_template tmp/plots.html
	dvc config --local core.site_cache_dir "$(CURDIR)/.dvc/tmp/site"
	touch $@

clean:  ## remove what the pipeline made, and unfinished work; the cache keeps finished outputs
	rm -rf .work upstream/.work data/sft data/pairs data/completions data/models data/examples data/evaluation data/dictionary.json
