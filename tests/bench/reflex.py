"""./dev bench reflex: from a scan to its stop, beside a bare echo in Python and one in C.

Four processes over the middleware: this one sends each scan to the reflex, to the echo and to the
C echo in turn and hears the answers (reflex_driver). The robot rests, and every scan shows legs in
every field. `missed` counts the reflex's unanswered scans. `compute_us` is the reflex's own work
on the same bytes without middleware, at the row's pace (at least 200 Hz), so with caches nearly as
cold; `compute_hot_us` is the same without a pause, and `compute_clear_us` that of scans with
nothing in any field; all with COMPUTE_FIELDS field sets.
`stream_gap_ms_max` is taken with busy cores and without scans, where only the reflex's own timer
drives the stop; `watchdog_ms` with busy cores, the largest of several. `rss_mb` spans an hour with
--long, which takes two hours in all; the short form takes less than a minute.
"""

import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import c_echo
import reflex_peers as peers
from figures import distribution
from reflex_compute import Compute
from reflex_driver import Driver
from reflex_memory import Memory
from reflex_watchdog import NotMeasured, Watchdog

DOMAIN = '95'
COMPUTE_FIELDS = 4
BEAMS, RATES_HZ = (720, 1440), (40, 500)


@dataclass(frozen=True)
class _Counts:
    """How much of each is measured. A p99 needs 1,000 values, a p99.9 10,000."""

    scans: dict[int, int]           # by rate in Hz
    compute: dict[int, int]
    compute_hot: int
    stream_s: float
    sigstops: int
    kills: int
    memory_s: float


_SHORT = _Counts({40: 100, 500: 1000}, {40: 100, 500: 1000}, 2000, 10.0, 3, 1, 0.0)
_LONG = _Counts({40: 20_000, 500: 20_000}, {40: 10_000, 500: 10_000}, 20_000, 600.0, 50, 10, 3600.0)


def run(*, long: bool) -> dict[str, Any]:
    """The figures of ./dev bench reflex; those that cannot be had here are null, with a reason."""
    os.environ['ROS_DOMAIN_ID'] = DOMAIN
    counts = _LONG if long else _SHORT
    figures: dict[str, Any] = {'rows': [], 'compute_fields': COMPUTE_FIELDS}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        asked = [peers.REFLEX, peers.ECHO]
        stack.enter_context(peers.echo(folder))
        try:
            stack.enter_context(peers.c_echo(c_echo.build(), folder))
            asked.append(peers.C_ECHO)
        except c_echo.CannotBuild as error:
            figures['c_missing'] = str(error)
            print(error, file=sys.stderr)
        driver = Driver(asked, wheels=[peers.REFLEX])
        stack.callback(driver.close)
        for beams in BEAMS:
            with peers.reflex(peers.robot_file(beams, folder), folder) as reflex:
                driver.measure(beams, 100, 20)   # until it is up and warm
                process = peers.process_of(reflex)
                memory = Memory(process)
                for hogs in (False, True):
                    with peers.busy_cores(hogs):
                        figures['rows'] += _rows(driver, beams, hogs, process.pid, folder, counts)
                if beams == BEAMS[-1]:
                    figures |= _at_rest(driver, process.pid, memory, folder, counts)
    return figures


def _at_rest(driver: Driver, pid: int, memory: Memory, folder: Path,
             counts: _Counts) -> dict[str, Any]:
    """The stop's stream, the memory, and the watchdog, whose last act ends the reflex."""
    beams, rate_hz = BEAMS[-1], RATES_HZ[0]
    with Watchdog(driver, folder) as watchdog:
        with peers.busy_cores(True):
            gap_ms, commands = driver.largest_gap_ms(peers.REFLEX, counts.stream_s)
        if memory.seconds < counts.memory_s:
            driver.measure(beams, rate_hz, int((counts.memory_s - memory.seconds) * rate_hz))
        figures = {'stream_gap_ms_max': round(gap_ms, 1) if commands > 1 else None,
                   'stream_hz': round(commands / counts.stream_s, 1),
                   'rss_mb': memory.figures()}
        with peers.busy_cores(True):
            return figures | _withdrawals(watchdog, pid, folder, counts)


def _withdrawals(watchdog: Watchdog, pid: int, folder: Path, counts: _Counts) -> dict[str, Any]:
    """The largest time for each signal; the first process is killed, the others are new ones."""
    try:
        stopped = [watchdog.withdrawn_ms(pid, signal.SIGSTOP) for _ in range(counts.sigstops)]
        killed = [watchdog.withdrawn_ms(pid, signal.SIGKILL)]
        for _ in range(counts.kills - 1):
            with peers.reflex(peers.robot_file(BEAMS[-1], folder), folder) as reflex:
                watchdog.wait_for_enable()
                killed.append(watchdog.withdrawn_ms(peers.process_of(reflex).pid, signal.SIGKILL))
    except NotMeasured as error:
        print(error, file=sys.stderr)
        return {'watchdog_ms': {'kill': None, 'sigstop': None}, 'watchdog_missing': str(error)}
    return {'watchdog_ms': {'kill': round(max(killed), 1), 'sigstop': round(max(stopped), 1),
                            'kills': len(killed), 'sigstops': len(stopped)}}


def _rows(driver: Driver, beams: int, hogs: bool, pid: int, folder: Path,
          counts: _Counts) -> list[dict[str, Any]]:
    """One row for each rate."""
    files = peers.robot_file(beams, folder), peers.fields_file(COMPUTE_FIELDS, folder)
    compute, clear = Compute(*files, beams), Compute(*files, beams, person=False)
    realtime = os.sched_getscheduler(pid) == os.SCHED_FIFO
    found = []
    for rate_hz in RATES_HZ:
        answers, missed = driver.measure(beams, rate_hz, counts.scans[rate_hz])
        paced = compute.measure(counts.compute[rate_hz], 1 / max(rate_hz, 200))
        found.append({
            'rate_hz': rate_hz, 'beams': beams, 'rt': realtime, 'hogs': hogs,
            'stop_us': distribution(answers[peers.REFLEX]),
            'floor_us': distribution(answers[peers.ECHO]),
            'c_us': distribution(answers[peers.C_ECHO]) if peers.C_ECHO in answers else None,
            'compute_us': distribution(paced),
            'compute_hot_us': distribution(compute.measure(counts.compute_hot)),
            'compute_clear_us': distribution(clear.measure(counts.compute_hot)),
            'missed': missed[peers.REFLEX]})
    return found
