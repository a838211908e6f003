#!/usr/bin/env bash
# A checkpoint from finished shards on the eight GPUs of one machine; a process that is killed is started again.
#   launch/eight-gpus.sh pretrain.yaml s3://bucket/shards path/to/vocab runs/mine
set -euo pipefail
recipe=$1 shards=$2 vocab=$3 out=$4
interlingua pretrain "$recipe" --out "$out" --ranks 8 --restarts 10 \
    "data.shards=$shards" "vocab.path=$vocab" data.window=100000 \
    train.parallel=replicate train.precision=bf16 train.tensorboard=true
