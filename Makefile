# Two commands do everything: `make demo` and `make test`. Needs Python 3.11+, make and git only.
PYTHON ?= python3
VENV ?= .venv
UV := $(VENV)/bin/uv
RUN := $(VENV)/bin/
STAMP := $(VENV)/.synced

.PHONY: demo test proof bench check format contract clean

$(UV):
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.5,<1"

$(STAMP): pyproject.toml uv.lock | $(UV)
	UV_PROJECT_ENVIRONMENT=$(VENV) $(UV) sync --quiet --frozen --inexact --extra dev
	@touch $@

demo: $(STAMP)
	$(RUN)edge-agent demo $(ARGS)

test: $(STAMP)
	$(RUN)python tests/system_parts.py
	$(RUN)python -m pytest $(ARGS)

# The fault tests at full length: hundreds of kills and power cuts, minutes of soak.
proof: $(STAMP)
	$(RUN)python tests/system_parts.py
	$(RUN)python -m pytest -m proof $(ARGS)

bench: $(STAMP)
	$(RUN)python -m benchmarks $(ARGS)

check: $(STAMP)
	$(RUN)ruff format --check .
	$(RUN)ruff check .
	$(RUN)mypy

format: $(STAMP)
	$(RUN)ruff format .
	$(RUN)ruff check --fix .

# Regenerate config/contract, the configuration schema and the generated parts of the documentation.
contract: $(STAMP)
	$(RUN)python -m edge_agent.contract
	$(RUN)python -m edge_agent.config.reference

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
