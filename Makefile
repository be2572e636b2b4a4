# Two commands do everything, set-up included: `make run` and `make test`.

CARGO ?= cargo
# Cargo merges the features of what it builds in one call: programs without std are built apart from the rest.
FREESTANDING = -p isthmus-hypervisor -p nimbos -p nimbos-apps -p test-guests -p uintr-conformance
# What only they are built with: frame pointers.
FLAGS = --config crates/freestanding-link/cargo-flags.toml
HOST = $(subst -p,--exclude,$(FREESTANDING))
LAB = $(CARGO) run --release -p isthmus-lab --
# The model checker's atomics instead of the processor's; a folder of its own, or everything would be built anew.
LOOM = RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=$(or $(CARGO_TARGET_DIR),target)/loom $(CARGO)

# Random cases for each fuzz test; more by hand: make fuzz FUZZ_CASES=1000000
FUZZ_CASES ?= 10000
# Optimized, and with all assertions; a folder of its own, as above.
FUZZ = PROPTEST_CASES=$(FUZZ_CASES) CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true \
	CARGO_TARGET_DIR=$(or $(CARGO_TARGET_DIR),target)/fuzz $(CARGO) test --release

.PHONY: help run run-shell test test-host test-mutants test-emulator conformance fuzz check build clean prerequisites

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: prerequisites ## Boot the demo: Linux and NimbOS in two cells, system calls by senduipi
	@$(LAB) demo

run-shell: prerequisites ## The same with a shell of NimbOS on this terminal, and FILES in Linux's /opt; ^A x ends it
	@mode=$$(stty -g 2>/dev/null); $(LAB) shell $(addprefix --file ,$(FILES)); status=$$?; \
		[ -z "$$mode" ] || stty "$$mode"; exit $$status # even if the lab was killed

test: MUTANTS = --product
test: check test-host test-mutants test-emulator ## All tests

check: prerequisites ## Formatting, lints and documentation
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy $(FREESTANDING) --lib --bins -- -D warnings
	$(CARGO) clippy $(FREESTANDING) --lib --tests -- -D warnings
	$(CARGO) clippy --workspace $(HOST) --all-targets -- -D warnings
	$(LOOM) clippy -p interleavings --lib --tests -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

test-host: prerequisites ## Tests that run on this machine, in seconds
	$(CARGO) test $(FREESTANDING) --lib
	$(CARGO) test --workspace $(HOST)
	$(LOOM) test --release -p interleavings --lib

test-mutants: prerequisites ## Break the notify/wait protocol in many small ways: a test must notice each
	$(CARGO) run --release -p mutants -- $(MUTANTS)

test-emulator: prerequisites ## Tests that boot the emulated machine
	@$(LAB) setup
	$(CARGO) run --release -p system-tests --

fuzz: prerequisites ## Random input for everything that reads hostile bytes, FUZZ_CASES for each test
	@echo "fuzz: $(FUZZ_CASES) cases for each test; what fails stays in proptest-regressions and is run first from then on"
	$(FUZZ) -p isthmus-hypervisor -p nimbos --lib fuzz::
	$(FUZZ) -p backtrace -p cell-config -p cell-config-toml -p forward-ring -p hv-abi --test fuzz

conformance: prerequisites ## All conformance cases of user interrupts, and the long tests around them
	@$(LAB) setup
	$(CARGO) run --release -p system-tests --bin conformance --

build: prerequisites ## Build everything that runs freestanding
	$(CARGO) build --release $(FLAGS) $(FREESTANDING)

clean: ## Remove everything that was built or downloaded
	rm -rf target

prerequisites:
	@tools/prerequisites
