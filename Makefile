# Every target is thin: what it runs can be run by hand. `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock (from $$($(BIN)/python tools/stale.py --digest))" pyproject.toml

FAST_TESTS = $(BIN)/python -m pytest -m "not slow and not bench" --quiet --numprocesses auto
SLOW_TESTS = $(BIN)/python -m pytest -m "slow and not bench" --ignore tests/cluster --quiet --numprocesses auto
# The tests of a file in tests/cluster share a control plane and have an order. Two files run at a time, each in a network of
# its own, for most of their time is outages that are sat out. Real vLLM wants both cores, so it runs by itself.
CLUSTER_TESTS = $(BIN)/python -m pytest -m "slow and not bench" -p no:randomly --numprocesses 2 --dist loadfile \
	--ignore tests/cluster/test_vllm.py tests/cluster
VLLM_TESTS = $(BIN)/python -m pytest -m "slow and not bench" -p no:randomly tests/cluster/test_vllm.py

.PHONY: help demo test e2e e2e-vllm check format lock crd proto testbed dev bench

help:  ## List the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(READY): requirements/dev.txt requirements/run.txt pyproject.toml
	$(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements/dev.txt > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement .venv/uv.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

demo: $(READY)  ## Run the controller against an embedded cluster, on a real hour of traffic
	$(BIN)/forebay demo

test: $(READY)  ## Run every test
	$(FAST_TESTS)
	$(SLOW_TESTS)
	$(CLUSTER_TESTS)
	$(VLLM_TESTS)

e2e: testbed  ## Run the tests on the real control plane only, KEDA's among them
	$(CLUSTER_TESTS)

e2e-vllm: testbed  ## Run real vLLM engines behind a real gateway; installs 6 GB into the cache, once
	$(VLLM_TESTS)

check: $(READY)  ## The quick gate: format, lint, types, contracts, staleness, fast tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/stale.py
	$(FAST_TESTS)

format: $(READY)  ## Format, and mend what ruff can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lock: $(READY)  ## Compile requirements/*.txt from pyproject.toml
	$(COMPILE) --output-file requirements/run.txt
	$(COMPILE) --extra sim --group dev --output-file requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--custom-compile-command "make lock" --override testbed/vllm/overrides.txt \
		--output-file testbed/vllm/requirements.txt testbed/vllm/requirements.in

crd: $(READY)  ## Generate deploy/crd from scaler/api
	$(BIN)/python -m scaler.api.crd deploy/crd/forebay.dev_scalingpolicies.yaml

proto: $(READY)  ## Generate scaler/adapters/keda/*_pb2* from the .proto beside them
	$(BIN)/python tools/proto.py .

testbed: $(READY)  ## Build the real control plane and KEDA that the cluster tests run on, once
	$(BIN)/python -m testbed.build

dev: $(READY)  ## Run the controller on that control plane, under a changing load, to look at
	$(BIN)/python -m testbed.dev

bench: $(READY)  ## Measure what docs/ gives figures for
	$(BIN)/python -m pytest -m bench -q -s
