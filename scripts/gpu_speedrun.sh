#!/usr/bin/env bash
# What one GPU makes of the training engine, in commands of at most ten minutes each:
#
#   scripts/gpu_speedrun.sh compare MODEL      our engine beside TRL, and TRL with Liger, in bfloat16
#   scripts/gpu_speedrun.sh throughput SHAPE   tokens/s and MFU of LoRA on random weights of a published shape
#   scripts/gpu_speedrun.sh spider MODEL       one epoch of all of Spider train, then execution accuracy on dev
#   scripts/gpu_speedrun.sh all                everything, one after the other
#
# MODEL: smollm2-135m or gemma3-270m (`slm models pull MODEL` first); SHAPE: phi3-mini, gemma2-2b or gemma3-1b.
# Exit code 75 of `spider` says that the time was up and the work is saved: the same command continues it.
# Results: benchmarks/results/GPU-NAME/*.json. Needs torch with transformers 5, peft and accelerate and what slm itself
# needs; what more there is (trl with datasets, liger_kernel) is measured, and what is missing is named and left out.
# Spider is looked for in SLM_DATA.
#
# Environment: PYTHON (python3), RESULTS and RUNS (folders), LIMIT_S (570, seconds of a command). To try it without a
# GPU: DEVICE=cpu SIZE=tiny, which takes tiny random models and the embedded suite.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
DEVICE=${DEVICE:-cuda}
SIZE=${SIZE:-full}
LIMIT_S=${LIMIT_S:-570}
RUNS=${RUNS:-runs}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" TOKENIZERS_PARALLELISM=false
AGAIN=75

usage() {
    sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
}

# The name of the GPU as a folder name.
device_name() {
    [ "$DEVICE" = cpu ] && { echo cpu; return; }
    "$PYTHON" -c 'import torch; print(torch.cuda.get_device_name().lower().replace(" ", "-"))' ||
        { echo "no GPU that torch can use; DEVICE=cpu SIZE=tiny tries this script without one" >&2; return 1; }
}

# A command within the limit: 124 if the time was up. SIGTERM lets slm save its work.
limited() {
    timeout --signal=TERM --kill-after=30 "$LIMIT_S" "$@"
}

# MODEL as the programs take it: itself, or a tiny random model of its architecture.
model() {
    [ "$SIZE" = tiny ] || { echo "$1"; return; }
    local family=llama folder="$RUNS/tiny-$1"
    [ "$1" = gemma3-270m ] && family=gemma3
    PYTHONPATH="tests:$PYTHONPATH" "$PYTHON" -c '
import sys; from pathlib import Path; from tiny import make_tiny_model
make_tiny_model(sys.argv[1], Path(sys.argv[2]))' "$family" "$folder" >&2
    echo "$folder"
}

compare() {
    local options=(--data spider:train --steps 30 --batch-tokens 4096 --dtype bfloat16 --systems all)
    [ "$SIZE" = tiny ] && options=(--data roastery:train --steps 2 --batch-tokens 1024 --systems ours,padded)
    limited "$PYTHON" benchmarks/train.py --model "$(model "$1")" --device "$DEVICE" "${options[@]}" \
        --examples-per-step all --logs "$RESULTS/compare-$1" --out "$RESULTS/compare-$1.json"
}

throughput() {
    local options=(--dtype bfloat16 --batch-tokens 4096,8192,16384)
    [ "$SIZE" = tiny ] && options=(--dtype float32 --batch-tokens 1024 --steps 2 --tiny)
    limited "$PYTHON" benchmarks/throughput.py "$1" --device "$DEVICE" "${options[@]}" \
        --out "$RESULTS/throughput-$1.json"
}

spider() {
    local recipe=smollm2-135m-spider options=(data.limit=null evaluate.limit=null model.dtype=bfloat16)
    options+=(train.batch_tokens=4096 generate.batch_size=64)
    [ "$1" = gemma3-270m ] && recipe=gemma3-270m-spider
    [ "$SIZE" = tiny ] && options=(data.train=roastery:train evaluate.suite=roastery:test data.limit=24 \
        evaluate.limit=4 train.max_steps=2 train.checkpoint_every=1 generate.max_new_tokens=8)
    local code=0
    limited "$PYTHON" -m slm.cli run "$recipe" "model.name=$(model "$1")" "${options[@]}" --json \
        --runs "$RUNS" --results "$RUNS/speedrun-results" --out "$RUNS/speedrun.md" >"$RUNS/spider-$1.json" || code=$?
    if [ "$code" = 124 ] || [ "$code" = 137 ]; then
        echo "the time is up: the same command continues" >&2
        return $AGAIN
    fi
    [ "$code" = 0 ] || return "$code"
    mv "$RUNS/spider-$1.json" "$RESULTS/spider-$1.json"
}

# A command until it is done.
until_done() {
    local code=$AGAIN
    while [ "$code" = $AGAIN ]; do
        code=0
        "./scripts/${0##*/}" "$@" || code=$?
    done
    return "$code"
}

[ $# -ge 1 ] || usage
RESULTS=${RESULTS:-benchmarks/results/$(device_name)}
export PYTHON DEVICE SIZE LIMIT_S RUNS RESULTS
mkdir -p "$RESULTS" "$RUNS"
case "$1 ${2:-}" in
    "compare smollm2-135m" | "compare gemma3-270m") compare "$2" ;;
    "spider smollm2-135m" | "spider gemma3-270m") spider "$2" ;;
    "throughput phi3-mini" | "throughput gemma2-2b" | "throughput gemma3-1b") throughput "$2" ;;
    "all ")
        for name in smollm2-135m gemma3-270m; do "./scripts/${0##*/}" compare "$name"; done
        for name in gemma3-1b gemma2-2b phi3-mini; do "./scripts/${0##*/}" throughput "$name"; done
        for name in smollm2-135m gemma3-270m; do until_done spider "$name"; done
        ;;
    *) usage ;;
esac
