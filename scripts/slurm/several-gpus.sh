#!/usr/bin/env bash
# Train on the GPUs of one node:  sbatch scripts/slurm/several-gpus.sh RUN.toml --out checkpoints/gelu-s0
# From the clone, after ./scripts/setup.sh. Options of sbatch before the script win over those below, such as
# --gpus-per-node=8. train.rows_per_step has to be a multiple of GPUs x train.accumulate.
#SBATCH --job-name=polysem
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --mem=128G
#SBATCH --time=8:00:00
#SBATCH --output=%x-%j.log
#SBATCH --signal=B:TERM@120
# Two minutes before the time is up the run saves and stops; submit it again to go on.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
exec "${PYTHON:-.venv/bin/python}" -m torch.distributed.run \
    --standalone --nproc_per_node="${PROCESSES:-gpu}" -m train run "$@"
