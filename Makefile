# make repro and make test do all the set-up they need; a second call installs nothing.
.DEFAULT_GOAL := help
PYTHONS := .venv/bin/python python3 python3.14 python3.13 python3.12 python3.11
export USERS_PATH := $(PATH)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# A user's settings of Python, of pytest, and of the Git hook that runs make, are not this project's.
unexport $(filter PYTHON% PYTEST% GIT_%,$(.VARIABLES))
export PYTHONDONTWRITEBYTECODE := 1
export PYTHONUTF8 := 1
# DVC asks for a user's name and home, which the user of a container may lack.
export USER ?= $(shell id -u)
export HOME ?= /nonexistent

HF := .venv-hf/bin/python
.PHONY: help repro demo debug test test-hf test-report peers lint bench kernels scale seeds ablation overoptimization second-round leaderboard chaos upstream upstream-sorting setup clean

help:  ## print this
	@sed -n 's/^\([a-z-]*\):[a-z. /-]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

repro: setup  ## train and evaluate the reward model
	goldrm check
	dvc repro
	@goldrm report
	@goldrm summary

demo: setup  ## all stages in about a minute, in .work/try/demo
	@goldrm try demo

debug: setup  ## all stages at the notebook's debug sizes, in .work/try/debug
	@goldrm try debug

test: setup  ## run the tests
	pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-hf: .venv-hf/installed  ## test what `goldrm export hf` writes with transformers and TRL
	$(HF) -m pytest tests/huggingface

test-report: setup  ## look at the report in Chromium, which must be installed
	python -m pip install --quiet playwright==1.65.2
	pytest tests/commands/test_report_in_browser.py

lint: setup  ## formatting, style, types, which folder may import which
	ruff format --check .
	ruff check .
	basedpyright
	lint-imports

bench: setup  ## measure speed against the notebook's way
	python benchmarks/bench.py

kernels: setup  ## what a GPU would be asked for: kernels, waits and Python's time, counted on the CPU
	python benchmarks/kernels.py

scale: setup  ## time and memory at 1,000, 5,000 and 25,000 training pairs (about 40 minutes on 2 cores)
	python benchmarks/scale.py

seeds: setup  ## the headlines with three seeds: mean and range (about half an hour on 2 cores)
	python benchmarks/seeds.py

ablation: setup  ## the default recipe with one part less, three seeds (about half an hour on 2 cores)
	python benchmarks/ablation.py

overoptimization: setup  ## gold reward against KL: policies and the best of n, three seeds
	python benchmarks/overoptimization.py

second-round: setup  ## pairs of the optimised policy as well, and again, three seeds
	python benchmarks/second_round.py

leaderboard: setup  ## recipes × tasks, into docs/leaderboard.md (a quarter of an hour after make repro)
	python benchmarks/leaderboard.py sorting

peers: .venv-hf/installed  ## TRL's RewardTrainer, GRPOTrainer and transformers.generate beside ours (about 9 minutes on 2 cores)
	$(HF) benchmarks/peers.py

chaos: setup  ## kill the pipeline at 100 random moments; throw 100,000 damaged files at every loader
	PYTHONPATH=tests python tests/chaos.py
	GOLDRM_FUZZ=10 pytest tests/pipeline/test_fuzz.py

upstream: setup  ## train the stand-in language model again (frozen in upstream/dvc.yaml)
	cd upstream && python -EP ../src/goldrm/pipeline/run.py train_sft.py
	dvc commit --force upstream/dvc.yaml:train_sft
	@echo "now set sft.sha256 in params.yaml to:" && sha256sum upstream/sft_lm.safetensors

upstream-sorting: setup  ## train the small language model of task.name sorting again (minutes)
	cd upstream/sorting && python -EP ../../src/goldrm/pipeline/run.py ../train_sft.py
	dvc commit --force upstream/sorting/dvc.yaml:train_sft
	@echo "now set sft.sha256 in presets/sorting.yaml to:" && sha256sum upstream/sorting/sft_lm.safetensors

setup:  ## install into .venv what is missing there
	@export PATH="$$USERS_PATH"; for python in $(PYTHONS); do \
		if "$$python" -I -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; \
		then exec "$$python" -I -B install.py; fi; done; \
	echo "make: Python 3.11 or newer is needed; none of $(PYTHONS) is one. Install it." >&2; exit 1

# The extra hf, in an environment of its own that sees .venv's packages: so `make test` runs in .venv
# as it is. The paths between the two are relative, as the folder may move.
.venv-hf/installed: requirements.lock requirements-hf.lock | setup
	.venv/bin/python -m venv --clear .venv-hf
	$(HF) -c "import sysconfig, pathlib; \
		packages = pathlib.Path(sysconfig.get_path('purelib')); \
		of_venv = packages.relative_to(packages.parents[2]); \
		path = f'../../../../src\n../../../../.venv/{of_venv}\n'; \
		(packages / 'goldrm.pth').write_text(path)"
	$(HF) -m pip install --requirement requirements-hf.lock
	touch $@

clean:  ## remove what the pipeline made, and unfinished work; the cache keeps finished outputs
	rm -rf .work upstream/.work upstream/sorting/.work data/sft data/pairs data/completions data/models data/examples data/evaluation data/policies data/dictionary.json
