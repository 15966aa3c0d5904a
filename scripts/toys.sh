#!/usr/bin/env bash
# Set up, train toy experiments and write their pages: ./scripts/toys.sh [configs/toy/NAME.toml ...]
# Default: every shipped one. What is finished is found again; stopped, the same command goes on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./scripts/setup.sh
[ $# -gt 0 ] || set -- configs/toy/*.toml
directories=()
for config in "$@"; do
    name=$(basename -- "$config" .toml)
    .venv/bin/python -m train toy "$config" --out "checkpoints/toy/$name"
    directories+=("checkpoints/toy/$name")
done
exec .venv/bin/python -m analyze toy-pages "${directories[@]}" --out results/toys
