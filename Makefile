# The verbs of this project.  `make` and Python 3.11 or newer are all a machine needs; `make help` lists them.
# No recipe uses a variable path, so that the project may live in a folder whose name has spaces.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup setup-run run test check bench bench-short profile compare fuzz coverage mutate e2e-claude e2e-ts e2e-llama e2e-sdk-suite fresh pin clean
SHELL := /bin/sh
BIN := .venv/bin

# From "/", because a version manager's shim obeys the .python-version of the folder it is called in.
prepare = @root="$$PWD"; cd / && for python in "$$root/.venv/bin/python" python3 python3.14 python3.13 python3.12 \
	python3.11 python; do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null; then \
			exec "$$python" "$$root/scripts/setup_env.py" $(1); \
		fi; \
	done; echo "Python 3.11 or newer is needed; none was found on PATH." >&2; exit 2

help: ## list the verbs
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r verb text; do \
		printf '%-22s%s\n' "$$verb" "$$text"; done

setup: ## make .venv: pinned packages, the project, the C extension (run, test, check do it by themselves)
	$(call prepare,dev)

setup-run:
	$(call prepare,run)

run: setup-run ## serve on HOST:PORT, 127.0.0.1:11434 unless set
	@exec $(BIN)/ccproxy serve

test: setup ## the whole test suite (ARGS="-k name" goes to pytest)
	@$(BIN)/python -m pytest $(ARGS)

check: setup ## ruff, mypy --strict, import contracts
	@failed=; for command in "ruff check --quiet ." "ruff format --check --quiet ." mypy "lint-imports --no-logo"; do \
		echo "== $$command"; $(BIN)/$$command || failed="$$failed [$$command]"; \
	done; [ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

bench: setup ## micro and macro benchmarks, the table of all ratios (ten minutes; ARGS="--only small,agent" goes to the macro part)
	@$(BIN)/python -m pytest bench/micro -q --timeout=0
	@$(BIN)/python -m bench.macro.run $(ARGS)

bench-short: setup ## the ratios that CI gates: under a minute, exit code 1 when one is above its gate
	@$(BIN)/python -m bench.macro.run --short

profile: setup ## flame graphs of the proxy under load, into docs/img (uses py-spy where it is installed)
	@$(BIN)/python -m bench.profile $(ARGS)

compare: setup ## the proxy beside the peers that are installed (ARGS="--install nginx,litellm"), bars into docs/img
	@$(BIN)/python -m bench.compare --svg docs/img $(ARGS)

fuzz: setup ## the property tests of tests/fuzz with a large budget
	@$(BIN)/python -m pytest tests/fuzz tests/property --hypothesis-profile=fuzz --timeout=0 $(ARGS)

coverage: setup ## branch coverage of wire, translate, profiles, sse by unit and property tests: 95 % each, or it fails
	@$(BIN)/python -m coverage run -m pytest -q tests/unit tests/property $(ARGS)
	@failed=; for package in wire translate profiles sse; do \
		$(BIN)/python -m coverage report --include="ccproxy_sanic/$$package/*" || failed="$$failed $$package"; \
	done; [ -z "$$failed" ] || { echo "too little:$$failed" >&2; exit 1; }

mutate: setup ## change every entry of the rule tables, one by one: does a test notice? (docs/mutation.md; about forty minutes)
	@$(BIN)/python scripts/mutate.py $(ARGS)

e2e-claude: setup ## Claude Code itself, from npm, through the proxy (needs npm)
	@CCPROXY_E2E=1 $(BIN)/python -m pytest tests/e2e/test_claude_code.py -s $(ARGS)

e2e-ts: setup ## the TypeScript SDK, from npm, against the proxy (needs npm)
	@CCPROXY_E2E=1 $(BIN)/python -m pytest tests/e2e/test_sdk_typescript.py -s $(ARGS)

e2e-llama: setup ## a real model server, llama.cpp's with a small model, behind the proxy
	@CCPROXY_E2E=1 $(BIN)/python -m pytest tests/e2e/test_llama.py -s $(ARGS)

e2e-sdk-suite: setup ## the Anthropic SDK's own tests, from its source distribution, against the proxy
	@CCPROXY_E2E=1 $(BIN)/python -m pytest tests/e2e/test_sdk_suite.py -s $(ARGS)

fresh: ## copy the tree to an empty home directory, make run there: with and without uv and a compiler (ARGS=--test)
	@scripts/fresh_clone_check.sh $(ARGS)

pin: setup ## write requirements/*.txt anew (ARGS=--upgrade takes the newest versions; needs uv)
	@$(BIN)/python scripts/pin.py $(ARGS)

clean: ## remove .venv, caches and built files
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks .import_linter_cache .cache
	rm -rf *.egg-info ccproxy_sanic/sse/_framing.c ccproxy_sanic/sse/_framing*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
