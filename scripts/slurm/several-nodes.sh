#!/usr/bin/env bash
# Train on several nodes:  sbatch --nodes=2 scripts/slurm/several-nodes.sh RUN.toml --out checkpoints/gelu-s0
# From the clone, which all nodes see, after ./scripts/setup.sh. Options of sbatch before the script win over those
# below. train.rows_per_step has to be a multiple of all GPUs x train.accumulate.
#SBATCH --job-name=polysem
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --mem=128G
#SBATCH --time=8:00:00
#SBATCH --output=%x-%j.log
#SBATCH --signal=TERM@120
# Two minutes before the time is up the run saves and stops; submit it again to go on.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
exec scripts/slurm/launch.sh -m train run "$@"
