# Everything that is done with this source tree. make help lists the targets.

GO       ?= go
BIN      := bin/legate
PACKAGE  := ./cmd/legate
# The version of the program is the tag of its source, wherever it is shown.
VERSION  := $(patsubst v%,%,$(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null || echo v0.0.0-dev))
LINK     := -X github.com/legate-project/legate/internal/version.linked=$(VERSION)
TIMEOUT  ?= 10m
AGENTS   ?= 2000
KEYS     ?= 10000000
FUZZTIME ?= 30s
TIME     ?= 10m
BENCH    ?= .
SYSTEMS  := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64

.DEFAULT_GOAL := help
.PHONY: help build run test race linear soak observe client-tests lint deadcode fuzz bench bench-scale bench-large bench-federation microbench gossip-sim generate vendor-web browser pictures cross release site man packages image clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/legate
	$(GO) build -trimpath -ldflags '$(LINK)' -o $(BIN) $(PACKAGE)

run: build ## start a federation of several datacenters on this machine; LAB=-acl locks it down
	./$(BIN) lab $(LAB)

test: ## vet and run all tests; what fails while all run beside each other is run once more, alone
	$(GO) vet ./...
	$(GO) run gotest.tools/gotestsum@v1.13.0 --format standard-quiet \
		--rerun-fails=1 --rerun-fails-max-failures=4 --rerun-fails-run-root-test --rerun-fails-abort-on-data-race \
		--packages ./... -- -count=1 -vet=off -timeout $(TIMEOUT)

race: ## run all tests with the race detector
	$(GO) test -race -count=1 -timeout $(TIMEOUT) ./...

linear: ## break real servers for TIME (10m) and judge what clients saw; takes root
	LEGATE_LINEAR=$(TIME) $(GO) test -count=1 -v -timeout 0 ./internal/linear

soak: ## load real agents for TIME (10m; 3h says more) and look at what grows
	LEGATE_SOAK=$(TIME) $(GO) test -count=1 -v -timeout 0 -run TestASoakLeavesNothingBehind ./internal/e2e

observe: ## let Prometheus watch real servers through all faults, and draw the dashboards into docs/dashboards; takes root
	LEGATE_OBSERVE=all LEGATE_OBSERVE_PICTURES=$(CURDIR)/docs/dashboards $(GO) test -count=1 -v -timeout 1h ./internal/observe

client-tests: ## run all tests of the official client against this program (4 minutes)
	LEGATE_CLIENT_TESTS=all $(GO) test -count=1 -timeout 30m -run TestTheOfficialClientsOwnTests ./internal/e2e

lint: ## check format, vet, the rules of internal/lint and those of .golangci.yml
	@unformatted="$$(gofmt -l $$(git ls-files '*.go'))"; \
	if [ -n "$$unformatted" ]; then echo "run gofmt on:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) test -count=1 ./internal/lint
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run

deadcode: ## list the functions that no program of this tree reaches
	@programs="$$($(GO) list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./...)"; \
	found="$$($(GO) run golang.org/x/tools/cmd/deadcode@v0.52.0 $$programs)" || exit 1; \
	if [ -n "$$found" ]; then echo "$$found"; exit 1; fi

fuzz: ## run each fuzz target for FUZZTIME (30s)
	@set -e; for dir in $$(git grep -l '^func Fuzz' -- '*_test.go' | xargs -r -n1 dirname | sort -u); do \
		for target in $$($(GO) test -list '^Fuzz' ./$$dir | grep '^Fuzz'); do \
			echo "./$$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./$$dir; \
		done; \
	done

bench: build ## measure real processes against bare servers beside them, into docs/benchmarks.md
	$(GO) build -trimpath -o bin/bench ./cmd/bench
	./bin/bench -legate $(BIN) -write docs/benchmarks.md

bench-scale: build ## play AGENTS (2000) client agents against three servers, and print what they cost
	$(GO) build -trimpath -o bin/bench ./cmd/bench
	./bin/bench -legate $(BIN) -only scale -agents $(AGENTS)

bench-large: build ## fill one server with KEYS (10000000) keys of 1 kB, 15 GB of disk, and print what that costs
	$(GO) build -trimpath -o bin/bench ./cmd/bench
	./bin/bench -legate $(BIN) -only large -keys $(KEYS)

bench-federation: build ## run the servers of 50 datacenters, and print what one of them costs
	$(GO) build -trimpath -o bin/bench ./cmd/bench
	./bin/bench -legate $(BIN) -only federation

microbench: ## run the benchmarks of packages that match BENCH (all)
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -timeout $(TIMEOUT) ./...

gossip-sim: ## simulate federations of up to 200 datacenters for hours of virtual time, into docs/gossip.md
	GOGC=400 LEGATE_GOSSIP_SIM=$(CURDIR)/docs/gossip.md $(GO) test -count=1 -v -timeout 0 -run TestReport ./internal/gossipsim

generate: ## write generated code and reference pages anew
	$(GO) generate ./...

vendor-web: ## fetch the libraries of the web interface anew with npm, checked against their hashes
	cd web/thirdparty && npm ci && node copy.mjs

browser: ## judge each page of the web interface in both colours at both widths, on a machine that does nothing else
	LEGATE_BROWSER=all $(GO) test -count=1 -timeout 20m ./internal/browser

pictures: ## draw the pages of the web interface into docs/pictures, of a federation of five datacenters
	LEGATE_PICTURES=$(CURDIR)/docs/pictures $(GO) test -count=1 -v -timeout 10m -run TestPictures ./internal/browser

cross: ## build for every system into dist/
	@set -e; for system in $(SYSTEMS); do \
		echo "dist/legate-$${system%/*}-$${system#*/}"; \
		CGO_ENABLED=0 GOOS=$${system%/*} GOARCH=$${system#*/} \
			$(GO) build -trimpath -ldflags '$(LINK)' -o dist/legate-$${system%/*}-$${system#*/} $(PACKAGE); \
	done

release: ## make and check the archives of a release, with checksums and a bill of materials, in dist/release
	.ci/release '$(VERSION)' '$(LINK)' $(SYSTEMS)

site: ## write the documentation as a site that is read from disk, into dist/site
	$(GO) run ./cmd/site -to dist/site

man: build ## write the manual pages into dist/man
	./$(BIN) man dist/man

packages: ## make packages for Debian and Red Hat in dist/packages, and install them on a machine that is thrown away; takes root
	.ci/packages '$(VERSION)' '$(LINK)' $(SYSTEMS)

image: ## build the container image legate, with docker, podman or buildah
	@rm -rf dist/image && mkdir -p dist/image/data dist/image/tmp && chmod 750 dist/image/data && chmod 1777 dist/image/tmp
	CGO_ENABLED=0 GOOS=linux $(GO) build -trimpath -ldflags '-s -w $(LINK)' -o dist/image/legate $(PACKAGE)
	@for tool in docker 'podman --format=docker' 'buildah --format=docker'; do \
		set -- $$tool; \
		if command -v $$1 >/dev/null; then exec $$1 build $$2 --tag legate --file deployments/container/Containerfile dist/image; fi; \
	done; echo "make image takes docker, podman or buildah"; exit 1

clean: ## remove what was built
	rm -rf bin dist
