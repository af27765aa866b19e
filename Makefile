# One entry point for everything. Each target makes .venv first when it is missing; `make` alone prints this list.
#
#   PYTHON=...  the interpreter to make .venv from (default: the first of python3, python3.13, 3.12, 3.11 that works)
#   ARGS=...    further arguments for pytest (test, test-all), for the benchmarks (bench) or for a sweep (sweep)
#   PRESET=...  of the experiments that follow the hardware (fig-mnist): cpu or gpu (default: gpu where there is one)

SHELL := bash
export XLA_FLAGS ?=
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.ready-bench
# benchmark-mi wants an older JAX than ours: it gets an environment of its own, from a lock file of its own.
BMI_VENV := .venv-bmi
BMI_READY := $(BMI_VENV)/.ready
EXTRAS := sweeps,samplers,checkpoints,experiments,docs,test

# A folder with a run.py is an experiment: a new one needs no line here.
TOPICS := $(patsubst experiments/%/run.py,%,$(wildcard experiments/*/run.py))
# Those that take long have a target of their own and a preset by hardware, and are no part of `figures` and `check`.
SEPARATE := mnist
# Those that take minutes more are drawn by `figures-full` only.
LONGER := choosing_m language_model mutual_information noise_choices peaked_1d representation scaling simulator_inference
TOGETHER := $(filter-out $(SEPARATE) $(LONGER),$(TOPICS))
PRESET ?= $(if $(wildcard /dev/nvidia0),gpu,cpu)
preset = $(if $(filter $(SEPARATE),$(1)),$(PRESET),paper)
PIP := $(PY) -m pip --disable-pip-version-check
# Nearly all of the tests' time is compilation: what one test has compiled serves the others and the next run, and those
# that are run often leave XLA's optimizations and its newer code generator out (half the time), which the slow ones and
# test-all do not.
CACHED := JAX_COMPILATION_CACHE_DIR="$(CURDIR)/build/compiled" JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
  JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=0
PYTEST := $(CACHED) $(PY) -m pytest --numprocesses auto --maxprocesses 4
ANNOTATED := --jaxtyping-packages=nce_jax,beartype.beartype
UNOPTIMIZED := XLA_FLAGS="--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false $$XLA_FLAGS"

##@ Results

.PHONY: figures figures-full smoke two-processes check check-full sweep bench bench-check
figures: $(TOGETHER:%=build/figures/%.list) ## every figure, PNG and PDF, in build/figures; unchanged ones are kept
	$(call list_figures,$^)

figures-full: $(TOGETHER:%=build/figures/%.list) $(LONGER:%=build/figures/%.list) ## these and the longer ones (peaked_1d: 3 minutes more, noise_choices: 4, simulator_inference: 6, representation and scaling: 10 each, choosing_m: 35, language_model: 50, mutual_information: 80)
	$(call list_figures,$^)

smoke: $(READY) ## every experiment at its smallest (XLA's optimizations left out), two at a time, with its plots, in build/smoke
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target $(TOPICS:%=smoke-%)

two-processes: $(READY) ## trains on two processes of four virtual devices each; a run that was stopped goes on
	$(PY) -m experiments.common.processes --num-processes 2 --devices 4 -- experiments.scaling.train $(ARGS)

check: $(TOGETHER:%=build/results/%/paper/manifest.json) ## compare the results with the committed headline numbers
	$(PY) -m experiments.common.check $(TOGETHER)

check-full: check $(LONGER:%=check-%) ## the same, and the longer ones

sweep: $(READY) ## a grid of trainings of your own, stored, resumed and drawn: make sweep ARGS="--help"
	$(PY) -m experiments.sweep $(or $(ARGS),--help)

bench: $(BENCH_READY) $(BMI_READY) ## benchmarks against other packages; writes their page in docs
	$(PY) -m benchmarks.run $(ARGS)

bench-check: $(BENCH_READY) $(BMI_READY) ## those that take up to a minute, or ARGS="--only ...", anew: fails where they are worse than committed
	$(PY) -m benchmarks.regression $(ARGS)

##@ Development

.PHONY: test test-slow test-all test-annotations lint types docs lock
test: $(READY) ## tests (all but the slow ones) and doctests
	$(UNOPTIMIZED) $(PYTEST) -m "not slow" $(ARGS)

test-slow: $(READY) ## the slow tests alone
	$(PYTEST) tests -m slow $(ARGS)

test-all: $(READY) ## tests, slow ones too, and doctests
	$(PYTEST) $(ARGS)

test-annotations: $(READY) ## fast tests and doctests with every annotation of the library checked at run time
	$(UNOPTIMIZED) $(PYTEST) -m "not slow and not bad_input" $(ANNOTATED) $(ARGS)

lint: $(READY) ## ruff
	$(PY) -m ruff check . && $(PY) -m ruff format --check .

types: $(READY) ## mypy
	$(PY) -m mypy

docs: $(READY) ## the documentation in build/docs; a warning is an error
	$(PY) -m sphinx -W --keep-going -b html -d build/doctrees docs build/docs

# Its release allows jax < 0.5, but equinox 0.10.11, the newest it allows, does not import with jax 0.4.34 and later.
BMI := "benchmark-mi==0.1.3" "jax<0.4.34" "jaxlib<0.4.34"

lock: ## write the lock files anew, from the newest versions that pyproject.toml and benchmark-mi allow
	@$(find_python); echo "==> resolving in a fresh environment ($$python)"; \
	"$$python" -m venv --clear build/lock; \
	pip() { build/lock/bin/python -m pip --disable-pip-version-check "$$@"; }; \
	freeze() { pip freeze --exclude nce_jax | sed 's/+[a-z0-9.]*$$//' | LC_ALL=C sort -f; }; \
	pip install '.[$(EXTRAS)]'; freeze > build/lock/all.txt; \
	pip install '.[$(EXTRAS),bench]'; freeze > build/lock/bench.txt; \
	unpinned=$$(grep -hv '^[A-Za-z0-9._-]*==[^ ]*$$' build/lock/all.txt build/lock/bench.txt || true); \
	[ -z "$$unpinned" ] || { echo "error: not plain pins: $$unpinned" >&2; exit 1; }; \
	moved=$$(LC_ALL=C comm -23 <(LC_ALL=C sort build/lock/all.txt) <(LC_ALL=C sort build/lock/bench.txt)); \
	[ -z "$$moved" ] || { echo "error: the bench extra moves $$moved" >&2; exit 1; }; \
	{ echo "# Every package of every extra but bench, for Python 3.11 to 3.13. Regenerate with: make lock"; \
	  cat build/lock/all.txt; } > requirements.lock; \
	{ echo "# What the bench extra adds to requirements.lock. Regenerate with: make lock"; \
	  echo "# What torch asks for beyond these (setuptools; CUDA packages on some platforms) is left to it: nothing here uses it."; \
	  grep -vxFf build/lock/all.txt build/lock/bench.txt | grep -v '^nvidia-\|^cuda-\|^triton==' ; } > requirements-bench.lock; \
	$(call find_bmi_python); [ -n "$$python" ] || { echo "error: no Python 3.11 for benchmark-mi" >&2; exit 1; }; \
	"$$python" -m venv --clear build/lock; pip install $(BMI); freeze > build/lock/bmi.txt; \
	{ echo "# benchmark-mi, the package bmi, in an environment of its own ($(BMI_VENV)), for Python 3.11. Regenerate with: make lock"; \
	  cat build/lock/bmi.txt; } > requirements-bmi.lock; \
	rm -rf build/lock; wc -l requirements*.lock

##@ Housekeeping

.PHONY: help clean distclean
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z%-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nOne experiment: fig-<topic> or smoke-<topic>, with <topic> one of\n  $(or $(TOGETHER) $(LONGER),(none yet))\n'
	@printf 'or, apart from `make figures` because it takes long,\n  $(SEPARATE), and check-<topic> to compare its numbers\n'

clean: ## remove what the targets wrote, but keep .venv
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -not -path './$(BMI_VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## remove .venv and .venv-bmi as well
	rm -rf $(VENV) $(BMI_VENV)

# ---- the environment -----------------------------------------------------------------------------------------------

# A version manager's shim can be on the path and yet fail, so a candidate counts only once it has run.
define find_python
python=; for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11); do \
  if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
      > /dev/null 2>&1; then python=$$candidate; break; fi; \
done; \
if [ -z "$$python" ]; then \
  echo "error: no working Python 3.11, 3.12 or 3.13 $(if $(PYTHON),at $(PYTHON),on the path); name one with PYTHON=..." >&2; \
  exit 1; \
fi
endef

.PHONY: always
always:

# The stamp goes first and comes back last: an interrupted set-up leaves none, and the next call starts from nothing.
# So it does when the interpreter behind .venv is gone.
$(READY): pyproject.toml requirements.lock $(if $(shell test -e $(PY) && echo found),,always)
	@if [ -e $@ ] && [ -e $(PY) ]; then \
	  echo "==> updating $(VENV): $(?F) changed"; \
	else \
	  $(find_python); \
	  echo "==> making $(VENV) with $$("$$python" --version) ($$python); a few minutes, once"; \
	  "$$python" -m venv --clear $(VENV); \
	fi
	@rm -f $(READY) $(BENCH_READY)
	$(PIP) install --progress-bar off -r requirements.lock
	$(PIP) install --progress-bar off --no-deps --editable .
	@touch $@; echo "==> $(VENV) is ready"

$(BENCH_READY): requirements-bench.lock $(READY)
	@echo "==> adding the packages that the benchmarks compare with"
	$(PIP) install --progress-bar off -r requirements-bench.lock
	@touch $@

# pandas 1.5.3, which benchmark-mi requires, is built for Python up to 3.11. Without one the benchmarks leave their topic out.
define find_bmi_python
python=; for candidate in "$(PY)" python3.11 python3; do \
  if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' > /dev/null 2>&1; then \
    python=$$candidate; break; \
  fi; \
done
endef

$(BMI_READY): requirements-bmi.lock $(READY)
	@rm -rf $(BMI_VENV); mkdir -p $(BMI_VENV); $(find_bmi_python); \
	if [ -z "$$python" ]; then \
	  echo "==> no Python 3.11: benchmark-mi is left out, and with it the topic mutual_information" >&2; \
	else \
	  echo "==> making $(BMI_VENV) for benchmark-mi"; "$$python" -m venv $(BMI_VENV); \
	  $(BMI_VENV)/bin/python -m pip --disable-pip-version-check install --progress-bar off -r $<; \
	fi; \
	touch $@

# ---- experiments ---------------------------------------------------------------------------------------------------

# Numbers depend on the library and on all of an experiment but its plot*.py; figures on the numbers and on what draws.
LIBRARY := $(shell find nce_jax -name '*.py')
DRAWING := experiments/common/plotting.py
COMPUTING := $(filter-out $(DRAWING) experiments/common/check.py,$(wildcard experiments/common/*.py))

# Files named in the list $(1) that are gone: a figure deleted by hand is drawn again.
missing = $(strip $(foreach file,$(shell cat $(1) 2> /dev/null),$(if $(wildcard $(file)),,$(file))))

define topic_rules
.PHONY: fig-$(1) check-$(1) smoke-$(1)
fig-$(1): build/figures/$(1).list
	$$(call list_figures,$$^)

build/results/$(1)/$(call preset,$(1))/manifest.json: $$(filter-out experiments/$(1)/plot%.py,$$(wildcard experiments/$(1)/*.py)) $(COMPUTING) $(LIBRARY) | $(READY)
	@echo "==> $(1): computing"
	$(PY) -m experiments.$(1).run --preset $(call preset,$(1))

build/figures/$(1).list: build/results/$(1)/$(call preset,$(1))/manifest.json $$(wildcard experiments/$(1)/plot*.py) $(DRAWING) \
  $(if $(call missing,build/figures/$(1).list),always)
	@echo "==> $(1): drawing"
	$(PY) -m experiments.$(1).plot --preset $(call preset,$(1)) --output build/figures

check-$(1): build/results/$(1)/$(call preset,$(1))/manifest.json
	$(PY) -m experiments.common.check $(1) --preset $(call preset,$(1))

smoke-$(1): $(READY)
	@echo "==> $(1): smoke"
	$(CACHED) $$(UNOPTIMIZED) $(PY) -m experiments.common.smoke $(1)
endef
$(foreach topic,$(TOPICS),$(eval $(call topic_rules,$(topic))))

# Figures newer than this call were written by it.
ifneq ($(filter fig%,$(MAKECMDGOALS)),)
STARTED := build/.started
$(shell mkdir -p build && touch $(STARTED))
endif

define list_figures
@echo "==> figures"; for file in $$(cat $(or $(1),/dev/null)); do \
  if [ $$file -nt $(STARTED) ]; then state=written; else state="up to date"; fi; \
  printf '  %-64s %s\n' "$$file" "$$state"; \
done
endef
