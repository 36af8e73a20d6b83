# `make` alone says what there is. Everything here is an ordinary command of Go's; nothing needs make.

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# How long, or how often, `make fuzz` runs each target: 30s, 10m, or 100000x.
FUZZTIME ?= 30s

# Options of `make bench`, such as ARGS="-rounds 15"; `go run ./tests/bench -help` lists them.
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help build test race e2e deploy bench bench-go lint fmt fuzz golden

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the binary into ./wandb-gateway
	go build ./cmd/wandb-gateway

test: ## Run the tests that need nothing but Go
	go test ./...

race: ## Run them with the race detector
	go test -race -timeout 30m ./...

e2e: ## Run the tests with real clients and servers; installs what is missing
	go test -tags e2e -timeout 45m -count 1 ./tests ./internal/store/redis

deploy: ## Render the Helm chart and check all Kubernetes manifests
	go -C deploy/verify test -count 1 ./...

bench: ## Measure the gateway beside plain Caddy on this machine, and without ARGS with a million keys too
	go run ./tests/bench $(ARGS)
	$(if $(ARGS),,go run ./tests/bench -large 1000000)

bench-go: ## Run Go's benchmarks, with allocations
	go test -run '^$$' -bench . -benchmem ./...

lint: ## Check format, vet, staticcheck and the module files
	@unformatted=$$(gofmt -l .) && if [ -n "$$unformatted" ]; then echo "not formatted (make fmt):"; echo "$$unformatted"; exit 1; fi
	go vet -tags e2e ./...
	go run $(STATICCHECK) -tags e2e ./...
	go mod tidy -diff

fmt: ## Format the code
	gofmt -w .

# Targets are run one after the other: each uses all cores by itself.
fuzz: ## Run every fuzz target for FUZZTIME
	@list=$$(go test -list '^Fuzz' ./...) || { echo "$$list"; exit 1; }; echo "$$list" | \
	awk '/^Fuzz/ { targets[n++] = $$1 } /^(ok|\?)/ { for (i = 0; i < n; i++) print $$2, targets[i]; n = 0 }' | \
	while read -r package target; do \
		echo "$$target in $$package"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" || exit 1; \
	done

golden: ## Write what the tests see into their golden files; read the difference before you commit it
	@for package in $$(grep -rlE --include '*_test.go' 'flag\.Bool\("update"' . | xargs -n 1 dirname | sort -u); do go test "$$package" -update || exit 1; done
