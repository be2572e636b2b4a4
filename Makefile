# Two commands do everything, set-up included: `make run` and `make test`.

CARGO ?= cargo
LAB = $(CARGO) run --quiet --release -p isthmus-lab --

.PHONY: help run test test-host test-emulator check build clean prerequisites

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: prerequisites ## Boot the demo: Linux and NimbOS in two cells, system calls by senduipi
	@$(LAB) demo

test: check test-host test-emulator ## All tests

check: prerequisites ## Formatting, lints and documentation
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items

test-host: prerequisites ## Tests that run on this machine, in seconds
	$(CARGO) test --workspace

test-emulator: prerequisites ## Tests that boot the emulated machine
	@$(LAB) setup
	$(CARGO) run --release -p system-tests --

build: prerequisites ## Build everything that runs freestanding
	$(CARGO) build --release -p isthmus-hypervisor -p nimbos -p nimbos-apps

clean: ## Remove everything that was built or downloaded
	rm -rf target

prerequisites:
	@tools/prerequisites
