"""One system in a process of its own, so that its memory is its own: `python -m training.worker SYSTEM FOLDER`."""

import sys
from pathlib import Path

from slm.models.allocator import restart_without_cache
from training.job import read_job
from training.record import Recorder

OURS = ("start", "ours", "padded")


def main() -> None:
    """Train the job of FOLDER; `start` draws the adapter's first values instead, which measures the model alone."""
    system, folder = sys.argv[1], Path(sys.argv[2])
    if system in OURS:
        restart_without_cache()
    job = read_job(folder)
    recorder = Recorder(folder, system, job.device)
    if system in OURS:
        from training import ours

        if system == "start":
            ours.save_start(job, folder)
        else:
            ours.train(job, folder, recorder, "shared" if system == "ours" else "none")
    else:
        from training import with_trl

        with_trl.train(job, folder, recorder, system)
    recorder.finish()


if __name__ == "__main__":
    main()
