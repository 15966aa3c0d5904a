#!/usr/bin/env bash
# Check and measure polysem on a GPU, in at most 8 minutes: ./scripts/gpu_check.sh [--out DIR] [--minutes 8]
# Nothing is installed. Python is $PYTHON, else .venv's, else python3; what it needs: docs/performance.md, "On a GPU".
# --device cpu --size tiny runs the same path on a CPU. What it does: python benchmarks/gpu_check.py --help
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    [ -x .venv/bin/python ] && PYTHON=.venv/bin/python
fi
exec "$PYTHON" benchmarks/gpu_check.py "$@"
