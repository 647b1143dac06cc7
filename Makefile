# The commands of this project. `make run` and `make test` are all a newcomer needs.
PYTHON ?= python3
BIN := .venv/bin
export RAY_AUTH_MODE ?= disabled
export RAY_USAGE_STATS_ENABLED ?= 0

.PHONY: install
install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r constraints.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

.PHONY: lock
lock:  ## pins every version anew; needs uv on the PATH
	uv pip compile pyproject.toml --extra dev --extra bench --extra postgres --extra redis --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --quiet --upgrade -o constraints.txt
	uv pip compile pyproject.toml --extra local-llm --constraint constraints.txt --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --quiet --upgrade -o constraints-local-llm.txt
