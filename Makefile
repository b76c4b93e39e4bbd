# Needs Debian, make and Python 3.11 or later; everything else is set up here (see .ci/setup).

BIN := .venv/bin
ENV := .venv/.made
RUN := .venv/.installed
DEV := .venv/.dev
OTHER := FROSTWATCH_LAB_RELEASE=other
# What fails once is run once more, and told as a rerun: guests under emulation have no real time.
AGAIN := --reruns 1
# What tests start beside guests: a browser, and shells that complete.
TESTED := chromium fish zsh
# The tests start hundreds of Pythons, and workers that read all tests: what is compiled is kept.
export PYTHONDONTWRITEBYTECODE :=
# What is found by chance only once is told, and not run again.
SOAK = $(BIN)/python -m pytest --durations=20 --timeout=7200
# Ten on two cores, since guests and consoles wait as well; files in the order given, longest first.
TESTS = $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder $(AGAIN)

.DEFAULT_GOAL := help
.PHONY: help run test check guests other console unit compiled lab soak soak-together \
	soak-alone bench pictures man packages tested clean

help: ## show this
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: $(RUN) ## the console on this machine's VMs, or a drill; without a terminal, in plain lines
	@$(BIN)/frostwatch --or-drill

test: ## lint, types, import contracts, and the tests (but those of `make soak` and `make bench`)
	@$(MAKE) --no-print-directory --output-sync -j 5 check guests other console unit

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The longest: it is seen as it goes (`+`), and of the others what they print when they have ended.
guests: compiled tested
	+$(TESTS) -n 4 tests/faults tests/guests

other: compiled tested
	$(OTHER) $(TESTS) -n 1 -m both tests/guests

console: compiled tested
	$(TESTS) -n 3 tests/console

unit: compiled tested
	$(TESTS) -n 2 tests/unit

# Once, and not by each worker at the same time.
compiled: $(DEV)
	-@$(BIN)/python -m pytest --collect-only -q tests >/dev/null

lab: $(DEV) packages ## boot three small guests, and open the console on them
	$(BIN)/python -m tests.guests.lab --guests 3 -- $(BIN)/frostwatch --named-only {vms}

soak: $(DEV) ## the tests that take many minutes
	@.ci/setup packages $(TESTED) btrfs-progs
	@$(MAKE) --no-print-directory --keep-going soak-together soak-alone

soak-together: $(DEV)
	$(SOAK) -m 'soak and not alone' -n 3 --dist loadfile --no-loadscope-reorder

# What it measures, a busy machine would change.
soak-alone: $(DEV)
	$(SOAK) -m 'soak and alone' -s

bench: $(DEV) packages ## what things cost, against baselines of the same run
	FROSTWATCH_WHOLE_BENCHMARKS=1 $(BIN)/python -m pytest -s -m 'not soak' tests/benchmarks

pictures: $(DEV) ## draw the README's pictures again
	@.ci/setup fonts
	$(BIN)/python -m screenshots

man: $(DEV) ## write the man pages, the list of keys and the JSON Schema again
	$(BIN)/python -m tests.manual

packages: $(DEV)
	@.ci/setup packages

tested: $(DEV)
	@.ci/setup packages $(TESTED)

clean: ## remove everything that was made here
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find agentclient tui tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(ENV):
	.ci/setup venv
	@touch $@

$(RUN): $(ENV) pyproject.toml
	.ci/setup install
	@touch $@

$(DEV): $(ENV) pyproject.toml
	.ci/setup dev
	@touch $@ $(RUN)
