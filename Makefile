# Every command that a developer types. GNU make 3.81 is enough; recipes are POSIX sh.

.DEFAULT_GOAL := help
# The steps of `make test` stand in the order in which they should fail.
.NOTPARALLEL:
.PHONY: help demo test-all test test-needs fmt fmt-check lint doc doctest unit sabotage sweep-table chaos chaos-ci chaos-build fuzz fuzz-guided reference send-speed bench bench-page counts counts-baseline counts-build clean

CARGO ?= cargo
# What runs the tests: nextest or cargo.
RUNNER ?= nextest
# How long each fuzz test runs by hand; in the gate it is 5 seconds.
FUZZ_SECONDS ?= 600
# How many cases libFuzzer makes for each; FUZZ_OF=wire takes those with that in their names.
FUZZ_RUNS ?= 10000000
FUZZ_OF ?=

help: ## List these commands (the default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: ## Watch messages being retried, recovered and dead-lettered; no server needed
	$(CARGO) run --locked -p redrive-cli --bin redrive -- demo

test-all: test-needs sabotage chaos-ci test ## All that CI runs: the sabotages, the chaos suite at its small size, the tests

test: test-needs fmt-check lint doc doctest counts unit ## What every change has to pass; RUNNER=cargo does without nextest

test-needs: ## Install what the tests need and is missing: a Redis server, valgrind, nextest
	@RUNNER='$(RUNNER)' CARGO='$(CARGO)' sh scripts/install-test-needs.sh

fmt: ## Format the code
	$(CARGO) fmt --all

fmt-check: ## Check that the code is formatted
	$(CARGO) fmt --all --check

lint: ## Run clippy, warnings are errors
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

doc: ## Build the documentation, warnings are errors
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked

doctest: ## Run the examples in the documentation
	$(CARGO) test --doc --workspace --locked

unit: ## Run the tests; RUNNER=cargo does without nextest
ifeq ($(RUNNER),cargo)
	$(CARGO) test --workspace --all-targets --locked
else
	$(CARGO) nextest run --workspace --locked
endif

sabotage: ## Break one guarantee after another and see its test fail
	@scripts/sabotage.sh

fuzz: ## Hold random input against the laws of every parser; FUZZ_SECONDS=600 each
	REDRIVE_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test --profile fuzz --locked --lib --bins \
		-p redrive -p redrive-cli -p redrive-testkit fuzz_of -- --nocapture

fuzz-guided: ## The same under libFuzzer, by coverage; FUZZ_RUNS=10000000 each, FUZZ_OF=name
	@CARGO='$(CARGO)' FUZZ_RUNS='$(FUZZ_RUNS)' FUZZ_OF='$(FUZZ_OF)' scripts/fuzz-guided.sh

sweep-table: ## Sweep every command, and put what each kill led to into docs/guarantees.md
	@CARGO='$(CARGO)' scripts/sweep-table.sh

reference: ## Make docs/cli.md and docs/configuration.md from the commands
	@for page in cli configuration; do \
		$(CARGO) run --quiet --locked -p redrive-cli --bin redrive -- reference $$page > docs/$$page.md.new \
		&& mv docs/$$page.md.new docs/$$page.md || exit 1; \
	done

send-speed: ## Measure `redrive send` beside a raw loop of XADD; fails below 0.3 of it
	$(CARGO) build --release --locked -p redrive-cli --bin redrive --example send_speed
	@$${CARGO_TARGET_DIR:-target}/release/examples/send_speed

bench: ## Measure redrive beside raw loops, with targets and verdicts, in less than ten minutes
	$(CARGO) build --release --locked -p redrive-cli --bin redrive
	@$${CARGO_TARGET_DIR:-target}/release/redrive bench

bench-page: ## The same, and put the table and the picture into docs/
	$(CARGO) build --release --locked -p redrive-cli --bin redrive
	@$${CARGO_TARGET_DIR:-target}/release/redrive bench --page docs/performance.md --chart docs/performance.svg

counts: test-needs counts-build ## Count what a message costs; fails above docs/counts.txt by more than 5 %
	@$(COUNT)

counts-baseline: test-needs counts-build ## The same, and write it to docs/counts.txt
	@$(COUNT) renew

# In the one build as in a release; what counts is built as the tests are, of what they are built of.
COUNT = $${CARGO_TARGET_DIR:-target}/debug/examples/counts \
	$${CARGO_TARGET_DIR:-target}/counts/redrive-counts docs/counts.txt

# With whole names of functions, types and all: by them they are found.
counts-build:
	RUSTFLAGS="$$RUSTFLAGS -C symbol-mangling-version=v0" \
		$(CARGO) build --profile counts --locked -p redrive-counts --bin redrive-counts
	$(CARGO) build --workspace --locked --example counts

# Each prints its verdict line; `make test` runs none of these.
ifeq ($(RUNNER),cargo)
CHAOS = $(CARGO) test -p redrive-chaos --locked -- --ignored --nocapture --test-threads
else
CHAOS = $(CARGO) nextest run -p redrive-chaos --locked --run-ignored only --success-output immediate --test-threads
endif

chaos: chaos-build ## Hurt the binary, the library and servers at full size: hours; REDRIVE_SOAK=1h for the soak
	REDRIVE_CHAOS=full $(CHAOS) 1$(if $(filter nextest,$(RUNNER)), -P chaos-full)

chaos-ci: chaos-build ## The same at the size of the gate: minutes
	$(CHAOS) 2

# What is hurt, before any clock runs.
chaos-build:
	$(CARGO) build --locked -p redrive-cli --bin redrive

clean: ## Remove what was built
	$(CARGO) clean
