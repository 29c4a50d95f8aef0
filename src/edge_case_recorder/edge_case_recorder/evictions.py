"""What leaves a full spool, in which order, and the file that says what left."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from edge_case_recorder.durable import fsync_folder, write_durably

LOG = 'evictions.jsonl'
_MAX_LOG_BYTES = 1_000_000


class Candidate(NamedTuple):
    """A recorded case as eviction sees it; ids sort by time."""

    id: str
    priority: int
    is_uploaded: bool


@dataclass(frozen=True)
class Eviction:
    """One line of the log. stamp_ns: UTC; bytes: what its files took."""

    stamp_ns: int
    id: str
    priority: int
    state: str
    bytes: int
    why: str


def order(cases: Iterable[Candidate], evict_unsent: bool) -> list[str]:
    """Ids in the order in which they may go: uploaded ones by age; then, only if evict_unsent,
    the others by priority and age, and of these never the newest of the highest priority."""
    cases = list(cases)
    uploaded = sorted(case.id for case in cases if case.is_uploaded)
    if not evict_unsent:
        return uploaded
    unsent = sorted((case.priority, case.id) for case in cases if not case.is_uploaded)
    return uploaded + [case_id for _, case_id in unsent[:-1]]


class EvictionLog:
    """`<spool>/evictions.jsonl`: one line each, the newest last, at most a megabyte."""

    def __init__(self, root: Path, max_bytes: int = _MAX_LOG_BYTES) -> None:
        self._path = root / LOG
        self._max_bytes = max_bytes

    def write(self, eviction: Eviction) -> None:
        """On the disk when this returns. Raises OSError."""
        line = (json.dumps(asdict(eviction)) + '\n').encode()
        self._shorten(len(line))
        is_new = not self._path.exists()
        with open(self._path, 'ab') as file:
            if not is_new and not self._ends_whole():
                file.write(b'\n')   # a power cut left half a line: it stays alone
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            fsync_folder(self._path.parent)

    def has(self, case_id: str) -> bool:
        return any(entry.get('id') == case_id for entry in self.read())

    def read(self) -> list[dict[str, object]]:
        """What it says, the oldest first; lines that are none are left out."""
        return [entry for line in self._lines() if isinstance(entry := _entry(line), dict)]

    def _ends_whole(self) -> bool:
        data = self._path.read_bytes()
        return not data or data.endswith(b'\n')

    def _shorten(self, more: int) -> None:
        """The older half goes when the file would grow too large."""
        lines = self._lines()
        if lines and sum(map(len, lines)) + len(lines) + more > self._max_bytes:
            kept = lines[len(lines) // 2 + 1:]
            write_durably(self._path, b''.join(line + b'\n' for line in kept))

    def _lines(self) -> list[bytes]:
        try:
            return self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []


def size_of(folder: Path) -> int:
    """Bytes of the files in a case's folder."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _entry(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
