"""./dev bench policy, the seams: ours beside LeRobot's four averages on identical traces.

Every client gets the same chunks with the same delays (policy_seam_traces) and sends commands to
six joints (policy_seam_clients). Pure and in virtual time; the only clock measures our own work.

    seam_step   rad: how far a joint's command is from where its own last rate would have carried
                it (second difference), the largest joint, within a row after a new chunk is taken
    seam_jerk   rad/s^3: the largest third difference of a joint's commands from the taking of a
                chunk to the next
    seam_error  rad: the command's distance from the plan without delay and error, the largest
                joint, at every output
    seam_rate   rad/s: the fastest that a joint is told to go, from the taking of a chunk to the
                next. The joints can do 2 rad/s: a command may be near the plan, and the arm not

These are taken at 30 Hz, the rate of the rows and LeRobot's own, over all traces and delays.
`ideal` is the plan itself where it is smooth, the floor. LeRobot's averages know nothing of the
joints' limits; `ours_unlimited` is our queue without them, at its default blending time.
`seam_200hz` has the same at an output rate of 200 Hz, where LeRobot's commands are stairs, and
beside them the averages with straight lines between their actions, which LeRobot's asynchronous
client does not draw. `seam_cases` has every trace for itself; `seam_step_us` is what an output
costs us, takeovers included. With SPINAL_REPORT=DIR a picture of three traces is written there.
"""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from figures import distribution
from numpy.typing import NDArray
from policy_seam_clients import PEERS, Drive, ours, peer, ticks
from policy_seam_traces import DELAYS, NAMES, ROW_S, Trace, make

Array = NDArray[np.float64]
KEYS = ('step', 'jerk', 'error', 'rate')
OURS, IDEAL = 'ours', 'ideal'
JUMPING = 'two_plans'       # its ideal jumps from one way to the other: that is no floor
EVERY = (6, 25)             # rows between observations: 5 Hz, and LeRobot's default threshold
_SECONDS, _SEEDS, _SEEDS_LONG = 50.0, 1, 20
_START_S = 2.0              # both begin with a first chunk at once; the beginning is no seam
_SIGNIFICANT = 3
Client = Callable[[Trace, int], Drive]


@dataclass(frozen=True, eq=False)
class Measured:
    """Of one drive: step, jerk and rate of each seam, the error of each output."""
    step: Array
    jerk: Array
    error: Array
    rate: Array


def measured(drive: Drive, ideal: Array) -> Measured:
    """The figures of a drive beside the ideal (N, JOINTS) at its times."""
    rate_hz = 1 / (drive.times[1] - drive.times[0])
    change = np.diff(drive.commands, axis=0, prepend=drive.commands[:1])
    bend = np.abs(np.diff(change, axis=0, prepend=change[:1])).max(axis=1)
    rate = np.abs(change).max(axis=1) * rate_hz
    # A third difference at an output needs three before it.
    third = np.diff(drive.commands, n=3, axis=0)
    jerk = np.concatenate((np.zeros(3), np.abs(third).max(axis=1))) * rate_hz ** 3
    start = round(_START_S * rate_hz)
    seams = drive.seams[drive.seams >= start]
    window = round(ROW_S * rate_hz)
    ends = np.append(seams[1:], len(drive.times))
    return Measured(
        np.array([bend[seam:seam + window].max() for seam in seams]),
        np.array([jerk[seam:end].max() for seam, end in zip(seams, ends, strict=True)]),
        np.abs(drive.commands - ideal).max(axis=1)[start:],
        np.array([rate[seam:end].max() for seam, end in zip(seams, ends, strict=True)]))


def traces(long: bool) -> list[Trace]:
    return [make(name, delay, every, _SECONDS, seed)
            for seed in range(_SEEDS_LONG if long else _SEEDS)
            for name in NAMES for delay in DELAYS for every in EVERY]


def run(*, long: bool) -> dict[str, Any]:
    """The figures described above; about 12 s, with `long` four minutes."""
    clients: dict[str, Client] = {OURS: ours, 'ours_unlimited': partial(ours, limited=False)}
    clients |= {name: partial(peer, method=name) for name in PEERS}
    lines = {f'{name}_interpolated': partial(peer, method=name, interpolated=True)
             for name in PEERS}
    every = traces(long)
    native, fast = _all(clients, every, 30), _all(clients | lines, every, 200)
    figures: dict[str, Any] = {f'seam_{key}': value for key, value in _table(native, every).items()}
    figures['seam_200hz'] = _table(fast, every)
    figures['seam_cases'] = [
        {'trace': trace.name, 'delay': trace.delay, 'every_rows': trace.every, 'output_hz': rate_hz}
        | {name: {key: _short(getattr(found[number], key)) for key in KEYS}
           for name, found in table.items() if trace.name != JUMPING or name != IDEAL}
        for rate_hz, table in ((30, native), (200, fast)) for number, trace in enumerate(every)]
    figures['seam_step_us'] = distribution(
        ours(every[0], 200, clock_ns=time.perf_counter_ns).took_us.tolist())
    folder = os.environ.get('SPINAL_REPORT')
    if folder:
        import policy_seam_chart
        figures['seam_chart'] = str(policy_seam_chart.write(Path(folder), clients))
    return figures


def _all(clients: dict[str, Client], every: list[Trace],
         rate_hz: int) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {name: [] for name in (*clients, IDEAL)}
    for trace in every:
        ideal = trace.ideal(ticks(trace, rate_hz))
        drives = {name: client(trace, rate_hz) for name, client in clients.items()}
        # The plan itself with our seams: what no client can be better than.
        drives[IDEAL] = replace(drives[OURS], commands=ideal)
        for name, drive in drives.items():
            found[name].append(measured(drive, ideal))
    return found


def _table(table: dict[str, list[Measured]], every: list[Trace]) -> dict[str, dict[str, Any]]:
    smooth = [number for number, trace in enumerate(every) if trace.name != JUMPING]
    table = table | {IDEAL: [table[IDEAL][number] for number in smooth]}
    return {key: {name: _short(_joined(found, key)) for name, found in table.items()
                  if (name, key) != (IDEAL, 'error')}
            for key in KEYS}


def _joined(found: Iterable[Measured], key: str) -> Array:
    return np.concatenate([getattr(each, key) for each in found])


def _short(values: Array) -> dict[str, float | int | None]:
    """p99 and max; a p99 of fewer than 1,000 values is null (shared/bench.md's rule)."""
    return {'p99': _rounded(np.quantile(values, 0.99)) if len(values) >= 1000 else None,
            'max': _rounded(values.max()), 'n': len(values)}


def _rounded(value: float) -> float:
    return float(f'{value:.{_SIGNIFICANT}g}')
