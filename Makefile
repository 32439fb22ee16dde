# What a checkout can do. `make demo` and `make test` work on a fresh machine with Python 3.11 or newer;
# they start a Docker engine where none answers (Debian, root).

PYTHON ?= python3
ONLY ?=
VENV := .venv/bin
export PATH := $(CURDIR)/$(VENV):$(PATH)
export PYTHONPATH := $(CURDIR)
export LC_ALL := C.UTF-8
# Hundreds of short programs start here: what they compile is kept, also where somebody's environment says otherwise.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup lock docs lint unit check test test-all faults sanity image up down demo build

help: ## Show what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: .venv/.complete ## Install the tools into .venv, as pinned

.venv/.complete: requirements/dev.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 setup")'
	$(PYTHON) -m venv .venv
	# Most of what comes with Ansible is never imported here, and what is gets compiled then.
	$(VENV)/pip install --quiet --no-compile --require-hashes --requirement requirements/dev.txt
	touch $@

lock: setup ## Pin the newest versions of all Python dependencies
	for name in requirements/dev sandbox/app/requirements sandbox/aws/requirements $$(find roles/*/files -name '*.in'); do \
	  name=$${name%.in}; \
	  uv pip compile --universal --generate-hashes --upgrade --quiet --python-version 3.11 \
	    --custom-compile-command "make lock" --output-file $$name.txt $$name.in; \
	done

docs: setup ## Write the generated parts of the documentation
	python -m tools.variables_table

lint: setup ## Run every linter
	yamllint --strict .
	ruff check .
	ruff format --check .
	mypy plugins sandbox tools
	ansible-lint --offline

unit: setup ## Run the tests that need no container
	# Apart, because whatever has loaded Ansible's controller is a controller for good, and modules run on hosts.
	pytest --numprocesses 2 tests/unit/plugins/modules tests/unit/plugins/module_utils tests/unit/sandbox
	pytest --numprocesses 2 tests/unit/plugins/filter tests/unit/plugins/lookup tests/unit/plugins/plugin_utils tests/unit/plugins/test tests/templates tests/contract

check: lint unit ## The quick half of the tests: linters and everything without containers

image: setup ## Build the image of the local machines, where it is missing or out of date
	sandbox/engine
	sandbox/image/build

test: ## Run all tests; ONLY=nginx runs one scenario
	# Side by side: building the image is mostly waiting for packages.
	$(MAKE) --jobs=2 --output-sync=target $(if $(ONLY),,check) image
	python -m tools.scenarios $(ONLY)

test-all: check image ## Run the roles' scenarios on Debian 12 and 13, and all fleets but those of `make faults`
	python -m tools.scenarios $(or $(ONLY),--all)
	WEBAPPS_DISTRIBUTION=trixie sandbox/image/build
	WEBAPPS_DISTRIBUTION=trixie python -m tools.scenarios $(or $(ONLY),--roles single)

faults: image ## Break fleets in every phase of a deploy, under load, and see the next deploy repair them
	python -m tools.scenarios faults single

sanity: setup ## Run ansible-test sanity
	python -m tools.sanity

up: image ## Boot the local fleet
	ansible-playbook sandbox/up.yml

down: setup ## Remove the local fleets and all they left
	ansible-playbook sandbox/down.yml
	ansible-playbook sandbox/down.yml --extra-vars sandbox_fleet=single

demo: image ## Roll a release over a local fleet under load, and count
	python -m sandbox.demo

build: setup ## Build the collection's archive
	ansible-galaxy collection build --force --output-path out
