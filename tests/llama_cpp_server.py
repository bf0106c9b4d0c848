"""llama.cpp's own server in this process, for a Python that has xllamacpp: FILE NAME PORT CONTEXT."""

import signal
import sys

import xllamacpp

if __name__ == "__main__":
    file, name, port, context = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias, params.port = file, {name}, int(port)
    params.n_ctx, params.n_parallel, params.warmup = int(context), 1, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)  # answers from threads of its own
    signal.pause()
