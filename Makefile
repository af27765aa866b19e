# The entry point for everything. Each target creates .venv first if it is missing; `make` alone lists the targets.
#
#   PYTHON=...  the interpreter that creates .venv (default: the first of python3, python3.13, 3.12, 3.11 that works)
#   ARGS=...    further arguments for pytest (test, test-all), for the benchmarks (bench, device-check) or for a sweep (sweep)
#   PRESET=...  for fig-mnist, fig-anomaly, fig-diffusion_digits, fig-latent_digits and fig-latent_energy, whose preset depends on the hardware: cpu or gpu (default: gpu if there is one)

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
SEPARATE := mnist anomaly diffusion_digits diffusion_images latent_digits latent_energy
# These take longer, and are drawn by `figures-full` only. `make help` prints the minutes of each.
LONGER := choosing_m choosing_m_schedule diffusion_critic language_model mutual_information noise_choices offline_design one_step peaked_1d \
  preferences representation scaling simulator_inference
MINUTES := peaked_1d:3 noise_choices:4 simulator_inference:6 offline_design:10 preferences:15 representation:10 scaling:10 \
  one_step:15 diffusion_critic:45 choosing_m:35 language_model:50 choosing_m_schedule:70 mutual_information:80
TOGETHER := $(filter-out $(SEPARATE) $(LONGER),$(TOPICS))
FIGURES := $(TOGETHER:%=build/figures/%.list)
LONGER_FIGURES := $(LONGER:%=build/figures/%.list)
PRESET ?= $(if $(wildcard /dev/nvidia0),gpu,cpu)
preset = $(if $(filter $(SEPARATE),$(1)),$(PRESET),paper)
PIP := $(PY) -m pip --disable-pip-version-check
# Nearly all of the tests' time is compilation. The programs that one test compiles serve the others and the next run.
# Tests that run often leave out XLA's optimizations, its newer code generator and its parallel one, which halves the
# time; the slow tests and test-all do not. XLA aborts at a flag that it does not know (JAX 0.12 no longer has the second
# of these), so each is tried once, when the environment is made, and kept where it is known.
FLAGS := --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1
keep_known_flags = for flag in $(FLAGS); do \
  if XLA_FLAGS=$$flag $(1)/bin/python -c 'import jax; jax.devices("cpu")' > /dev/null 2>&1; then echo $$flag; fi; \
done > $(1)/.xla-flags
CACHED := JAX_COMPILATION_CACHE_DIR="$(CURDIR)/build/compiled" JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
  JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=0
PYTEST := $(CACHED) $(PY) -m pytest --numprocesses auto --maxprocesses 4
# Tests of the main entry of every room, for the oldest and the newest versions: a few minutes. ARGS=tests runs all.
EACH_ROOM := $(addprefix tests/,adaptive_noise/test_self_noise.py alchemlyb/test_estimators.py criteria/test_profiled.py \
  diagnostics/test_overlap.py free_energy/test_bar.py latent likelihood log_partition/test_oracle.py \
  losses/test_binary_loss.py magnification/test_candidates.py models/test_mlp_energy.py \
  noise/test_noise_contract.py plots/test_run_plots.py ratio_estimation/test_fit_log_ratio.py \
  samplers/test_kernels.py sweeps/test_sweep.py telescoping/test_interface.py training/test_resume.py \
  training/test_step.py)
ANNOTATED := --jaxtyping-packages=nce_jax,beartype.beartype
unoptimized = XLA_FLAGS="$$(tr '\n' ' ' < $(1)/.xla-flags)$$XLA_FLAGS"
UNOPTIMIZED = $(call unoptimized,$(VENV))

##@ Results

.PHONY: figures figures-full small-figures smoke two-processes check check-full sweep bench bench-check device-check migration
figures: $(FIGURES) ## draw the figures (PNG and PDF) into build/figures, where they have changed
	$(call list_figures,$^)

figures-full: $(FIGURES) $(LONGER_FIGURES) ## the same, and the figures of the longer experiments (listed below)
	$(call list_figures,$^)

small-figures: $(READY) ## copy the figures that were drawn, small, into docs/images/results
	$(PY) -m experiments.common.small_figures

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

# It sets no XLA flags and keeps no compiled programs: a device is measured as users find it.
device-check: $(READY) ## check and time the library on the default device, in minutes: ARGS="--output FILE --size small"
	$(PY) -m benchmarks.device_check $(ARGS)

migration: $(MIGRATION_READY) ## run both sides of the pages on migration, and every how-to, with all their packages
	$(CACHED) NCE_JAX_ALL_PAGES=1 $(MIGRATION_VENV)/bin/python -m pytest tests/test_migration.py tests/test_how_to.py $(ARGS)

##@ Development

.PHONY: test test-slow test-all test-oldest test-newest examples test-annotations hostile mutate lint types docs docs-fast dist lock
test: $(READY) ## run all tests but the slow ones
	$(UNOPTIMIZED) $(PYTEST) -m "not slow and not costly" $(ARGS)

test-slow: $(READY) ## run the slow tests
	$(UNOPTIMIZED) $(PYTEST) tests -m costly $(ARGS)
	$(PYTEST) tests -m "slow and not costly" $(ARGS)

test-all: $(READY) ## run all tests and the examples of the docstrings
	$(PYTEST) $(or $(ARGS),tests nce_jax)

test-oldest: .venv-oldest/.ready ## run some fast tests of every room with the oldest versions that we allow
test-newest: .venv-newest/.ready ## the same with the newest; ARGS=tests runs all of them
test-oldest test-newest:
	$(CACHED) $(call unoptimized,$(<D)) $(<D)/bin/python -m pytest --numprocesses auto --maxprocesses 4 \
	  -m "not slow and not costly" $(or $(ARGS),$(EACH_ROOM))

examples: $(READY) ## run the examples of the docstrings, with the annotations checked at run time
	$(UNOPTIMIZED) $(PYTEST) $(ANNOTATED) nce_jax $(ARGS)

test-annotations: $(READY) ## run the fast tests with the annotations checked at run time
	$(UNOPTIMIZED) $(PYTEST) -m "not slow and not costly and not bad_input" $(ANNOTATED) $(ARGS)

hostile: $(READY) ## try 100,000 hostile problems, 10,000 networks of states and every public function on hostile arguments (minutes)
	NCE_JAX_NETWORKS=2500 $(UNOPTIMIZED) $(PYTEST) tests/free_energy/test_hostile_networks.py
	$(UNOPTIMIZED) $(PY) -m tests.hostile $(ARGS)

mutate: $(READY) ## put deliberate faults into copies of the library, and say which the fast tests miss (minutes)
	$(CACHED) $(UNOPTIMIZED) $(PY) -m tests.mutation $(ARGS)

lint: $(READY) ## check rules and format with ruff
	$(PY) -m ruff check . && $(PY) -m ruff format --check .

types: $(READY) ## check types with mypy
	$(PY) -m mypy

SPHINX := $(CACHED) $(PY) -m sphinx -W --keep-going -b html

docs: $(READY) ## build the documentation in build/docs, running its examples (minutes); warnings are errors
	$(SPHINX) -d build/doctrees docs build/docs

# The examples' pages have no output and no pictures then.
docs-fast: $(READY) ## the same without running the examples, in build/docs-fast
	$(SPHINX) -D plot_gallery=0 -D suppress_warnings=image.not_readable -d build/doctrees-fast docs build/docs-fast

# The wheel is installed alone, into a fresh environment of the same Python, and used from another folder.
ALONE := build/alone
dist: .venv-dist/.ready ## build the sdist and the wheel in dist, check them, and use the wheel alone in a fresh environment
	rm -rf dist $(ALONE)
	.venv-dist/bin/python -m build
	.venv-dist/bin/twine check --strict dist/*
	.venv-dist/bin/check-wheel-contents dist/*.whl
	.venv-dist/bin/python -m venv $(ALONE)
	$(ALONE)/bin/python -m pip --disable-pip-version-check install --quiet dist/*.whl
	cd $(ALONE) && XLA_FLAGS= PYTHONPATH= bin/python -P $(CURDIR)/tests/installed.py
	@ls -l dist

# The extras whose bounds are measured, the tools of their tests, and every lower bound of pyproject.toml as a pin.
MEASURED := alchemlyb,plots,sweeps,samplers,checkpoints
TOOLS := chex hypothesis "mpmath<1.4" pytest pytest-xdist scipy
LOWER_BOUNDS := import re, tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
  extras = [project["optional-dependencies"][name] for name in "$(MEASURED)".split(",")]; \
  print(*(re.sub(">=([^,]*).*", r"==\1", name) for names in [project["dependencies"], *extras] for name in names), sep="\n")

# The release of benchmark-mi allows jax < 0.5, but equinox 0.10.11, the newest that it allows, does not import with
# jax 0.4.34 and later.
BMI := "benchmark-mi==0.1.3" "jax<0.4.34" "jaxlib<0.4.34"

lock: ## rewrite the lock files from the newest versions allowed
	@$(call find_python,locked); echo "==> resolving in a fresh environment ($$python)"; \
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
	for which in oldest newest; do \
	  if [ $$which = oldest ]; then $(call find_python,oldest); else $(call find_python,newest); fi; \
	  "$$python" -m venv --clear build/lock; \
	  if [ $$which = oldest ]; then "$$python" -c '$(LOWER_BOUNDS)'; fi > build/lock/bounds.txt; \
	  pip install -c build/lock/bounds.txt '.[$(MEASURED)]' $(TOOLS); freeze > build/lock/$$which.txt; \
	  { echo "# The $$which versions that pyproject.toml allows, for make test-$$which. Regenerate with: make lock"; \
	    cat build/lock/$$which.txt; } > requirements-$$which.lock; \
	done; \
	$(call find_python,locked); "$$python" -m venv --clear build/lock; \
	pip install build check-wheel-contents twine; \
	{ echo "# What make dist builds and checks releases with. Regenerate with: make lock"; freeze; } > requirements-dist.lock; \
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

clean: ## remove everything that the targets wrote, except the environments
	rm -rf build dist docs/gallery docs/sg_execution_times.rst .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean ## remove the environments (.venv, .venv-*) as well
	rm -rf $(VENV) $(BMI_VENV) $(MIGRATION_VENV) .venv-dist .venv-oldest .venv-newest

# ---- the environment -----------------------------------------------------------------------------------------------

# A version manager's shim can be on the path and yet fail, so a candidate counts only once it has run. PYTHON goes first;
# $(1) says for which lock file. JAX 0.11 and later need Python 3.12, and NumPy 2.0 is built for Python up to 3.12.
PYTHONS_locked := python3 python3.13 python3.12 python3.11
RANGE_locked := 3.11 3.13
PYTHONS_oldest := python3.11 python3.12 python3
RANGE_oldest := 3.11 3.12
PYTHONS_newest := python3.13 python3.12 python3
RANGE_newest := 3.12 3.13
define find_python
python=; for candidate in $(if $(PYTHON),"$(PYTHON)",$(PYTHONS_$(1))); do \
  if "$$candidate" -c 'import ensurepip, sys, venv; lowest, highest = ([*map(int, v.split("."))] for v in sys.argv[1:]); \
      sys.exit(not lowest <= [*sys.version_info[:2]] <= highest)' $(RANGE_$(1)) > /dev/null 2>&1; then \
    python=$$candidate; break; \
  fi; \
done; \
if [ -z "$$python" ]; then \
  echo "error: no working Python from $(firstword $(RANGE_$(1))) to $(lastword $(RANGE_$(1)))" \
    "$(if $(PYTHON),at $(PYTHON),on the path); name one with PYTHON=..." >&2; \
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
	  $(call find_python,locked); \
	  echo "==> making $(VENV) with $$("$$python" --version) ($$python); a few minutes, once"; \
	  "$$python" -m venv --clear $(VENV); \
	fi
	@rm -f $(READY) $(BENCH_READY)
	$(PIP) install --progress-bar off -r requirements.lock
	$(PIP) install --progress-bar off --no-deps --editable .
	@$(call keep_known_flags,$(VENV))
	@touch $@; echo "==> $(VENV) is ready"

# The oldest and the newest versions that the bounds of pyproject.toml allow.
.venv-oldest/.ready .venv-newest/.ready: .venv-%/.ready: requirements-%.lock pyproject.toml
	@$(call find_python,$*); \
	echo "==> making $(@D) with $$("$$python" --version) ($$python)"; "$$python" -m venv --clear $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check install --progress-bar off -r $<
	$(@D)/bin/python -m pip --disable-pip-version-check install --progress-bar off --no-deps --editable .
	@$(call keep_known_flags,$(@D))
	@touch $@; echo "==> $(@D) is ready"

.venv-dist/.ready: requirements-dist.lock
	@$(call find_python,locked); \
	echo "==> making $(@D) with $$("$$python" --version) ($$python)"; "$$python" -m venv --clear $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check install --progress-bar off -r $<
	@touch $@

$(BENCH_READY): requirements-bench.lock $(READY)
	@echo "==> adding the packages that the benchmarks compare with"
	$(PIP) install --progress-bar off -r requirements-bench.lock
	@touch $@

$(MIGRATION_READY): requirements.lock requirements-migration.lock
	@rm -f $@; if ! [ -e $(MIGRATION_VENV)/bin/python ]; then \
	  $(call find_python,locked); \
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
