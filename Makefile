# The one entrance for people and CI. `make` lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --warn-undefined-variables

NODES ?= 1
ARGS ?=
CLUSTER := e2e/cluster/cluster

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ready ## show the main job: a real cluster mirrors a real image
	@e2e/demo

.PHONY: test
test: ## run every test: check, then e2e; takes down what it started
	@$(MAKE) --no-print-directory check
	$(MAKE) --no-print-directory e2e

.PHONY: check
check: packages tools ## run all tests that need no cluster
	@cargo fmt --check
	cargo clippy --all-targets --features e2e -- -D warnings
	cargo test
	e2e/scripts-check
	$(CLUSTER) with-tools tests/chart/check

.PHONY: e2e
e2e: ## run the end-to-end tests on a real cluster
	@e2e/run

.PHONY: cluster
cluster: packages ## start the local cluster and its registries (NODES=2 for a second node)
	@$(CLUSTER) up --nodes $(NODES)

.PHONY: kubectl
kubectl: ## run kubectl against the local cluster (ARGS="get imir -A")
	@$(CLUSTER) kubectl $(ARGS)

.PHONY: definitions
definitions: ## write the resource definitions to crds/ and to the chart
	@cargo run --quiet -- crds --directory crds
	cp crds/*.yaml charts/transship/files/crds/

.PHONY: packages
packages: ## install the Debian packages that building and testing need
	@$(CLUSTER) packages

.PHONY: tools
tools: packages ## build the Kubernetes components and tools, once per machine
	@$(CLUSTER) build

.PHONY: down
down: ## stop the local cluster and its registries and remove what they stored
	@$(CLUSTER) down

.PHONY: clean
clean: down ## remove build results and caches as well
	@cargo clean
	$(CLUSTER) clean
