# Four verbs. `run` and `test` need nothing but Python 3.11 and a package registry: they make .venv themselves.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: run test check bench clean
run: $(VENV)/.installed
	$(BIN)/spikefold run

# one thread each: two test processes on two cores
test: export OMP_NUM_THREADS = 1
test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist loadgroup --max-worker-restart=0

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p .dev && ln -sfn .. .dev/spikefold
	MYPYPATH=.dev:. $(BIN)/mypy -m spikefold.pipeline -p spikefold.api -p spikefold.commands -p spikefold.stages \
		-p spikefold.train -p spikefold.export -p spikefold.hardware -p spikefold.energy -p spikefold.provenance -p tests -p benchmarks

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build *.egg-info .dev

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

# NeuroBench is timed beside us; it asks for tonic (GPL) and others that its counters do not use
$(VENV)/.installed-bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps neurobench==2.3.0
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
