# Verbs. `run` and `test` need nothing but Python 3.11 and a package registry: they make .venv themselves.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
# pip compiles all modules on one core, which takes longer than all the rest; Python itself compiles those that are
# used, once, unless PYTHONDONTWRITEBYTECODE has every process do it anew
export PYTHONDONTWRITEBYTECODE :=
QUIETLY := --quiet --disable-pip-version-check --no-compile

.PHONY: run test check bench nightly oldest newest versions clean
run: $(VENV)/.installed
	$(BIN)/spikefold run

# one thread each, and three on two cores: a third of the time tests wait for a process that they started
test: export OMP_NUM_THREADS = 1
test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 3 --dist loadgroup --max-worker-restart=0

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p .dev && ln -sfn .. .dev/spikefold
	MYPYPATH=.dev:. $(BIN)/mypy -m spikefold.pipeline -p spikefold.api -p spikefold.commands -p spikefold.stages \
		-p spikefold.train -p spikefold.export -p spikefold.hardware -p spikefold.energy -p spikefold.provenance -p tests -p benchmarks

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks

# random networks, damaged files and planted faults for a night, or MINUTES of it; goes on where it was
MINUTES ?= 480
nightly: export OMP_NUM_THREADS = 1
nightly: $(VENV)/.installed
	$(BIN)/python -m tests.nightly --minutes $(MINUTES)

# the declared bounds of the dependencies: the lowest versions, and whatever is newest, each in an environment of its own
oldest newest: export OMP_NUM_THREADS = 1
oldest:
	mkdir -p build && $(PYTHON) tests/versions.py > build/lowest.txt
	$(MAKE) VENV=.venv-oldest CONSTRAINTS=build/lowest.txt versions
newest:
	$(MAKE) VENV=.venv-newest CONSTRAINTS=/dev/null versions
versions: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not lava and not browser" tests/export tests/hardware tests/energy tests/train

clean:
	rm -rf $(VENV) build *.egg-info .dev

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(QUIETLY) -c $(CONSTRAINTS) -e '.[test]'
	touch $@

# NeuroBench is timed beside us; it asks for tonic (GPL) and others that its counters do not use
$(VENV)/.installed-bench: $(VENV)/.installed
	$(BIN)/python -m pip install $(QUIETLY) --no-deps neurobench==2.3.0
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install $(QUIETLY) -c constraints.txt -e '.[dev]'
	touch $@
