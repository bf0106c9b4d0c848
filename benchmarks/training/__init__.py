"""The parts of `benchmarks/train.py`: a plan of steps, a worker process for each system, and the report."""
