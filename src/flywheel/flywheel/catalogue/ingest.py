"""From a bucket to the index: only what is new, in any order, as often as one likes."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import batched
from typing import Any

import pyarrow as pa

from .errors import CatalogueError
from .index import CASE_TABLE, REFUSED, REFUSED_TABLE, Index
from .objects import GcsObjects, Listed, Objects
from .rows import CASES, row

# Rows that are held before they are written; more files otherwise, and less memory.
BATCH = 50_000
_READERS = 16
_AHEAD = 256


@dataclass
class Ingested:
    """known: were in the index already. refused: folder -> why, of this time."""

    listed: int = 0
    added: int = 0
    known: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def ingest(objects: Objects, index: Index, since: str = '',
           progress: Callable[[int], None] | None = None) -> Ingested:
    """Add what is not in the index yet. Raises CatalogueError.

    since: look only at cases of this date (UTC, `2026-11-24`) and later; a robot that was offline
    for long uploads old ones, so look at everything now and then. A manifest that is refused is
    not read again before its object changes. One that was added and then replaced by another
    object is refused: a case is written once.
    """
    done = Ingested()
    with index.writing():
        cases = _known(index, CASE_TABLE)
        refused = _known(index, REFUSED_TABLE)
        new = _new(objects.manifests(since), cases, refused, done)
        for part in batched(new, BATCH):
            _add(objects, index, part, cases, done)
            if progress:
                progress(done.listed)
    return done


def _known(index: Index, table: str) -> dict[str, str]:
    """Folder -> generation."""
    found = index.read(table, ('folder', 'generation'))
    if found is None:
        return {}
    return dict(zip(found['folder'].to_pylist(), found['generation'].to_pylist(), strict=True))


def _new(listed: Iterable[Listed], cases: dict[str, str], refused: dict[str, str],
         done: Ingested) -> Iterator[Listed]:
    for each in listed:
        done.listed += 1
        if each.generation in (cases.get(each.folder), refused.get(each.folder)):
            done.known += 1
        else:
            yield each


def _add(objects: Objects, index: Index, part: Iterable[Listed], cases: dict[str, str],
         done: Ingested) -> None:
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    no: list[dict[str, str]] = []
    for each, data in _read(objects, part):
        try:
            if isinstance(data, CatalogueError):
                raise data
            if each.folder in cases:
                raise CatalogueError(f'{each.folder}: was replaced by another object after it was '
                                     'added')
            rows[each.folder.split('/')[1]].append(row(data, each.folder, each.generation))
            cases[each.folder] = each.generation
        except CatalogueError as error:
            done.refused[each.folder] = str(error)
            if not isinstance(data, CatalogueError):    # what could not be read is tried again
                no.append({'folder': each.folder, 'generation': each.generation,
                           'why': str(error)})
    tables = {f'{CASE_TABLE}/date={date}': [pa.Table.from_pylist(found, CASES)]
              for date, found in sorted(rows.items())}
    if no:
        tables[REFUSED_TABLE] = [pa.Table.from_pylist(no, REFUSED)]
    index.add(tables)
    done.added += sum(map(len, rows.values()))


def _read(objects: Objects, part: Iterable[Listed]) -> Iterator[tuple[Listed, Any]]:
    """(listed, its bytes or the CatalogueError); of a bucket many at once."""
    def one(each: Listed) -> bytes | CatalogueError:
        try:
            return objects.read(each)
        except CatalogueError as error:
            return error
    if not isinstance(objects, GcsObjects):
        for each in part:
            yield each, one(each)
        return
    with ThreadPoolExecutor(_READERS) as pool:
        for some in batched(part, _AHEAD):
            yield from zip(some, pool.map(one, some), strict=True)
