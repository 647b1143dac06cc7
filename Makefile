# The commands of this project. Start with `make run` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: help
help:  ## lists the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 16

.PHONY: install
install: .venv/.installed  ## makes .venv from requirements/dev.txt, which pins every version

# A changed lock file rebuilds .venv: pip would keep packages that the lock no longer names.
.venv/.locked: requirements/pip.txt requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit("Headrace needs Python 3.11 or newer: make install PYTHON=python3.13" \
		if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements/pip.txt
	$(BIN)/pip install --quiet --require-hashes -r requirements/dev.txt
	touch $@

.venv/.installed: pyproject.toml .venv/.locked
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

.PHONY: run
run: install  ## reports on the Python packages in .venv: the demo
	@echo "Up to 60 reports on Python packages in .venv, by a simulated model. A table follows; the reports are in runs/. make run-ray does the same on Ray."
	$(BIN)/python examples/demo_data.py --out .headrace/demo
	$(BIN)/python driver.py run configs/demo.yaml

.PHONY: run-ray
run-ray: install  ## the demo on a Ray cluster with its dashboard, both of which end with the run
	@echo "The demo of make run on a Ray cluster of its own, which takes some seconds to start. Ray's dashboard is up meanwhile."
	$(BIN)/python examples/demo_data.py --out .headrace/demo
	$(BIN)/python driver.py run configs/demo.yaml --engine ray --set cluster.dashboard=true

.PHONY: run-local-llm
run-local-llm: install .venv/.local-llm  ## five reports of the demo, written by a real model on this machine
	$(BIN)/python examples/demo_data.py --out .headrace/demo
	$(BIN)/python examples/serve_local_model.py -- $(BIN)/python driver.py run configs/local_llm.yaml --limit 5

.venv/.local-llm: requirements/local-llm.txt .venv/.locked
	$(BIN)/pip install --quiet --require-hashes -r requirements/local-llm.txt
	touch $@

.PHONY: serve
serve: install  ## the HTTP API at http://127.0.0.1:8000, with simulated sources and model
	$(BIN)/python -m cluster.http.standalone configs/serve_demo.yaml

.PHONY: cluster
cluster: install  ## a Ray cluster here, with dashboard and token, that takes jobs; says how to submit
	$(BIN)/python -m cluster.ray.head start

.PHONY: cluster-stop
cluster-stop: install  ## ends what `make cluster` started
	$(BIN)/python -m cluster.ray.head stop

.PHONY: test
test: install  ## all tests
	$(BIN)/pytest -q -n $(WORKERS) --dist loadgroup --no-loadscope-reorder
# Half of the time of a test with Ray is waiting: three processes keep two cores busy.
WORKERS ?= 3

.PHONY: dist
dist: install  ## builds the wheel and the source distribution into dist/
	$(BIN)/python -m hatchling build

.PHONY: mutate
mutate: install  ## changes the code in SAMPLE places, one at a time, and prints the changes that no test detects
	$(BIN)/python -m tests.mutation --sample $(SAMPLE) --seed $(SEED) --workers $(WORKERS)
SAMPLE ?= 60

.PHONY: browser
browser: install  ## installs Debian's Chromium and axe-core, for the tests of pages; they are skipped without them
	command -v chromium >/dev/null || (apt-get update --quiet && apt-get install --yes --no-install-recommends chromium)
	-$(BIN)/python -m tests.e2e.support.axe

.PHONY: screenshots
screenshots: install  ## takes the pictures in docs/images; needs Chromium (make browser)
	$(BIN)/python -m tools.screenshots

.PHONY: network
network:  ## installs Debian's iproute2, for the tests on several hosts; they are skipped without it
	command -v ip >/dev/null || (apt-get update --quiet && apt-get install --yes --no-install-recommends iproute2)

.PHONY: monitoring
monitoring:  ## installs Debian's Prometheus, for the tests of metrics and alerts; they are skipped without it
	command -v promtool >/dev/null || (apt-get update --quiet && apt-get install --yes --no-install-recommends prometheus)

.PHONY: manifests
manifests:  ## installs Debian's kustomize, for the tests of the manifests; they are skipped without it
	command -v kustomize >/dev/null || (apt-get update --quiet && apt-get install --yes --no-install-recommends kustomize)

.PHONY: check
check: install  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: chaos
chaos: install  ## kills each part of a run several times, and checks the guarantees
	$(BIN)/python driver.py run configs/chaos.yaml --chaos heavy --seed $(SEED)
SEED ?= 1

.PHONY: soak
soak: install  ## runs for half an hour (SOAK_S=1800), kills a part every 30 s, and measures memory and files
	$(BIN)/python -m cluster.chaos.soak --seconds $(SOAK_S) --seed $(SEED)
SOAK_S ?= 1800

.PHONY: bench
bench: install .headrace/benchvenv/.installed  ## compares Headrace with its rivals in one run; prints a table
	$(BIN)/python -m benchmarks.suite --form short

.PHONY: bench-full
bench-full: install .headrace/benchvenv/.installed  ## the same with more repetitions and up to a million tasks: hours
	$(BIN)/python -m benchmarks.suite --form full
	$(BIN)/python -m benchmarks.report

# The rivals have a separate environment, because their dependencies are not Headrace's.
.headrace/benchvenv/.installed: requirements/pip.txt requirements/bench.txt pyproject.toml
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --require-hashes -r requirements/pip.txt
	$(@D)/bin/pip install --quiet --require-hashes -r requirements/bench.txt && \
		$(@D)/bin/pip install --quiet --no-deps --editable . && touch $@ || \
		echo "the rivals could not be installed: the benchmarks run without them"

# Wheels only: a build from source runs code of the package that has not been reviewed.
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --only-binary :all: \
	--emit-build-options --no-emit-index-url --no-header --quiet --upgrade
.PHONY: lock
lock:  ## updates the pinned versions; needs uv on the PATH
	echo pip | $(LOCK) --no-annotate -o requirements/pip.txt -
	$(LOCK) pyproject.toml --extra dev --extra postgres --extra redis --extra sql --extra bedrock --extra telemetry -o requirements/dev.txt
	echo 'hatchling>=1.27' | $(LOCK) --no-annotate -c requirements/dev.txt -o requirements/build.txt -
	$(LOCK) pyproject.toml --extra postgres --extra redis --extra sql --extra bedrock --extra telemetry -c requirements/dev.txt -o requirements/run.txt
	$(LOCK) pyproject.toml --extra local-llm -c requirements/dev.txt -o requirements/local-llm.txt
	$(LOCK) pyproject.toml --extra bench -c requirements/dev.txt -o requirements/bench.txt
