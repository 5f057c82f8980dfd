# Two commands are enough: `make demo` and `make test`. All install what they need, with progress.

VENV := .venv
BIN := $(VENV)/bin
LOCK := hack/requirements-dev.lock
# Named by the content of the lock file: an unchanged one costs nothing, a changed one is installed.
INSTALLED := $(VENV)/.installed-$(shell cksum < $(LOCK) | tr ' ' '-')

export PYTHONPATH := $(CURDIR)/operator:$(CURDIR)/tests:$(CURDIR)/hack
export KEEP
# Compiled modules are kept: compiling them again is two thirds of the time that a start takes.
unexport PYTHONDONTWRITEBYTECODE
# A worker of pytest-xdist that has nothing left takes tests from another one.
PARALLEL := --dist worksteal --numprocesses

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test cluster-test gitops-test kubernetes-test chaos unit check dependencies coverage mutants image-test bench docs language picture lock format tools chart-tools metrics-tools venv clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: welcome $(INSTALLED) tools ## See image shares being accepted (KEEP=1 leaves it running)
	@$(BIN)/python hack/demo.py

.PHONY: welcome
welcome:
	@echo "Starts etcd, kube-apiserver, a simulated cloud and the operator on this machine, and shows"
	@echo "resources going from nothing to Ready in about a minute. The first time it also downloads"
	@echo "Kubernetes, or builds it from source (about 8 minutes) where nothing can be downloaded."
	@echo "Ctrl-C ends it and cleans up."

test: $(INSTALLED) tools chart-tools metrics-tools ## Run all tests: unit, contract, end-to-end on a real API server
	@$(BIN)/python -m pytest $(PARALLEL) 6

cluster-test: $(INSTALLED) tools chart-tools ## Test the chart and IMAGE=REPOSITORY:TAG in the cluster of KUBECONFIG (KEEP=1 leaves them there)
	@$(BIN)/python -m pytest -p no:randomly --timeout 900 tests/real_cluster

gitops-test: $(INSTALLED) tools chart-tools ## Test the documented set-up for TOOL=argocd or flux in a cluster that runs it
	@$(BIN)/python -m gitops $(TOOL) --image "$(IMAGE)" --address "$(ADDRESS)" --server "$(SERVER)"

kubernetes-test: $(INSTALLED) tools ## Run the end-to-end tests on another version: KUBERNETES=v1.28.15
	@assets=$$($(BIN)/python hack/tools/kubernetes.py $(KUBERNETES)) \
	  && KUBEBUILDER_ASSETS=$$assets $(BIN)/python -m pytest $(PARALLEL) 6 tests/e2e

chaos: $(INSTALLED) tools ## Break everything at random for MINUTES=10, with SEED=n to see it again
	@$(BIN)/python -m chaos --minutes $(or $(MINUTES),10) $(addprefix --seed ,$(SEED))

unit: $(INSTALLED) ## Run the unit tests; T=planning or T=part_of_a_test_name: only these
	@$(BIN)/python -m pytest $(if $(T),$(or $(wildcard $(NAMED)),$(SELECTED)),$(PARALLEL) auto tests/unit)
# T is a directory or a module of tests/unit, a node id of pytest, or a part of a test's name.
NAMED = $(addprefix tests/unit/,$(T) $(T).py */$(T).py test_$(T).py */test_$(T).py */*/test_$(T).py)
SELECTED = $(if $(findstring ::,$(T)),"$(T)",tests/unit -k "$(T)")

check: $(INSTALLED) ## Check format, lint, types, import contracts, generated files; quick tests
	@$(BIN)/python hack/check.py

# How much the property tests try, see tests/conftest.py.
unit check: export HYPOTHESIS_PROFILE := $(or $(HYPOTHESIS_PROFILE),quick)

.PHONY: dependencies coverage mutants
dependencies: $(INSTALLED) ## Find imports that are not declared, and declarations that are not imported
	@$(BIN)/deptry operator
	@$(BIN)/deptry operator tests hack tests/unit tests/perf --non-dev-dependency-groups dev

# Prints the table also when a test failed. The tests of `make test` run as they do there.
coverage: $(INSTALLED) ## Measure the branch coverage per package: unit, contract and CLI tests, or all (FULL=1)
	@rm -rf .tmp/coverage && mkdir -p .tmp/coverage
	@PYTEST_ADDOPTS="--cov --cov-append --cov-report= --cov-fail-under=0" $(if $(FULL),$(MAKE) --no-print-directory test, \
	$(BIN)/python -m pytest --numprocesses auto tests/unit tests/contract tests/cli --ignore tests/cli/test_yaml_codec.py); \
	tests=$$?; $(BIN)/python hack/package_coverage.py && exit $$tests

mutants: $(INSTALLED) ## Mutation tests of P=planning for up to MINUTES=30, by its unit tests or by TESTS=tests/unit
	@$(BIN)/python hack/mutants.py $(P) $(addprefix --minutes ,$(MINUTES)) $(if $(TESTS),--tests $(TESTS))

image-test: $(INSTALLED) tools ## Build the container image without a registry, and run it (root, Debian)
	@$(BIN)/python -m pytest -s tests/image

bench: $(INSTALLED) tools ## Measure throughput, writes and calls per resource
	@$(BIN)/python tests/perf/bench.py

docs: $(INSTALLED) ## Build the documentation as a site, into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --config-file hack/site/mkdocs.yml
	@echo "site/index.html"

language: $(INSTALLED) ## Check the words of the texts that people read
	@$(BIN)/python hack/language.py

picture: $(INSTALLED) tools metrics-tools ## Draw the dashboard in the docs from a real run, about 6 minutes
	@$(BIN)/python -m picture

format: $(INSTALLED) ## Format the code and fix what can be fixed
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

lock: $(INSTALLED) ## Write the lock files anew from pyproject.toml
	@$(COMPILE) --extra image --extra otel -o requirements.lock pyproject.toml
	@$(COMPILE) --group dev -o $(LOCK) pyproject.toml
	@echo 'hatchling >=1.27' | $(COMPILE) -o hack/image/requirements-build.lock -
	@cd tests/openstack_cloud && ../../$(COMPILE) -o requirements.lock requirements.txt
COMPILE = $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
  --no-header --no-annotate

chart-tools: $(INSTALLED) ## Install helm and kubeconform, once
	@$(BIN)/python hack/tools/install.py helm kubeconform > /dev/null

metrics-tools: $(INSTALLED) ## Install Prometheus and promtool, once
	@$(BIN)/python hack/tools/install.py promtool prometheus > /dev/null

tools: $(INSTALLED) ## Install kube-apiserver, etcd and kubectl, once
	@$(BIN)/python hack/tools/install.py > /dev/null

venv: $(INSTALLED) ## Install Python packages into .venv
	@:

$(INSTALLED):
	@hack/tools/venv.sh $(VENV) $(LOCK)
	@touch $@

clean: ## Remove .venv and all caches in this directory (installed programs stay in ~/.cache)
	@rm -rf $(VENV) .tmp .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist site
	@find operator tests hack -type d -name __pycache__ -prune -exec rm -rf {} +
