#!/usr/bin/env bash
# Runs every benchmark that has rows of a GPU, and keeps tables, figures and JSON in a folder:
#     tools/benchmark/gpu.sh [FOLDER]
# QUICK=1 takes small sizes, to try the commands on any machine; BATCH is the number of images where
# it is 64 otherwise, which float32 and training may not fit on every card; PYTHON the interpreter.
set -euo pipefail

folder=${1:-gpu_benchmarks}
python=${PYTHON:-python}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$here/../..${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$folder"
failed=()

# bench NAME TOOL ARGUMENT...: what fails does not keep the others from running
bench() {
    local name=$1 tool=$2
    shift 2
    echo "== $name: tools/benchmark/$tool $*"
    if ! COLUMNS=160 "$python" -W ignore "$here/$tool" "$@" --json "$folder/$name.json" |
        tee "$folder/$name.txt"; then
        failed+=("$name")
    fi
}

if [[ ${QUICK:-0} == 1 ]]; then
    peers=(--arch hst-4-384 --batch 1 --rounds 1)
    amp=(--amp bfloat16)
    neuron=(--elements 1024 4096 --time-steps 2 --rounds 2 --milliseconds 1)
    attention=(--sides 10 20)
    training=(--arch hst-2-256 --batch 1 --size 32 --rounds 1)
    roofline=(--arch hst-2-256 --size 32 --rounds 1 --copied 8 --side 256)
    scaling=(--arch hst-2-256 --time-steps 1 2 4 --sides 32 48 64 --token-sides 4 6 8
        --batch 1 2 4 --rounds 1)
else
    batch=${BATCH:-64}
    peers=(--batch "$batch")
    amp=(--amp float16)
    neuron=(--elements 16384 262144 4194304 33554432 --time-steps 1 4 16)
    attention=()
    training=(--arch hst-10-384 --batch "$batch" --size 224 --amp float16)
    roofline=(--batch "$batch" --copied 1024 --side 8192)
    scaling=(--arch hst-10-384 --sides 224 288 384 512 --token-sides 28 56 80 112
        --batch 8 16 32 64)
fi

bench inference peers.py "${peers[@]}" --figure "$folder/inference.png"
bench inference-amp peers.py "${peers[@]}" "${amp[@]}" --figure "$folder/inference-amp.png"
bench training-amp peers.py --train "${peers[@]}" "${amp[@]}" --figure "$folder/training-amp.png"
bench neuron neuron.py "${neuron[@]}" --figure "$folder/neuron.png"
bench neuron-half neuron.py "${neuron[@]}" --dtype float16 --figure "$folder/neuron-half.png"
bench attention_memory attention_memory.py "${attention[@]}" --figure "$folder/attention_memory.png"
bench training_memory training_memory.py "${training[@]}"
bench roofline roofline.py "${roofline[@]}" --figure "$folder/roofline.png"
bench scaling scaling.py "${scaling[@]}" --backend auto --figure "$folder/scaling.png"

if ((${#failed[@]})); then
    echo "failed: ${failed[*]}" >&2
    exit 1
fi
echo "tables, figures and JSON are in $folder"
