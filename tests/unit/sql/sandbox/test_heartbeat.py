"""The heartbeat says what a worker does and until when it may."""

import signal
import tempfile
import time

import pytest

from slm.sql.sandbox.heartbeat import GRACE_S, PHASES, SIZE, Heartbeat


@pytest.mark.parametrize("phase", PHASES[1:])
def test_a_phase_is_seen_while_it_lasts(heartbeat, phase):
    heartbeat.start(7)
    before = time.monotonic()
    with heartbeat.phase(phase, 3.0):
        task, seen, deadline = heartbeat.read()
        assert (task, seen) == (7, phase)
        assert before + 3.0 + GRACE_S <= deadline <= time.monotonic() + 3.0 + GRACE_S
    assert heartbeat.read() == (7, "idle", 0.0)


def test_the_watchdog_reads_what_the_worker_writes():
    with tempfile.TemporaryFile() as memory:
        memory.truncate(SIZE)
        worker, watchdog = Heartbeat(memory.fileno()), Heartbeat(memory.fileno())
    assert watchdog.read() == (0, "idle", 0.0)
    worker.start(3)
    with worker.phase("gold", 1.0):
        assert watchdog.read() == worker.read()
        assert watchdog.read()[:2] == (3, "gold")
    worker.start(-1)


def test_a_phase_ends_with_an_error_too(heartbeat):
    with pytest.raises(MemoryError), heartbeat.phase("readings", 1.0):
        raise MemoryError
    assert heartbeat.read()[1:] == ("idle", 0.0)


def test_the_alarm_rings_after_the_watchdog_should_have(heartbeat):
    with heartbeat.phase("proof", 2.0):
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert time.monotonic() + left > heartbeat.read()[2] + 1.0
    heartbeat.start(-1)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_there_is_no_other_phase(heartbeat):
    with pytest.raises(KeyError), heartbeat.phase("lunch", 1.0):
        pass
