"""What became of a case, and what a robot's policy came from: a ledger that is only added to.

One JSON line a thing: its kind, id and digest, and what it was made of. Each line carries the
digest of the line before, so a line that was changed, left out or put in is seen.

    case -> dataset -> run -> gate -> release -> robots
"""

import fcntl
import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import CatalogueError

SCHEMA_VERSION = 1
KINDS = ('case', 'dataset', 'run', 'gate', 'release', 'robot')
_ID = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}')
_SHA256 = re.compile(r'([0-9a-f]{64})?')
_FIRST = '0' * 64
Key = tuple[str, str]


@dataclass(frozen=True)
class Thing:
    """kind: one of KINDS. sha256: of the thing itself (manifest, files, record), or empty for a
    robot. parents: (kind, id) of what it was made of. who: whose doing; when: UTC, ISO 8601."""

    kind: str
    id: str
    sha256: str
    parents: tuple[Key, ...]
    who: str
    when: str


class Ledger:
    """One file. Many may add at once; each line is there whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, thing: Thing) -> bool:
        """False where exactly this is there already; raises CatalogueError.

        What has another digest than the same thing had before is refused, and so is a parent that
        nobody has added. A thing may be added again with more parents: a robot that got another
        release.
        """
        _check(thing)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path, 'a+b') as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            things, last = _read(file, self._path)
            before = [each for each in things if (each.kind, each.id) == (thing.kind, thing.id)]
            if any(each.sha256 != thing.sha256 for each in before):
                raise CatalogueError(f'{thing.kind} {thing.id}: has another digest in the ledger')
            if any(each.parents == thing.parents for each in before):
                return False
            known = {(each.kind, each.id) for each in things}
            for kind, name in thing.parents:
                if (kind, name) not in known:
                    raise CatalogueError(f'{thing.kind} {thing.id}: its {kind} {name} is not in '
                                         'the ledger')
            file.write(_line(thing, last))
            file.flush()
            os.fsync(file.fileno())
        return True

    def things(self) -> list[Thing]:
        """In the order of their adding; raises CatalogueError for a ledger that was changed."""
        try:
            with open(self._path, 'rb') as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                return _read(file, self._path)[0]
        except FileNotFoundError:
            return []

    def sources(self, kind: str, name: str) -> list[Key]:
        """All that it was made of, nearest first; raises CatalogueError for an unknown thing."""
        return self._reached((kind, name), _parents(self.things()))

    def results(self, kind: str, name: str) -> list[Key]:
        """All that was made of it, nearest first; raises CatalogueError for an unknown thing."""
        children: dict[Key, list[Key]] = defaultdict(list)
        for child, parents in _parents(self.things()).items():
            children[child] += []
            for parent in parents:
                children[parent].append(child)
        return self._reached((kind, name), children)

    def _reached(self, start: Key, edges: dict[Key, list[Key]]) -> list[Key]:
        if start not in edges:
            raise CatalogueError(f'{start[0]} {start[1]}: is not in the ledger')
        found, wave = [start], [start]
        while wave:
            wave = sorted({after for each in wave for after in edges.get(each, [])}
                          - set(found))
            found += wave
        return found[1:]


def of_case(row: dict[str, Any], who: str, when: str) -> Thing:
    """A case as the index has it."""
    return Thing('case', row['case_id'], row['manifest_sha256'], (), who, when)


def of_dataset(name: str, sha256: str, cases: Iterable[str], who: str, when: str) -> Thing:
    return Thing('dataset', name, sha256, tuple(('case', each) for each in sorted(cases)), who,
                 when)


def _parents(things: Iterable[Thing]) -> dict[Key, list[Key]]:
    found: dict[Key, list[Key]] = {}
    for thing in things:
        known = found.setdefault((thing.kind, thing.id), [])
        known += [parent for parent in thing.parents if parent not in known]
    return found


def _check(thing: Thing) -> None:
    if thing.kind not in KINDS:
        raise CatalogueError(f'kind {thing.kind!r}: must be one of {", ".join(KINDS)}')
    for name in (thing.id, *(parent for _, parent in thing.parents)):
        if not _ID.fullmatch(name):
            raise CatalogueError(f'{thing.kind} {name[:80]!r}: is no id')
    if not _SHA256.fullmatch(thing.sha256) or (not thing.sha256 and thing.kind != 'robot'):
        raise CatalogueError(f'{thing.kind} {thing.id}: sha256 {thing.sha256[:80]!r} is none')
    for kind, _ in thing.parents:
        if kind not in KINDS or KINDS.index(kind) > KINDS.index(thing.kind):
            raise CatalogueError(f'{thing.kind} {thing.id}: is not made of a {kind}')


def _line(thing: Thing, last: str) -> bytes:
    content = {'schema_version': SCHEMA_VERSION, 'before': last, 'kind': thing.kind,
               'id': thing.id, 'sha256': thing.sha256, 'who': thing.who, 'when': thing.when,
               'parents': [list(parent) for parent in thing.parents]}
    return (json.dumps(content, sort_keys=True, separators=(',', ':')) + '\n').encode()


def _read(file: Any, path: Path) -> tuple[list[Thing], str]:
    """(things, digest of the last line). A torn last line, as a crash leaves it, is refused."""
    file.seek(0)
    things, last = [], _FIRST
    for number, line in enumerate(_lines(file), 1):
        try:
            content = json.loads(line)
            thing = Thing(content['kind'], content['id'], content['sha256'],
                          tuple((str(kind), str(name)) for kind, name in content['parents']),
                          content['who'], content['when'])
            if content['schema_version'] != SCHEMA_VERSION or not line.endswith(b'\n'):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise CatalogueError(f'{path}: line {number} is no entry of a ledger') from None
        if content['before'] != last:
            raise CatalogueError(f'{path}: line {number} does not follow the one before it: '
                                 'something was changed, left out or put in')
        last = hashlib.sha256(line).hexdigest()
        things.append(thing)
    return things, last


def _lines(file: Any) -> Iterator[bytes]:
    yield from file
