"""One load: the recorder and the subscriber that only counts, in turn, beside the same robot.

A visit of the counting subscriber, then one of the recorder (waiting, then with a case open all
the time), and again. Only one of the two is subscribed at a time; both processes stay. Of the
recorder's CPU time with a case open everything counts: from the mark, over the seconds before it
(which are written then), until the finished case is announced.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recorder_cases import Held, held, sent_times
from recorder_rig import Peer, Recorder
from recorder_robot import MB_PER_S, TOPICS, name_of

from edge_case_recorder import manifest

BEFORE_S, AFTER_S, LAG_S = 1.0, 3.0, 3.0
# So much more than what arrives in the time that the ring keeps.
_ROOM = 1.2
_APART_S = 1.0


@dataclass(frozen=True)
class Plan:
    """Seconds of each part, and how often the two take turns. marks: cases of each visit."""

    turns: int = 2
    settle_s: float = 0.7
    floor_s: float = 1.5
    waiting_s: float = 1.0
    marks: int = 1


@dataclass
class _Sums:
    """CPU seconds and seconds."""

    cpu_s: float = 0.0
    seconds: float = 0.0

    def add(self, found: tuple[float, float]) -> None:
        self.cpu_s += found[0]
        self.seconds += found[1]

    @property
    def share(self) -> float:
        return round(self.cpu_s / self.seconds, 3)


@dataclass
class Row:
    """All that was found under one load; `entry` is its row."""

    scale: float
    floor: _Sums = field(default_factory=_Sums)
    waiting: _Sums = field(default_factory=_Sums)
    recording: _Sums = field(default_factory=_Sums)
    floor_received: int = 0
    floor_lost: int = 0
    finish_s: list[float] = field(default_factory=list)
    cases: list[Held] = field(default_factory=list)
    pair: list[Held] = field(default_factory=list)
    idle_mb: float = 0.0
    peak_mb: float = 0.0
    recorded: list[str] = field(default_factory=list)

    def entry(self) -> dict[str, Any]:
        budget_mb = sum(budgets_mb(self.scale).values())
        sent = sum(case.sent for case in self.cases + self.pair)
        lost = sum(case.lost for case in self.cases + self.pair)
        return {
            'mb_per_s': round(MB_PER_S * self.scale, 1), 'topics': len(TOPICS),
            'sent': sent, 'lost': lost, 'lost_share': round(lost / max(sent, 1), 6),
            'floor_lost_share': round(
                self.floor_lost / max(self.floor_received + self.floor_lost, 1), 6),
            'cpu_share': self.recording.share, 'waiting_cpu_share': self.waiting.share,
            'floor_cpu_share': self.floor.share,
            'cpu_ratio': round(self.recording.share / max(self.floor.share, 1e-3), 2),
            'rss_mb': round(self.peak_mb), 'idle_rss_mb': round(self.idle_mb),
            'budget_mb': round(budget_mb),
            'memory_ratio': round((self.peak_mb - self.idle_mb) / budget_mb, 3)}


def budgets_mb(scale: float) -> dict[str, float]:
    """Megabytes of each topic's ring: what comes in the time that it keeps, and a little more."""
    kept_s = (BEFORE_S + LAG_S) * _ROOM
    return {name_of(number): round(max(size * rate * scale * kept_s / 1e6, 0.1), 2)
            for number, (size, rate) in enumerate(TOPICS)}


def parameters(scale: float, **more: Any) -> dict[str, Any]:
    """Of the node; scale: of the load that its memory is for."""
    entries = ','.join(f'"{name}={size}"' for name, size in budgets_mb(scale).items())
    return {'topics': '["/load/*"]', 'budgets': f'[{entries}]', 'before_s': BEFORE_S,
            'after_s': AFTER_S, 'lag_s': LAG_S} | more


def measure(scale: float, folder: Path, plan: Plan, *, pair: bool = False,
            settings: Mapping[str, Any] | None = None) -> Row:
    """Raises RigFailed. pair: also two triggers 1 s apart, in the end, outside the CPU's share."""
    row, log = Row(scale), folder / f'sent_{scale:g}.npz'
    marked: list[str] = []
    given = parameters(scale, **(settings or {}))
    with Recorder(folder / f'recorder_{scale:g}', given) as recorder:
        row.idle_mb = recorder.usage.rss_mb
        recorder.usage.forget_peak()
        with Peer('count') as counter, Peer('publish', str(scale), str(log)) as robot:
            for _ in range(plan.turns):
                _count(counter, row, plan)
                with _active(recorder, plan):
                    recorder.usage.begin()
                    time.sleep(plan.waiting_s)
                    row.waiting.add(recorder.usage.share())
                    recorder.usage.begin()
                    for _ in range(plan.marks):
                        marked.append(recorder.mark())
                        _wait_for(recorder, marked[-1], row)
                    row.recording.add(recorder.usage.share())
            if pair:
                with _active(recorder, plan):
                    time.sleep(BEFORE_S)
                    pair_ids = [recorder.mark()]
                    time.sleep(_APART_S)
                    pair_ids.append(recorder.mark())
                    for case_id in pair_ids:
                        _wait_for(recorder, case_id, row)
            row.peak_mb = recorder.usage.peak_mb()
            robot.end()
    sent_ns = sent_times(log)
    ahead_ns = time.time_ns() - time.monotonic_ns()
    row.cases = [held(recorder.spool / name, sent_ns, ahead_ns, scale) for name in marked]
    if pair:
        row.pair = [held(recorder.spool / name, sent_ns, ahead_ns, scale) for name in pair_ids]
    return row


def _count(counter: Peer, row: Row, plan: Plan) -> None:
    counter.tell('on')
    time.sleep(plan.settle_s)
    counter.usage.begin()
    time.sleep(plan.floor_s)
    row.floor.add(counter.usage.share())
    counter.tell('off')
    found = counter.answer()
    row.floor_received += found['received']
    row.floor_lost += found['missing']


@contextmanager
def _active(recorder: Recorder, plan: Plan) -> Iterator[None]:
    """Subscribed, for as long as the block runs; the window before a mark has room from here."""
    recorder.activate()
    recorder.wait_until_it_hears([name_of(number) for number in range(len(TOPICS))])
    time.sleep(plan.settle_s)
    yield
    recorder.deactivate()


def _wait_for(recorder: Recorder, case_id: str, row: Row) -> None:
    announced_s = recorder.wait_for(case_id)
    end_ns = manifest.read(recorder.spool / case_id)['window']['end_ns']
    row.finish_s.append(announced_s - end_ns / 1e9)


def main() -> None:
    """One row by itself, for trying settings: python recorder_rows.py SCALE [NAME=VALUE ..]"""
    settings = dict(part.split('=', 1) for part in sys.argv[2:])
    with TemporaryDirectory() as made:
        row = measure(float(sys.argv[1]), Path(made), Plan(), settings=settings)
    print(json.dumps(row.entry() | {'finish_s': row.finish_s}))


if __name__ == '__main__':
    main()
