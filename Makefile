# Everything a user runs. Each target makes the environment it needs first.
SHELL := /bin/bash
SEED ?= 7
.DEFAULT_GOAL := help
VENV := .venv/bin
ARCHITECTURE ?= arm64
# What the tools keep, they keep in build/ rather than in the home directory.
export SAM_CLI_TELEMETRY := 0
export __SAM_CLI_APP_DIR := $(CURDIR)/build/sam
export PIP_CACHE_DIR := $(CURDIR)/build/cache/pip
export UV_CACHE_DIR := $(CURDIR)/build/cache/uv
export TMPDIR := $(CURDIR)/build/tmp
export AWS_DEFAULT_REGION ?= us-east-1

.PHONY: help setup demo lab test bench lint build validate image-test requirements clean

help: ## This list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 22

setup: ## Virtual environment from pinned requirements; MariaDB where there is none
	@scripts/setup.sh

demo: setup ## The control plane at work on this machine, in two acts (under 240 s; SEED=7); report in build/demo/
	@$(VENV)/python -m lab.demo --seed $(SEED)

lab: setup ## The demo's world, kept running until Ctrl-C: submit jobs, interrupt instances, sam local invoke
	@$(VENV)/python -m lab.stay

test: lint ## Lint, then every test (under 8 minutes on 2 cores)
	@$(VENV)/python -m pytest -n 2 --dist loadfile

bench: setup ## A tick and a publication at scale beside the straightforward way; figures in build/bench/ (under 10 minutes)
	@PYTHONPATH=layers/fleet_control:. $(VENV)/python -m bench $(if $(LONG),--long)

lint: setup ## ruff, mypy and the import rules
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/mypy functions lab bench layers/fleet_control/fleet_control packer/worker scripts tests
	@PYTHONPATH=layers/fleet_control:. $(VENV)/lint-imports --no-logo

build: setup ## sam build, with any Python 3.13 found on PATH or under pyenv (ARCHITECTURE=x86_64 for Intel)
	@python313=$$(scripts/python313.sh) && PATH="$$PWD/$(VENV):$$python313:$$PATH" \
		sam build --language-extensions --parameter-overrides Architecture=$(ARCHITECTURE)

validate: setup ## Before a deployment: sam validate --lint, cfn-lint on all templates, the parameters in samconfig.toml
	@PATH="$$PWD/$(VENV):$$PATH" sam validate --lint --language-extensions
	@$(VENV)/cfn-lint template.yaml stacks/*.yaml
	@$(VENV)/python -m lab.validate

image-test: ## The machine image's steps in a plain Ubuntu without GPU (root, debootstrap, internet; some minutes)
	@packer/test/run.sh

requirements: setup ## Compile the pins again from requirements/dev.in and layers/dependencies/requirements.in
	@scripts/requirements.sh

clean: ## Remove what was built and run; .venv stays
	rm -rf build .aws-sam .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
