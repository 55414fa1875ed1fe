# Two commands are all that a newcomer needs: `make run` and `make test`. `make help` lists the others.
# Stamps inside .venv make a second run quick; a change of pyproject.toml renews them.

PYTHON ?= python3
PORT ?= 8000
WORKERS ?= 2
# make test ARGS="-k sockets -x"
ARGS ?=
# So many tests at a time; most of them wait for something. The tests of one file stay together. JOBS=0: one after the other.
JOBS ?= 2
# make bench ONLY=dump
ONLY ?=

export PYTHON
# With it, each of the many starts in the tests would compile the package again.
unexport PYTHONDONTWRITEBYTECODE
# nft, ip and others of the tests' tools are in the system folders, which a user's PATH may leave out.
export PATH := $(or $(PATH),/usr/local/bin:/usr/bin:/bin):/usr/local/sbin:/usr/sbin:/sbin
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run test check bench clean

help: ## this list
	@echo 'make run    set everything up, train the loan example, serve it on 127.0.0.1:$(PORT)'
	@echo 'make test   set everything up and run the tests                        (ARGS="-k sockets" picks some)'
	@echo 'make check  lint, format, types and the borders between the rooms'
	@echo 'make bench  measure against the peers, write benchmarks/RESULTS.md      (ONLY=dump picks one)'
	@echo 'make clean  remove what the others made'
	@echo 'PYTHON=/path/to/python3.12 chooses the interpreter (3.11 or newer).'

run: .venv/.made-all
	@$(BIN)/pellucid models show loan >/dev/null 2>&1 || $(BIN)/pellucid train loan
	@echo
	@echo 'The loan model will answer on http://127.0.0.1:$(PORT). Try, in another terminal:'
	@echo '    $(BIN)/pellucid predict loan --example --url http://127.0.0.1:$(PORT)'
	@echo '    $(BIN)/pellucid ps pellucid-w          its workers, and what each does now'
	@echo '    $(BIN)/pellucid why pellucid-w0        what the first of them waits for'
	@echo '    kill -STOP PID_OF_A_WORKER                answers go on; after half a minute ask:'
	@echo '    $(BIN)/pellucid incidents              which worker was stuck, where, and what was done'
	@echo 'Ctrl-C stops it.'
	@echo
	@exec $(BIN)/pellucid serve loan --port $(PORT) --workers $(WORKERS)

test: .venv/.made-dev
	@if [ -e scripts/install_test_tools.sh ] && [ "$$(id -u)" -eq 0 ]; then sh scripts/install_test_tools.sh \
	  || echo '*** Some test tools could not be installed (see above): the tests that need them will be skipped.' >&2; fi
	@if [ -e scripts/fetch_interpreters.py ]; then $(BIN)/python scripts/fetch_interpreters.py \
	  || echo '*** Some interpreters could not be fetched (see above): their tests will be skipped.' >&2; fi
	@if [ -e scripts/fetch_gevent.py ]; then $(BIN)/python scripts/fetch_gevent.py \
	  || echo '*** gevent could not be fetched for some interpreters (see above): their tests will be skipped.' >&2; fi
	@if [ -e scripts/fetch_jvms.py ]; then $(BIN)/python scripts/fetch_jvms.py >/dev/null \
	  || echo '*** Some JVMs could not be fetched (see above): their tests will be skipped.' >&2; fi
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

check: .venv/.made-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

bench: .bench-venv/.made
	@command -v wrk >/dev/null || { [ "$$(id -u)" -eq 0 ] && apt-get update -qq && apt-get install -y -qq wrk >/dev/null; } \
	  || echo 'There is no wrk (Debian package wrk): an asyncio client makes the load instead.' >&2
	.bench-venv/bin/python -m benchmarks $(ONLY)

.venv/.made-all: pyproject.toml scripts/environment.sh
	@sh scripts/environment.sh .venv all
	@touch $@

.venv/.made-dev: pyproject.toml scripts/environment.sh
	@sh scripts/environment.sh .venv all,dev
	@touch $@ .venv/.made-all

.bench-venv/.made: pyproject.toml scripts/environment.sh benchmarks/requirements.txt
	@sh scripts/environment.sh .bench-venv all --requirement benchmarks/requirements.txt
	@touch $@

clean:
	rm -rf .venv .bench-venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} +
