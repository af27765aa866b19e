# The entry point for everything. Each target creates .venv first if it is missing; `make` alone lists the targets.
#
#   PYTHON=...  the interpreter that creates .venv (default: the first of python3, python3.13, 3.12, 3.11 that works)
#   ARGS=...    further arguments for pytest (test, test-all), for the benchmarks (bench) or for a sweep (sweep)
#   PRESET=...  for fig-mnist, fig-anomaly, fig-latent_digits and fig-latent_energy, whose preset depends on the hardware: cpu or gpu (default: gpu if there is one)

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
# benchmark-mi needs an older JAX than ours, and therefore an environment and a lock file of its own.
BMI_VENV := .venv-bmi
BMI_READY := $(BMI_VENV)/.ready
# The packages that the pages on migration compare with are many and large, and have an environment of their own.
MIGRATION_VENV := .venv-migration
MIGRATION_READY := $(MIGRATION_VENV)/.ready
MIGRATION := datasets densratio==0.4.0 dm-haiku ebmkit equinox flowjax arviz grain numpyro open_clip_torch optuna safetensors \
  sbi tensorboardX tensorflow tf_keras torch torchebm torchvision wandb
EXTRAS := alchemlyb,plots,sklearn,sweeps,samplers,checkpoints,experiments,docs,test

# Every folder with a run.py is an experiment; a new one needs no line here.
TOPICS := $(patsubst experiments/%/run.py,%,$(wildcard experiments/*/run.py))
# These take long. They have a target and a preset by hardware, and are not part of `figures` and `check`.
SEPARATE := mnist anomaly latent_digits latent_energy
# These take longer, and are drawn by `figures-full` only. `make help` prints the minutes of each.
LONGER := choosing_m language_model mutual_information noise_choices offline_design peaked_1d representation \
  scaling simulator_inference
MINUTES := peaked_1d:3 noise_choices:4 simulator_inference:6 offline_design:10 representation:10 scaling:10 \
  choosing_m:35 language_model:50 mutual_information:80
TOGETHER := $(filter-out $(SEPARATE) $(LONGER),$(TOPICS))
FIGURES := $(TOGETHER:%=build/figures/%.list)
LONGER_FIGURES := $(LONGER:%=build/figures/%.list)
PRESET ?= $(if $(wildcard /dev/nvidia0),gpu,cpu)
preset = $(if $(filter $(SEPARATE),$(1)),$(PRESET),paper)
PIP := $(PY) -m pip --disable-pip-version-check
# Nearly all of the tests' time is compilation. The programs that one test compiles serve the others and the next run.
# Tests that run often leave out XLA's optimizations, its newer code generator and its parallel one, which halves the
# time; the slow tests and test-all do not.
CACHED := JAX_COMPILATION_CACHE_DIR="$(CURDIR)/build/compiled" JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
  JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=0
PYTEST := $(CACHED) $(PY) -m pytest --numprocesses auto --maxprocesses 4
ANNOTATED := --jaxtyping-packages=nce_jax,beartype.beartype
UNOPTIMIZED := XLA_FLAGS="--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false \
  --xla_cpu_parallel_codegen_split_count=1 $$XLA_FLAGS"

##@ Results

.PHONY: figures figures-full smoke two-processes check check-full sweep bench bench-check migration
figures: $(FIGURES) ## draw the figures (PNG and PDF) into build/figures, where they have changed
	$(call list_figures,$^)

figures-full: $(FIGURES) $(LONGER_FIGURES) ## the same, and the figures of the longer experiments (listed below)
	$(call list_figures,$^)

smoke: $(READY) ## run and plot every experiment at its smallest, into build/smoke
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target $(TOPICS:%=smoke-%)

two-processes: $(READY) ## train on two processes of four virtual devices each; resumes an interrupted run
	$(PY) -m experiments.common.processes --num-processes 2 --devices 4 -- experiments.scaling.train $(ARGS)

check: $(TOGETHER:%=build/results/%/paper/manifest.json) ## compare the results of `figures` with the committed headline numbers
	$(PY) -m experiments.common.check $(TOGETHER)

check-full: check $(LONGER:%=check-%) ## the same, and the longer experiments

sweep: $(READY) ## run your own grid of training runs: make sweep ARGS="--help"
	$(PY) -m experiments.sweep $(or $(ARGS),--help)

bench: $(BENCH_READY) $(BMI_READY) ## measure against other packages, and write docs/benchmarks.md
	$(PY) -m benchmarks.run $(ARGS)

# ARGS="--only ..." names other topics.
bench-check: $(BENCH_READY) $(BMI_READY) ## repeat the shorter benchmarks, and fail where they have become worse
	$(PY) -m benchmarks.regression $(ARGS)

migration: $(MIGRATION_READY) ## run both sides of the pages on migration, and every how-to, with all their packages
	$(CACHED) NCE_JAX_ALL_PAGES=1 $(MIGRATION_VENV)/bin/python -m pytest tests/test_migration.py tests/test_how_to.py $(ARGS)

##@ Development

.PHONY: test test-slow test-all examples test-annotations hostile mutate lint types docs lock
test: $(READY) ## run all tests but the slow ones
	$(UNOPTIMIZED) $(PYTEST) -m "not slow and not costly" $(ARGS)

test-slow: $(READY) ## run the slow tests
	$(UNOPTIMIZED) $(PYTEST) tests -m costly $(ARGS)
	$(PYTEST) tests -m "slow and not costly" $(ARGS)

test-all: $(READY) ## run all tests and the examples of the docstrings
	$(PYTEST) $(or $(ARGS),tests nce_jax)

examples: $(READY) ## run the examples of the docstrings, with the annotations checked at run time
	$(UNOPTIMIZED) $(PYTEST) $(ANNOTATED) nce_jax $(ARGS)

test-annotations: $(READY) ## run the fast tests with the annotations checked at run time
	$(UNOPTIMIZED) $(PYTEST) -m "not slow and not costly and not bad_input" $(ANNOTATED) $(ARGS)

hostile: $(READY) ## try 100,000 hostile problems and every public function on hostile arguments (minutes)
	$(UNOPTIMIZED) $(PY) -m tests.hostile $(ARGS)

mutate: $(READY) ## put deliberate faults into copies of the library, and say which the fast tests miss (minutes)
	$(CACHED) $(UNOPTIMIZED) $(PY) -m tests.mutation $(ARGS)

lint: $(READY) ## check rules and format with ruff
	$(PY) -m ruff check . && $(PY) -m ruff format --check .

types: $(READY) ## check types with mypy
	$(PY) -m mypy

docs: $(READY) ## build the documentation in build/docs, with warnings as errors
	$(PY) -m sphinx -W --keep-going -b html -d build/doctrees docs build/docs

# The release of benchmark-mi allows jax < 0.5, but equinox 0.10.11, the newest that it allows, does not import with
# jax 0.4.34 and later.
BMI := "benchmark-mi==0.1.3" "jax<0.4.34" "jaxlib<0.4.34"

lock: ## rewrite the lock files from the newest versions allowed
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
	"$$python" -m venv --clear build/lock; pip install -r requirements.lock $(MIGRATION); freeze > build/lock/pages.txt; \
	{ echo "# What the pages on migration and the how-tos add to requirements.lock, in an environment of its own"; \
	  echo "# ($(MIGRATION_VENV)). What torch asks for beyond these is left to it. Regenerate with: make lock"; \
	  grep -vxFf requirements.lock build/lock/pages.txt | grep -v '^nvidia-\|^cuda-\|^triton==' ; } > requirements-migration.lock; \
	rm -rf build/lock; wc -l requirements*.lock

##@ Housekeeping

.PHONY: help clean distclean
help: ## print this list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z%-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nOne experiment: fig-<topic>, check-<topic> or smoke-<topic>, with <topic> one of\n'
	@printf '%s\n' '$(TOGETHER)' | fold -s -w 98 | sed 's/^/  /'
	@printf 'The longer ones, with their minutes, which `make figures-full` includes:\n'
	@printf '%s\n' '$(MINUTES)' | fold -s -w 98 | sed 's/^/  /'
	@printf 'The longest, which no other target includes: $(SEPARATE)\n'

clean: ## remove everything that the targets wrote, except .venv
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -not -path './$(BMI_VENV)/*' -not -path './$(MIGRATION_VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## remove .venv, .venv-bmi and .venv-migration as well
	rm -rf $(VENV) $(BMI_VENV) $(MIGRATION_VENV)

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

$(MIGRATION_READY): requirements.lock requirements-migration.lock
	@rm -f $@; if ! [ -e $(MIGRATION_VENV)/bin/python ]; then \
	  $(find_python); \
	  echo "==> making $(MIGRATION_VENV) with $$("$$python" --version); several GB, once"; \
	  "$$python" -m venv --clear $(MIGRATION_VENV); \
	fi
	$(MIGRATION_VENV)/bin/python -m pip --disable-pip-version-check install --progress-bar off -r requirements.lock \
	  -r requirements-migration.lock
	$(MIGRATION_VENV)/bin/python -m pip --disable-pip-version-check install --progress-bar off --no-deps --editable .
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
