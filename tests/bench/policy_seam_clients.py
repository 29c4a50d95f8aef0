"""The clients of the seams' benchmark: this repository's queue, and LeRobot's asynchronous client.

The peers are rendered from the behaviour of huggingface/lerobot, src/lerobot/async_inference
(robot_client.py, configs.py; commit 7427f318, 2026-08-23): an action belongs to a timestep, counted
by the actions that were performed. Where a new chunk and the queue have an action for the same
timestep they are combined with fixed weights; timesteps that are past are skipped; the result
replaces the queue. The control loop performs one action a row, so between rows the robot's command
stands still. An empty queue sends nothing: the robot stays where it is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from policy_seam_traces import HORIZON, JOINTS, ROW_S, Delivery, Trace

from policy_client.chunks import ActionQueue, QueueSettings
from policy_client.motion import Limits

Array = NDArray[np.float64]
# Share of the queue's action, the rest is the new chunk's: the registry in configs.py.
OLD_SHARE = {'weighted_average': 0.3, 'latest_only': 0.0, 'average': 0.5, 'conservative': 0.7}
PEERS = tuple(OLD_SHARE)
# config/robots/amr_so100.yaml, of its slower joints: rad, rad/s, rad/s^2, rad/s^3.
REACH, RATE, RATE2, RATE3 = 3.0, 2.0, 6.0, 80.0
_NO_LIMIT = 1e9
BLEND_NS = 150_000_000    # policy_client's default


@dataclass(frozen=True, eq=False)
class Drive:
    """What a client sent.

    Attributes:
        times: (N,) s, evenly spaced.
        commands: (N, JOINTS) rad.
        seams: indices of the first output after each new chunk was taken.
        took_us: (N,) of computing each output, the takeover included; empty for peers.
    """
    times: Array
    commands: Array
    seams: NDArray[np.int64]
    took_us: Array


def ticks(trace: Trace, rate_hz: int) -> Array:
    """The times of the outputs, s."""
    return np.arange(round(trace.seconds * rate_hz)) / rate_hz


def ours(trace: Trace, rate_hz: int, clock_ns: Callable[[], int] | None = None, *,
         limited: bool = True) -> Drive:
    """The repository's queue at an output rate; clock_ns measures its work.

    limited: False takes the joints' limits away, for a comparison with peers that know of none:
    then a seam lasts BLEND_NS, however large the step is.
    """
    most = (RATE, RATE2, RATE3) if limited else (_NO_LIMIT,) * 3
    limits = Limits.of([(-REACH, REACH, *most, True)] * JOINTS)
    queue = ActionQueue(QueueSettings(round(ROW_S * 1e9), round(HORIZON * ROW_S * 1e9), BLEND_NS,
                                      limits), 'bench')
    queue.found(np.zeros(JOINTS))
    events = sorted([(round(each.observed_row * ROW_S * 1e9), 0, number)
                     for number, each in enumerate(trace.deliveries)]
                    + [(round(each.arrives_s * 1e9), 1, number)
                       for number, each in enumerate(trace.deliveries)])
    times = ticks(trace, rate_hz)
    commands, seams, took = np.empty((len(times), JOINTS)), [], []
    asked, at = {}, 0
    for index, time_s in enumerate(times):
        now_ns = round(time_s * 1e9)
        before = clock_ns() if clock_ns else 0
        while at < len(events) and events[at][0] <= now_ns:
            when_ns, arrived, number = events[at]
            at += 1
            if not arrived:
                asked[number] = queue.issue(when_ns, when_ns)
            else:
                ticket = queue.close(asked.pop(number).request_id)
                queue.adopt(ticket, trace.deliveries[number].rows, 'bench', when_ns)
                seams.append(index)
        commands[index] = queue.step(now_ns).action
        if clock_ns:
            took.append((clock_ns() - before) / 1e3)
    return Drive(times, commands, np.unique(seams), np.array(took))


class TimestepQueue:
    """LeRobot's queue: actions by timestep, combined where chunks overlap."""

    def __init__(self, old_share: float) -> None:
        self._old_share = old_share
        self._queue: dict[int, Array] = {}
        self.performed = -1

    def take(self, first: int, rows: Array) -> None:
        """A chunk whose row 0 is for the timestep `first`."""
        combined = {}
        for timestep, row in enumerate(rows, first):
            if timestep <= self.performed:
                continue
            old = self._queue.get(timestep)
            combined[timestep] = row if old is None else (
                self._old_share * old + (1 - self._old_share) * row)
        self._queue = combined

    def perform(self) -> Array | None:
        """The next action; None when there is none."""
        if not self._queue:
            return None
        self.performed = next(iter(self._queue))
        return self._queue.pop(self.performed)


def peer(trace: Trace, rate_hz: int, method: str, *, interpolated: bool = False) -> Drive:
    """LeRobot's client with one of its averages.

    interpolated: a straight line from action to action, one row late, instead of stairs. LeRobot's
    asynchronous client does not do that; it is the best that could be asked of it at a higher rate.
    """
    queue = TimestepQueue(OLD_SHARE[method])
    count = round(trace.seconds / ROW_S)
    performed = np.zeros((count, JOINTS))
    waiting: list[Delivery] = list(trace.deliveries)
    timestep_at: dict[int, int] = {}
    taken = []
    for row in range(count):
        while waiting and waiting[0].arrives_s <= row * ROW_S + 1e-9:
            chunk = waiting.pop(0)
            queue.take(timestep_at.get(chunk.observed_row, 0), chunk.rows)
            taken.append(row)
        action = queue.perform()
        performed[row] = performed[row - 1] if action is None else action
        timestep_at[row] = queue.performed  # the observation is taken after the action
    times = ticks(trace, rate_hz)
    if interpolated:
        grid = np.arange(count) * ROW_S
        commands = np.stack([np.interp(times - ROW_S, grid, column)
                             for column in performed.T], axis=1)
        taken = [row + 1 for row in taken]
    else:
        commands = performed[np.floor(times / ROW_S + 1e-9).astype(int).clip(0, count - 1)]
    first = np.searchsorted(times, np.array(taken) * ROW_S - 1e-9)
    return Drive(times, commands, np.unique(first[first < len(times)]), np.empty(0))
