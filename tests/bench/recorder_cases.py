"""What the cases of a load lack: every message that was sent within a window, against its bag."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mcap.reader import make_reader
from numpy.typing import NDArray
from recorder_robot import NUMBER, NUMBER_AT, TOPICS, name_of

from edge_case_recorder import manifest

# What is sent in the last moments of a window may arrive behind it, and belongs there.
_ON_ITS_WAY_NS = 100_000_000


@dataclass(frozen=True)
class Held:
    """A case against what was sent in its window.

    lost: sent in it and not in the bag. gap_ms: by how much the worst gap at an end of the window
    (from the end to the nearest message of a topic) exceeds that topic's period; at most 0 when
    both ends are complete.
    """

    sent: int
    lost: int
    gap_ms: float
    bytes: int


def sent_times(log: Path) -> list[NDArray[np.int64]]:
    """The robot's own log: for each topic when each message was sent, steady ns."""
    with np.load(log) as found:
        return [found[f'arr_{number}'] for number in range(len(TOPICS))]


def held(folder: Path, sent_ns: Sequence[NDArray[np.int64]], wall_ahead_ns: int,
         scale: float) -> Held:
    """wall_ahead_ns: the wall clock's reading minus the steady clock's."""
    window = manifest.read(folder)['window']
    start, end = window['start_ns'] - wall_ahead_ns, window['end_ns'] - wall_ahead_ns
    numbers: list[list[int]] = [[] for _ in TOPICS]
    logged: list[list[int]] = [[] for _ in TOPICS]
    place = {name_of(number): number for number in range(len(TOPICS))}
    with open(next(folder.glob('*.mcap')), 'rb') as file:
        for _, channel, message in make_reader(file).iter_messages():
            at = place.get(channel.topic)
            if at is not None:
                numbers[at].append(NUMBER.unpack_from(message.data, NUMBER_AT)[0])
                logged[at].append(message.log_time)
    sent = lost = 0
    gap_ns = -1e9
    for at, times in enumerate(sent_ns):
        wanted = np.flatnonzero((times >= start) & (times < end - _ON_ITS_WAY_NS))
        sent += len(wanted)
        lost += len(np.setdiff1d(wanted, numbers[at]))
        period_ns = 1e9 / (TOPICS[at][1] * scale)
        if logged[at]:
            ends = (min(logged[at]) - window['start_ns'], window['end_ns'] - max(logged[at]))
            gap_ns = max(gap_ns, *(gap - period_ns for gap in ends))
        else:
            gap_ns = max(gap_ns, float(end - start))
    return Held(sent, lost, gap_ns / 1e6, sum(path.stat().st_size for path in folder.iterdir()))
