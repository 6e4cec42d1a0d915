# Copyright The refit Authors.
# SPDX-License-Identifier: Apache-2.0

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

# The embedded control plane is of the version that its module requires.
KUBERNETES := $(shell sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\)$$/\1/p' cmd/refit-twin/go.mod)
KUBERNETES_MINOR := $(word 2,$(subst ., ,$(KUBERNETES)))
VERSION_PACKAGE := k8s.io/component-base/version
TWIN_LDFLAGS := -s -w -X $(VERSION_PACKAGE).gitVersion=$(KUBERNETES) \
	-X $(VERSION_PACKAGE).gitMajor=1 -X $(VERSION_PACKAGE).gitMinor=$(KUBERNETES_MINOR)
TWIN_SOURCES := $(shell find cmd/refit-twin -type f -not -name '*_test.go')

# Whatever compiles the control plane's module says -trimpath: with other flags
# the build cache holds all of Kubernetes a second time.
TWIN_GOFLAGS := $(shell go env GOFLAGS) -trimpath
TWIN_ENV := cd cmd/refit-twin; GOFLAGS="$(TWIN_GOFLAGS)"

# Packages whose tests take no time and need no control plane, but for the ones
# named here, which hold an answer against the real thing.
IMPURE := TestTheSchedulerAgrees
PURE := $(wildcard ./skew ./budget ./check ./placement ./plan ./outage ./upgrade ./event ./report ./internal/hint ./internal/synthetic)

# How long the tests of one package may hang before they are ended.
TEST_TIMEOUT := 30m

TOOLS := bin/tools/golangci-lint

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: build
build: bin/refit bin/kubectl-refit bin/refit-twin ## build bin/refit, bin/kubectl-refit (the same) and bin/refit-twin

.PHONY: bin/refit
bin/refit:
	@go build -o $@ ./cmd/refit

.PHONY: bin/refit-lab
bin/refit-lab:
	@go build -o $@ ./cmd/refit-lab

bin/kubectl-refit: | bin/refit
	@ln -sf refit $@

# A program that runs cannot be written to, so the new one takes its place.
bin/refit-twin: $(TWIN_SOURCES)
	@mkdir -p bin
	@echo "building $@, a real control plane (kube-apiserver, controller-manager, scheduler $(KUBERNETES), etcd, kwok)" \
		"from source: about 10 minutes the first time on 2 cores"
	@begin=$$SECONDS; \
		($(TWIN_ENV) go build -ldflags '$(TWIN_LDFLAGS)' -o ../../bin/.refit-twin.new .); \
		mv bin/.refit-twin.new $@; \
		touch $@; \
		took=$$((SECONDS - begin)); \
		echo "built $@ in $$((took / 60))m$$((took % 60))s"

.PHONY: demo
demo: build ## take a simulated 12-node cluster through maintenance and see that no budget breaks
	@bin/refit demo

# The stores that the tests of backup sets run; they build them themselves if they are not there.
bin/versitygw: vault/vaulttest/gateway/go.mod
	@go -C vault/vaulttest/gateway build -o ../../../$@ github.com/versity/versitygw/cmd/versitygw
	@touch $@

bin/fake-gcs-server: vault/vaulttest/gcs/go.mod
	@go -C vault/vaulttest/gcs build -o ../../../$@ github.com/fsouza/fake-gcs-server
	@touch $@

.PHONY: test
test: build tools bin/versitygw bin/fake-gcs-server ## run every test of both modules with -race; the last line says how many there were
	@bin/tools/gotestsum --format pkgname-and-test-fails --raw-command -- tools/test -race -timeout $(TEST_TIMEOUT)

.PHONY: check
check: tools bin/refit ## build, vet, lint (both modules) and the pure tests: under a minute when warm
	@go vet -tags e2e ./...
	@$(TWIN_ENV) go vet ./...
	@$(MAKE) --no-print-directory lint
	@go test -skip '$(IMPURE)' $(PURE)

# The clusters are the same in every run unless SEED is 0: four shards of 25,100, of
# which a few are drawn twice.
SEED := 1

.PHONY: properties
properties: ## plan for 100,000 random clusters (SEED=0 for others each time) and replay the plans; compare small ones with the optimum
	@go test ./plan -run 'TestAny|TestPlansAreNear' -rapid.checks=25100 -rapid.seed=$(SEED) -instances 700 -timeout $(TEST_TIMEOUT)

.PHONY: lint
lint: tools ## run the linters over both modules
	@bin/tools/golangci-lint run ./...
	@$(TWIN_ENV) ../../bin/tools/golangci-lint run ./...

.PHONY: vulns
vulns: tools ## look for known vulnerabilities in both modules
	@tools/vulns

# What a lab is asked to be.
LAB := default
CONTROL_PLANES := 1
WORKERS := 2
LAB_VERSION := 1.36.3
FLAVOUR := kubeadm

.PHONY: lab-up
lab-up: ## make a real cluster of machines in containers (LAB= CONTROL_PLANES= WORKERS= LAB_VERSION= FLAVOUR=kubeadm|scratch); wants root and Docker
	@go run ./cmd/refit-lab up --name $(LAB) --control-planes $(CONTROL_PLANES) --workers $(WORKERS) --version $(LAB_VERSION) --flavour $(FLAVOUR)

.PHONY: lab-down
lab-down: ## remove the lab LAB; ALL=1 removes every lab and what carries them
	@go run ./cmd/refit-lab down --name $(LAB) $(if $(ALL),--all)

.PHONY: lab-status
lab-status: ## tell what there is of every lab
	@go run ./cmd/refit-lab status

.PHONY: e2e
e2e: bin/refit bin/refit-lab bin/versitygw ## upgrade real kubeadm clusters, as users do and through faults; wants root and Docker
	@go test -tags e2e ./lab/e2e -skip 'TestSeveralControlPlanes|TestScratch' -v -count=1 -timeout 3h

.PHONY: e2e-upgrade
e2e-upgrade: bin/refit ## of e2e, the one upgrade that nothing disturbs
	@go test -tags e2e ./lab/e2e -run '^TestUpgrade$$' -v -count=1 -timeout 1h

.PHONY: e2e-ha
e2e-ha: bin/refit bin/versitygw ## upgrade three control planes behind a load balancer, and see that nobody notices
	@go test -tags e2e ./lab/e2e -run TestSeveralControlPlanes -v -count=1 -timeout 3h

.PHONY: e2e-scratch
e2e-scratch: bin/refit ## upgrade and restore a cluster of binaries and systemd units; wants root and Docker
	@go test -tags e2e ./lab/e2e -run TestScratch -v -count=1 -timeout 2h

.PHONY: tidy
tidy: ## complain about a go.mod or go.sum that is not tidy
	@for module in . cmd/refit-twin tools vault/vaulttest/gateway vault/vaulttest/gcs lab/build/*; do \
		go -C $$module mod tidy -diff || { echo "$$module/go.mod is not tidy: run go -C $$module mod tidy" >&2; exit 1; }; \
	done

.PHONY: bench
bench: build ## measure refit against kubectl and write docs/benchmarks.md (about an hour)
	@go run ./bench

# The trial that failed last time is tried again with SEEDS=1 FIRST=its seed.
SEEDS := 200
FIRST := 1

.PHONY: soak
soak: build ## take 200 clusters that chance has made through maintenance, with a witness (half an hour)
	@REFIT_SOAK_SEEDS=$(SEEDS) REFIT_SOAK_FIRST=$(FIRST) go test ./soak -v -count=1 -timeout 4h

.PHONY: docs
docs: ## generate docs/reference from the program
	@go run ./internal/docgen

.PHONY: tools
tools: $(TOOLS) ## build the pinned linters and test runner into bin/tools

$(TOOLS): tools/go.mod tools/go.sum
	@echo "building the tools that tools/go.mod pins into bin/tools: a minute or a few the first time"
	@go -C tools build -o ../bin/tools/ tool
	@touch $@

.PHONY: clean
clean: ## remove what was built (the build cache stays)
	rm -rf bin
