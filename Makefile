# Painting pairs. 'make' or 'make help' lists the targets; each brings what it needs and does only what is out of date.
# CONFIG names the configuration, SET overrides settings: make report SET="train.steps=1200 train.seed=1"
# TEST is the folder of Kaggle's test pictures and pairs: make submit SET="recipe=kaggle"
# ALLOW names kinds of errors that do not stop what follows 'make validate': make report ALLOW="leaked-artist"

PYTHON ?= python3
CONFIG ?= config.yaml
SET ?=
ALLOW ?=
TEST ?= data/painter-by-numbers-test

VENV := .venv
PY := $(VENV)/bin/python
DRIVER := $(or $(wildcard /proc/driver/nvidia/version),$(shell command -v nvidia-smi 2>/dev/null))
LOCK := $(if $(DRIVER),cuda,cpu)
STAMP := $(VENV)/.installed-$(LOCK)
OPTIONS := --config $(CONFIG) $(foreach setting,$(SET),--set '$(setting)')
ALLOWED := $(foreach kind,$(ALLOW),--allow '$(kind)')
CODE := preprocess pipeline train tests bench

.DEFAULT_GOAL := help
.PHONY: help setup gallery manifest validate store split train evaluate report submit status doctor check-store \
	sheet bench soak simd lint format test demo clean lock digits fashion experiments transfer classifier

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; \
		do printf '  %-12s %s\n' "$$target" "$$text"; done

setup: $(STAMP) ## install the locked packages into .venv, with NVIDIA's where a driver is

$(STAMP): requirements/$(LOCK).txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "error: $(PYTHON) is not Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --require-hashes --disable-pip-version-check -r requirements/$(LOCK).txt
	@touch $@

demo: ## the whole way on a generated gallery: paintings, store, training, calibration, report
	@$(MAKE) --no-print-directory report SET="recipe=demo $(SET)"

gallery: setup ## generate the paintings of the embedded default
	@$(PY) -m preprocess gallery --config $(CONFIG) $(foreach setting,recipe=demo $(SET),--set '$(setting)')

manifest: setup ## list the pictures with artist, size and checksum
	@$(PY) -m preprocess manifest $(OPTIONS)

validate: setup ## judge the collection, before it costs a night: table, pictures, sides; errors stop what follows
	@$(PY) -m preprocess validate --install $(ALLOWED) $(OPTIONS)
	@$(PY) -m preprocess store $(OPTIONS)
	@$(PY) -m pipeline validate --install $(ALLOWED) $(OPTIONS)

store: setup ## square and resize every picture once, into a sealed zarr store
	@$(PY) -m preprocess validate --quiet $(ALLOWED) $(OPTIONS)
	@$(PY) -m preprocess store $(OPTIONS)

check-store: setup ## compare every file of the store with its seal
	@$(PY) -m preprocess check-store $(OPTIONS)

sheet: setup ## contact sheets of stored and of quarantined pictures, to look at
	@$(PY) -m preprocess sheet $(OPTIONS)
	@$(PY) -m preprocess sheet --quarantined --out quarantined.png $(OPTIONS)

split: store ## print how paintings and artists are divided into sides
	@$(PY) -m pipeline split $(OPTIONS)

train: split ## train, from the last checkpoint if there is one
	@$(PY) -m pipeline validate --quiet $(ALLOWED) $(OPTIONS)
	@$(PY) -m train fit $(OPTIONS)

evaluate: train ## calibrate on validation pairs and measure on test pairs
	@$(PY) -m train evaluate $(OPTIONS)

report: evaluate ## write report.html and print where it is
	@$(PY) -m train report $(OPTIONS)

status: setup ## step, time left, curves, last checkpoint and incidents, while it trains
	@$(PY) -m train status $(OPTIONS)

doctor: setup ## check Python, packages, disk, memory, store and GPU
	@$(PY) -m train doctor $(OPTIONS)

digits: ## the report's digit pairs: put MNIST's four .gz files into data/mnist
	@$(MAKE) --no-print-directory report SET="recipe=digits $(SET)"

fashion: ## the report's fashion pairs: put Fashion-MNIST's four .gz files into data/fashion-mnist
	@$(MAKE) --no-print-directory report SET="recipe=fashion $(SET)"

submit: report ## write submission.csv for the pairs in TEST, Kaggle's test folder
	@$(PY) -m train submit --test $(TEST) $(OPTIONS)

bench: setup ## measure each stage against its limit and its peers
	$(PY) -m bench.preprocess
	$(PY) -m bench.pairs
	$(PY) -m bench.submit
	$(PY) -m bench.train

# DATA is the folder of mnist, fashion-mnist and paintings-224
DATA ?= data
SEEDS ?= 3
experiments: setup ## the report's experiments over SEEDS seeds, from the collections in DATA
	@$(PY) -m train experiments --data $(DATA) --seeds $(SEEDS) $(OPTIONS)

transfer: setup ## train on digits and test on fashion, and the other way
	@$(PY) -m train experiments --only digits-to-fashion --only fashion-to-digits --data $(DATA) --seeds $(SEEDS) $(OPTIONS)

classifier: setup ## the report's stand-alone classifiers of fashion, and pairs judged by two classifications
	@$(PY) -m train classifier --kind small --set recipe=fashion $(OPTIONS)
	@$(PY) -m train classifier --kind large --set recipe=fashion $(OPTIONS)

lint: setup ## ruff, mypy and the import rules
	$(VENV)/bin/ruff check $(CODE)
	$(VENV)/bin/ruff format --check $(CODE)
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: setup ## format the code
	$(VENV)/bin/ruff check --fix $(CODE)
	$(VENV)/bin/ruff format $(CODE)

# Two processes more than there are cores: many a test waits for a process or a clock.
test: setup ## run the tests in parallel
	$(PY) -m pytest -n $$($(PY) -c 'import os; print(os.cpu_count() + 2)') --dist worksteal

soak: setup ## the tests of survival, hundreds of times; writes docs/soak.txt
	@echo "SOAK=40 pytest -m soak, $$(date -u +%Y-%m-%d), commit $$(git rev-parse --short HEAD), $$(nproc) cores" > docs/soak.txt
	SOAK=40 $(PY) -m pytest -m soak -n auto -rP --durations=0 --show-capture=stdout | tee -a docs/soak.txt

simd: setup ## put pillow-simd in Pillow's place, twice as fast at resizing (needs a C compiler: docs/resizing.md)
	$(PY) -m pip uninstall -y --disable-pip-version-check pillow
	$(PY) -m pip install --no-deps --require-hashes --disable-pip-version-check -r requirements/simd.txt

lock: ## renew requirements/*.txt (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --group dev \
		--upgrade pyproject.toml -o requirements/cpu.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --group dev \
		--upgrade --extra cuda pyproject.toml -o requirements/cuda.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--upgrade requirements/tfdv.in -o requirements/tfdv.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--upgrade requirements/simd.in -o requirements/simd.txt

clean: ## remove caches, .venv and .venv-tfdv; never data, stores or runs
	rm -rf $(VENV) .venv-tfdv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
