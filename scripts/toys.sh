#!/usr/bin/env bash
# Set up, train toys, two at a time on one thread each, and write their pages and verdicts:
#   ./scripts/toys.sh                     those that ask problems 4.1 to 4.20, cheapest first
#   ./scripts/toys.sh all                 every shipped one
#   ./scripts/toys.sh NAME [NAME ...]     these, by name or file
# What is finished is found again; stopped, the same command goes on. Published results: polysem toy-known.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./scripts/setup.sh
toy() { .venv/bin/python -m train toy "$@"; }
if [ $# -eq 0 ]; then
    mapfile -t chosen < <(toy --names problems)
elif [ "$*" = all ]; then
    mapfile -t chosen < <(toy --names all)
else
    chosen=("$@")
fi
jobs=${TOY_JOBS:-2}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
printf '%s\0' "${chosen[@]}" | xargs -0 -n 1 -P "$jobs" .venv/bin/python -m train toy
directories=()
for each in "${chosen[@]}"; do
    directories+=("checkpoints/toy/$(basename -- "$each" .toml)")
done
exec .venv/bin/python -m analyze toy-pages "${directories[@]}" --out results/toys
