# The one entrance for people and CI. `make` lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --warn-undefined-variables

NODES ?= 1
ARGS ?=
SECONDS_OF_FUZZING ?= 14400
CLUSTER := e2e/cluster/cluster
CACHE := $(or $(value TRANSSHIP_CACHE),$(or $(value XDG_CACHE_HOME),$(HOME)/.cache)/transship)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## show the main job: a real cluster mirrors a real image
	@e2e/demo

.PHONY: test
test: ## run every test but e2e-builds: check, then e2e; takes down what it started
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory fault-storm SCHEDULES=2000 STORM_PROFILE=test
	$(MAKE) --no-print-directory e2e

# Registries, crane, the conformance suite, and what stands for Argo CD, Flux, Prometheus and the API server;
# built once for each version of tests/tools.
TEST_TOOLS = $(CACHE)/test-tools-$(shell { go version; find tests/tools -type f | LC_ALL=C sort | xargs sha256sum; } | sha256sum | cut -c1-16)

.PHONY: tools
tools: ## build the programs that tests run beside Transship
	@tools='$(TEST_TOOLS)'
	if [[ ! -d $$tools ]]; then
	  printf '==> building the programs of tests/tools (about 8 minutes, once per machine)\n'
	  mkdir -p "$(CACHE)"
	  new=$$(mktemp -d "$$tools.new.XXXXXX")
	  env --chdir=tests/tools GOWORK=off GOFLAGS=-mod=readonly CGO_ENABLED=0 \
	    go build -tags remove_all_sd -buildvcs=false -trimpath -ldflags '-s -w' -o "$$new/" ./... tool
	  chmod 0755 "$$new"
	  mv -T "$$new" "$$tools"
	fi
	mkdir -p target
	ln -sfn "$$tools" target/test-tools

.PHONY: check
check: packages tools ## run all tests that need no cluster
	@cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- --deny warnings
	cargo test --locked
	fuzz/run 60
	e2e/scripts-check
	$(CLUSTER) build helm
	PATH=$$($(CLUSTER) path helm):$$PATH tests/chart/check

.PHONY: e2e
e2e: tools ## run the end-to-end tests on a real cluster (ARGS="copying" for some of them)
	@e2e/run $(ARGS)

.PHONY: e2e-builds
e2e-builds: tools ## build images with every builder on a real cluster (about 12 minutes more at first)
	@e2e/run building:: builders::

# Scenarios whose cuts are all played.
SCENARIOS ?= all

.PHONY: crash
crash: ## kill the operator at each request of its scenarios (SCENARIOS="Prune NewImage" for some; about 20 minutes)
	@TRANSSHIP_E2E_CRASH="$(SCENARIOS)" e2e/run crash::

.PHONY: crash-builds
crash-builds: tools ## the same for builds (SCENARIOS="TagIsAdded" for some; about 40 minutes)
	@TRANSSHIP_E2E_CRASH="$(SCENARIOS)" e2e/run building::crash::

.PHONY: fuzz
fuzz: ## fuzz for four hours, or SECONDS_OF_FUZZING=60 (ARGS="manifest challenge" for some targets)
	@fuzz/run $(SECONDS_OF_FUZZING) $(ARGS)

# What is measured beside Transship; each version is built once.
CRANE := v0.22.1
REGCLIENT := v0.11.7
ORAS := v1.3.6
BENCH_TOOLS := $(CACHE)/bench/crane-$(CRANE)-regclient-$(REGCLIENT)-oras-$(ORAS)

.PHONY: bench
bench: packages ## measure Transship beside its peers (ARGS="--workload tags --round-trip 40 --runs 1")
	@mkdir -p $(BENCH_TOOLS)
	test -x $(BENCH_TOOLS)/crane || GOBIN=$(BENCH_TOOLS) go install github.com/google/go-containerregistry/cmd/crane@$(CRANE)
	test -x $(BENCH_TOOLS)/regctl || GOBIN=$(BENCH_TOOLS) go install github.com/regclient/regclient/cmd/regctl@$(REGCLIENT)
	test -x $(BENCH_TOOLS)/regsync || GOBIN=$(BENCH_TOOLS) go install github.com/regclient/regclient/cmd/regsync@$(REGCLIENT)
	test -x $(BENCH_TOOLS)/oras || GOBIN=$(BENCH_TOOLS) go install oras.land/oras/cmd/oras@$(ORAS)
	(cd e2e/bench/proxy && go build -o $(BENCH_TOOLS)/proxy .)
	cargo build --locked --release
	e2e/bench/run --tools-directory $(BENCH_TOOLS) $(ARGS)

.PHONY: bench-build
bench-build: tools ## measure builds on a real cluster: ours beside the builder's own time, caches, memory
	@e2e/run bench_build:: --nocapture --test-threads=1

.PHONY: bench-inner
bench-inner: ## measure the inner loops: hashing, recompression, manifests
	@cargo bench --locked --profile release --bench inner

.PHONY: scale
scale: packages ## measure the operator with 10,000 mirrors (ARGS="--mirrors 1000 restart")
	@e2e/scale/run $(ARGS)

# Schedules of random faults that fault-storm plays, and the seed that it begins with.
SCHEDULES ?= 100000
SEED ?= 0
# Optimised code plays them several times as fast, and takes minutes to build for the first time. The
# profile `test` is what all other tests have.
STORM_PROFILE ?= e2e

.PHONY: fault-storm
fault-storm: ## copy under 100,000 schedules of random faults (SCHEDULES=1 SEED=7 plays one again)
	@TRANSSHIP_FAULT_SCHEDULES=$(SCHEDULES) TRANSSHIP_FAULT_SEED=$(SEED) cargo test --locked --profile $(STORM_PROFILE) --test integration fault_storm -- --nocapture

.PHONY: cluster
cluster: ## start the local cluster and its registries (NODES=2 for a second node)
	@$(CLUSTER) up --nodes $(NODES)

.PHONY: cluster-test
cluster-test: ## test the local cluster itself, for those who change it
	@e2e/cluster/selftest

.PHONY: kubectl
kubectl: ## run kubectl against the local cluster (ARGS="get imir -A")
	@$(CLUSTER) kubectl $(ARGS)

.PHONY: definitions
definitions: ## write the resource definitions to crds/ and to the chart, and their description to docs/reference/
	@cargo run --quiet -- crds --directory crds
	cp crds/*.yaml charts/transship/files/crds/
	cargo run --quiet -- crds --format markdown --directory docs/reference

.PHONY: deny
deny: ## check licences, sources and duplicates of all dependencies with cargo-deny
	@test -x "$(CACHE)/cargo-deny/bin/cargo-deny" || \
	  cargo install cargo-deny --version 0.20.2 --locked --quiet --root "$(CACHE)/cargo-deny"
	"$(CACHE)/cargo-deny/bin/cargo-deny" --offline check bans licenses sources

.PHONY: packages
packages: ## install the Debian packages that building and testing need
	@$(CLUSTER) packages

.PHONY: down
down: ## stop the local cluster and its registries and remove what they stored
	@$(CLUSTER) down

.PHONY: clean
clean: down ## remove build results and caches as well
	@cargo clean
	rm -rf "$(CACHE)"
