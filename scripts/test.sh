#!/usr/bin/env bash
# Set up, then lint, check types and run the tests: ./scripts/test.sh [arguments of pytest]
# The tests run in two processes (-n 0: in one) while the types are checked. Fails if any of the four fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./scripts/setup.sh
failed=0
.venv/bin/ruff check . || failed=1
.venv/bin/ruff format --check . || failed=1
[ -t 1 ] && colour=yes || colour=no
# pytest's lines wait in the pipe until pyright has printed its own, so that pytest's result is the last line.
.venv/bin/python -m pytest --color=$colour -n 2 --dist worksteal "$@" 2>&1 |
    { .venv/bin/pyright && types=0 || types=1; cat; exit $types; } || failed=1
exit $failed
