"""The parts of `benchmarks/bench.py`: a reference server that keeps the truth, our client, and the errors."""
