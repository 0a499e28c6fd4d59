#!/usr/bin/env bash
# Usage: tools/dist_train.sh CONFIG GPUS [ARGUMENTS of train.py]
# On SIGTERM the run saves between two optimizer steps, for which PyTorch's launcher leaves it 30 s;
# the launcher then ends with code 1, its processes with 75. Call this again with --resume.
# Several nodes: the same command on each, with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
set -euo pipefail

CONFIG=$1
GPUS=$2
NNODES=${NNODES:-1}
NODE_RANK=${NODE_RANK:-0}
PORT=${PORT:-29500}
MASTER_ADDR=${MASTER_ADDR:-127.0.0.1}
TOOLS=$(cd "$(dirname "$0")" && pwd)

# In place of this shell, which would keep signals to itself
exec ${PYTHON:-python} -m torch.distributed.run \
    --nnodes="$NNODES" \
    --node_rank="$NODE_RANK" \
    --master_addr="$MASTER_ADDR" \
    --master_port="$PORT" \
    --nproc_per_node="$GPUS" \
    "$TOOLS/train.py" "$CONFIG" --launcher pytorch "${@:3}"
