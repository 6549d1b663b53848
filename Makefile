# Two commands do everything: `make demo` and `make test`. Needs Python 3.11+, make and git only.
PYTHON ?= python3
VENV ?= .venv
UV := $(VENV)/bin/uv
RUN := $(VENV)/bin/
STAMP := $(VENV)/.synced
# The library of PC/SC readers has no wheel: it is built where its header and this Python's are.
PCSC := $(shell $(PYTHON) tests/system_parts.py --builds-pcsc)
ifdef PCSC
STAMP := $(STAMP)-pcsc
endif

.PHONY: demo test pytest proof bench check format contract deb clean

$(UV):
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.10,<1"

$(STAMP): pyproject.toml uv.lock | $(UV)
	UV_PROJECT_ENVIRONMENT=$(VENV) $(UV) sync --quiet --frozen --inexact --extra dev $(PCSC:%=--extra %)
	@touch $@

demo: $(STAMP)
	$(RUN)edge-agent demo $(ARGS)

# The system parts first: what can be built depends on them, and so they are looked at by a make of their own.
test:
	$(PYTHON) tests/system_parts.py
	$(MAKE) --no-print-directory pytest

pytest: $(STAMP)
	$(RUN)python -m pytest $(MARKED) $(ARGS)

# The fault tests at full length: hundreds of kills and power cuts, minutes of soak.
proof:
	$(PYTHON) tests/system_parts.py --proof
	$(MAKE) --no-print-directory pytest MARKED="-m proof"

bench: $(STAMP)
	$(RUN)python -m benchmarks $(ARGS)

check: $(STAMP)
	$(RUN)ruff format --check .
	$(RUN)ruff check .
	$(RUN)mypy

format: $(STAMP)
	$(RUN)ruff format .
	$(RUN)ruff check --fix .

# Regenerate config/contract, the configuration schema, the generated parts of the documentation, what shells and man read.
contract: $(STAMP)
	$(RUN)python -m edge_agent.contract
	$(RUN)python -m edge_agent.config.reference
	PYTHONPATH=systemd/help $(RUN)python -m shell_help

# The Debian package and its bill of materials, into dist/: `make deb RELEASE=12|13 ARCH=amd64|arm64 VERSION=...`.
deb: $(STAMP)
	PYTHONPATH=systemd/deb $(RUN)python -m deb_recipe $(RELEASE:%=--release %) $(ARCH:%=--arch %) $(VERSION:%=--version %) \
		$(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
