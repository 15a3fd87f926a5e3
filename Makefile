# The uv on PATH, or one of our own in a folder that git ignores.
UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
RUN := $(UV) run --locked
# Many tests wait for something, so there is one more at a time than there are cores. A file's tests stay together: what
# they share is started once.
WORKERS := $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)

.PHONY: up test slow test-compose check format bench bench-worker bench-writes bench-readers soak soak-failures storm tools-table fuzz tokens screenshots

up: $(UV)  ## Start everything here and now
	$(RUN) --no-dev isthmus up $(ARGS)

test: $(UV)  ## All tests
	$(RUN) pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not compose and not alone and not slow" $(ARGS)
	$(RUN) pytest -m "alone and not slow" $(ARGS) || [ $$? -eq 5 ]  # 5: ARGS chose none of these

slow: $(UV)  ## A million files, an index of 100,000, and what readers need of memory
	$(RUN) pytest -m slow -rP $(ARGS)

test-compose: $(UV)  ## compose.yaml on a Docker engine: builds, starts, scales, kills
	$(RUN) pytest -m compose tests/e2e/compose $(ARGS)

check: $(UV)  ## Format, lint, types, who may import whom
	$(RUN) ruff format --check
	$(RUN) ruff check
	$(RUN) bandit -q -ll -r services shared
	$(RUN) basedpyright
	$(RUN) lint-imports

format: $(UV)
	$(RUN) ruff check --fix
	$(RUN) ruff format

bench: $(UV)  ## Calls per second and latency through the whole path
	$(RUN) python tests/benchmarks/read.py $(ARGS)

bench-worker: $(UV)  ## What a read costs inside the db worker, against SQLAlchemy alone
	$(RUN) python tests/benchmarks/worker.py

bench-writes: $(UV)  ## What 1,000 new records cost inside the db worker, against SQLAlchemy alone, on three engines
	$(RUN) python tests/benchmarks/writing.py

bench-readers: $(UV)  ## Memory of the file worker idle and after each reader, of the process that reads, and its time
	PYTHONPATH=tests $(RUN) python tests/benchmarks/reading.py

tokens: $(UV)  ## What answers cost a model, against DBHub and MCP Toolbox; writes the table of docs/databases.md anew
	$(RUN) python tests/benchmarks/tokens.py $(ARGS)

fuzz: $(UV)  ## 100,000 filters and queries, and values of every type on every engine, with many examples (EXAMPLES=2000)
	ISTHMUS_FUZZ=100000 ISTHMUS_EXAMPLES=$(or $(EXAMPLES),2000) $(RUN) pytest -n auto --timeout 3600 \
	  tests/unit/test_db_filters.py tests/unit/test_db_rows.py tests/integration/test_db_round_trips.py \
	  tests/integration/test_db_sql.py tests/integration/test_file_hostile.py \
	  -k "any_text or any_row or test_db_rows or round_trips or broken_anyhow" $(ARGS)

screenshots: $(UV)  ## Pictures of the console for docs/console.md, made by its tests
	ISTHMUS_SCREENSHOTS=$(CURDIR)/docs/console $(RUN) pytest tests/e2e/test_console.py $(ARGS)

tools-table: $(UV)  ## Writes the table of docs/tools.md anew
	$(RUN) python tests/tool_table.py

soak: $(UV)  ## Ten minutes of everything in both eras: nothing may grow or be left over (ARGS="--seconds 60")
	PYTHONPATH=tests $(RUN) python -m soak $(ARGS)

storm: $(UV)  ## 50 writers, two workers, 500 batches and workers that are killed, on each engine
	ISTHMUS_STORM=500 $(RUN) pytest -rP tests/integration/test_db_storm.py $(ARGS)

soak-failures: $(UV)  ## Kills, stops and restarts under load, and prints the figures of docs/operations.md
	$(RUN) pytest -rP $(ARGS) tests/integration/test_failures_*.py tests/e2e/test_launcher_killed.py

.tools/bin/uv:
	python3 -m pip install --quiet --upgrade --target .tools 'uv>=0.13,<0.14' \
	  || { python3 -m venv .tools && .tools/bin/python -m pip install --quiet 'uv>=0.13,<0.14'; }
