#!/usr/bin/env bash
# Inside a Slurm allocation of any number of nodes: start one torchrun a node, which starts one process a GPU.
#     scripts/slurm/launch.sh -m train run RUN.toml --out checkpoints/gelu-s0
#     polysem study STUDY.toml --scheduler slurm --sbatch='--nodes 2 --gpus-per-node 4' --launch scripts/slurm/launch.sh
# PROCESSES: of each node; default: one a GPU. PYTHON: the interpreter on every node; default .venv/bin/python.
set -euo pipefail
# sed reads to the end: with `head` a slow scontrol would be killed by a closed pipe.
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
exec srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
    --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=1 \
    "${PYTHON:-.venv/bin/python}" -m torch.distributed.run \
    --nnodes="$SLURM_JOB_NUM_NODES" --nproc_per_node="${PROCESSES:-gpu}" --rdzv_id="$SLURM_JOB_ID" \
    --rdzv_backend=c10d --rdzv_endpoint="$first:$((20000 + SLURM_JOB_ID % 10000))" "$@"
