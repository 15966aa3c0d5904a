#!/usr/bin/env bash
# Set up, then run a whole study: ./scripts/study.sh [configs/study/NAME.toml] [--out DIR] [overrides]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$here/scripts/setup.sh"
cd "$here"
exec .venv/bin/python scripts/study.py "$@"
