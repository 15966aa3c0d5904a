#!/usr/bin/env bash
# Train on one GPU:  sbatch scripts/slurm/one-gpu.sh configs/run/cpu-1l.toml --out checkpoints/gelu-s0
# From the clone, after ./scripts/setup.sh. Options of sbatch before the script win over those below.
#SBATCH --job-name=polysem
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=32G
#SBATCH --time=8:00:00
#SBATCH --output=%x-%j.log
#SBATCH --signal=B:TERM@120
# Two minutes before the time is up the run saves and leaves with exit code 75; submit it again to go on.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
exec "${PYTHON:-.venv/bin/python}" -m train run "$@"
