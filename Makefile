# Every line is a command that can be typed as well.
.DEFAULT_GOAL := help
.PHONY: help setup setup-brokers demo test prove prove-soak bench bench-brokers bench-neighbours bench-scale guests book reference update msrv fmt lint

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: ## installs what is missing to build, test and run
	scripts/setup.sh

setup-brokers: ## installs NATS, RabbitMQ, Prometheus and Chromium, which tests start where they are there
	scripts/setup-brokers.sh

demo: ## runs the main job on the embedded queue and shows what became of each message
	scripts/setup.sh demo
	scripts/demo.sh

test: ## installs what is missing and runs every test and check
	scripts/setup.sh
	scripts/test.sh

prove: ## proves at length that nothing is lost: simulations, kills, failing calls, random input; SEED=7 repeats one simulation
	scripts/setup.sh
	scripts/prove.sh $(if $(SEED),simulate 1 $(SEED))

prove-soak: ## the last of these alone; MINUTES=15 unless given
	scripts/setup.sh
	scripts/prove.sh soak $(MINUTES)

bench: ## measures the host against the raw loops
	scripts/setup.sh demo
	scripts/bench.sh

bench-brokers: ## measures the host on NATS and RabbitMQ against the bare loops of their clients
	scripts/setup.sh demo
	scripts/setup-brokers.sh
	scripts/bench.sh brokers

bench-neighbours: ## measures what a tenant notices of one that attacks
	scripts/setup.sh demo
	scripts/bench.sh neighbours

bench-scale: ## measures a host of many components and tenants
	scripts/setup.sh demo
	scripts/bench.sh scale

guests: ## builds the guests of the tests, and the example of every language
	scripts/guest-cargo.sh tests/guests
	scripts/guest-languages.sh

book: ## builds the book of docs/ into target/book
	scripts/book.sh

update: ## updates all dependencies, builds, tests, and shows what became faster or slower
	scripts/setup.sh
	scripts/update.sh

msrv: ## checks that the oldest Rust that the host, and receivers, are written for compiles them
	cargo +$(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) check --workspace --all-features --all-targets --locked
	cargo +$(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' guest-examples/rust/wasmpost-guest/Cargo.toml) check --locked \
	  --manifest-path guest-examples/rust/Cargo.toml --lib

reference: ## writes the parts of docs/ that are made from the code
	WASMPOST_WRITE=1 cargo test --workspace --all-features --test book reference::

fmt: ## formats all sources
	cargo fmt --all
	cargo fmt --all --manifest-path guest-examples/rust/Cargo.toml
	cargo fmt --manifest-path guest-examples/rust/echo/Cargo.toml
	cargo fmt --manifest-path guest-examples/rust/batch/Cargo.toml
	cargo fmt --all --manifest-path tests/guests/Cargo.toml
	cargo fmt --manifest-path tests/fuzz/Cargo.toml
	cargo fmt --manifest-path tests/shuttle/Cargo.toml

lint: ## what the compiler's lints say
	cargo clippy --workspace --all-targets -- -D warnings
