#!/bin/sh
# Makes a virtual environment for each peer of benchmarks/judge.py, because what they pin clashes.
# benchmarks/peers.sh FOLDER
set -eu
folder=${1:?the folder for the virtual environments}
install() {
    python3 -m venv "$folder/$1"
    "$folder/$1/bin/python" -m pip install --quiet "$1==$2"
}
install llama-text2sql-eval 0.0.4
install nl2sqlevaluator 1.2.4
install text2sql-eval-toolkit 1.6.0
install attestql 0.4.0
