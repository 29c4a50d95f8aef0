"""What the agent remembers over a power cut: one JSON file, replaced as a whole."""

import dataclasses
import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .robot import Counts

_SCHEMA_VERSION = 1



@dataclass
class Totals:
    """Of one assignment with one release; acked: what the control plane has confirmed."""
    exposure_ms: int = 0
    e_stops: int = 0
    interventions: int = 0
    acked: list[int] = field(default_factory=lambda: [-1, -1, -1])

    @property
    def values(self) -> list[int]:
        return [self.exposure_ms, self.e_stops, self.interventions]


@dataclass
class Memory:
    """life: of the counters; a lost memory begins a new one. Releases are digests; an empty one is
    the file that the robot was delivered with. held_*: a rollback on the robot itself."""
    life: str = field(default_factory=lambda: secrets.token_hex(16))
    sequence: int = 0
    revision: int = 0
    desired: str = ''
    assignment: str = 'fleet'
    active: str = ''
    fallback: str = ''
    held_by: str = ''
    held_release: str = ''
    failed_release: str = ''
    failure: str = ''
    attempts: int = 0
    seen: Counts | None = None
    totals: dict[tuple[str, str], Totals] = field(default_factory=dict)

    def add(self, counts: Counts) -> None:
        """Book what was counted since the last call under the present assignment and release."""
        before = self.seen
        if before is None or before.since != counts.since:
            before = Counts(counts.since, 0, 0, 0)
        into = self.totals.setdefault((self.assignment, self.active), Totals())
        into.exposure_ms += max(0, counts.driving_ms - before.driving_ms)
        into.e_stops += max(0, counts.e_stops - before.e_stops)
        into.interventions += max(0, counts.interventions - before.interventions)
        self.seen = counts

    def forget_confirmed(self) -> None:
        """Totals that the control plane has, and that will not grow any more."""
        present = (self.assignment, self.active)
        self.totals = {key: totals for key, totals in self.totals.items()
                       if key == present or (key[1] and totals.acked != totals.values)}


def load(path: Path) -> Memory | None:
    """None where there is none, or it is damaged: then a new life of the counters begins."""
    try:
        content = json.loads(path.read_bytes())
        if content.pop('schema_version') != _SCHEMA_VERSION:
            return None
        seen, totals = content.pop('seen'), content.pop('totals')
        return Memory(**content, seen=Counts(**seen) if seen else None, totals={
            (assignment, release): Totals(**values) for assignment, release, values in totals})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def save(memory: Memory, path: Path) -> None:
    content: dict[str, Any] = {
        name: getattr(memory, name) for name in (each.name for each in dataclasses.fields(memory))
        if name not in ('seen', 'totals')}
    content['schema_version'] = _SCHEMA_VERSION
    content['seen'] = dataclasses.asdict(memory.seen) if memory.seen else None
    content['totals'] = [[*key, dataclasses.asdict(totals)]
                         for key, totals in sorted(memory.totals.items())]
    beside = path.with_name(f'.{path.name}.new')
    with open(beside, 'w') as stream:
        json.dump(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(beside, path)
