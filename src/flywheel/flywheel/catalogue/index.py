"""The index on a disk: Parquet files that are only ever added, and a list of those that count.

    <index>/cases/date=2026-11-24/<number>-<digest>.parquet     one or more a date
    <index>/refused/<number>-<digest>.parquet
    <index>/features/<number>-<digest>.parquet
    <index>/files.json                                          the list, replaced by a rename

A file is never changed. Writing adds files and then replaces the list, so a reader sees all of a
batch or nothing of it, and a crash between leaves files that nobody lists. `compact` joins the
files of a date in a new one, and deletes the old ones after the list has changed.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import CatalogueError

CASE_TABLE, REFUSED_TABLE, FEATURE_TABLE = 'cases', 'refused', 'features'
REFUSED = pa.schema([('folder', pa.string()), ('generation', pa.string()), ('why', pa.string())])
_LIST, _LOCK = 'files.json', '.lock'


class Index:
    """One index. Many may read; one writes at a time (`writing`)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def files(self, table: str) -> list[Path]:
        """Those that count, in the order in which they were added; raises CatalogueError."""
        return [self.root / name for name in self._listed()['files']
                if name.startswith(f'{table}/')]

    def read(self, table: str, columns: Sequence[str]) -> pa.Table | None:
        """These columns of every row; None where there is no row."""
        tables = [pq.ParquetFile(path).read(columns=list(columns)) for path in self.files(table)]
        return pa.concat_tables(tables) if tables else None

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Raises CatalogueError where another process writes."""
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / _LOCK, 'w') as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise CatalogueError(f'{self.root}: another process writes to this index') from None
            yield

    def add(self, tables: Mapping[str, Sequence[pa.Table]]) -> None:
        """Add tables: `{'cases/date=2026-11-24': [table]}`, all of them or none."""
        listed = self._listed()
        number, added = listed['number'] + 1, []
        for place, parts in tables.items():
            joined = pa.concat_tables(list(parts))
            if joined.num_rows:
                added.append(self._write(place, number, joined))
        if added:
            self._replace({'number': number, 'files': [*listed['files'], *added]})

    def compact(self, most: int = 1) -> int:
        """Join the files of each folder that has more than `most`; how many files are gone."""
        listed = self._listed()
        folders: dict[str, list[str]] = defaultdict(list)
        for name in listed['files']:
            folders[name.rpartition('/')[0]].append(name)
        number, files, gone = listed['number'] + 1, [], []
        for folder, names in folders.items():
            if len(names) <= most:
                files += names
                continue
            joined = pa.concat_tables(
                [pq.ParquetFile(self.root / name).read() for name in names])
            if 'case_id' in joined.column_names:
                joined = joined.sort_by('case_id')
            files.append(self._write(folder, number, joined))
            gone += names
        if gone:
            self._replace({'number': number, 'files': files})
        for name in {*gone, *self._orphans(files)}:
            (self.root / name).unlink(missing_ok=True)
        return len(gone)

    def _orphans(self, files: Sequence[str]) -> set[str]:
        """Files of a batch that a crash left unlisted."""
        there = {path.relative_to(self.root).as_posix() for path in self.root.rglob('*.parquet')}
        return there - set(files)

    def _write(self, place: str, number: int, table: pa.Table) -> str:
        folder = self.root / place
        folder.mkdir(parents=True, exist_ok=True)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression='zstd')
        data = sink.getvalue().to_pybytes()
        name = f'{place}/{number:08d}-{hashlib.sha256(data).hexdigest()[:12]}.parquet'
        with open(self.root / name, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return name

    def _listed(self) -> dict[str, Any]:
        try:
            found = json.loads((self.root / _LIST).read_text('utf-8'))
        except FileNotFoundError:
            return {'number': 0, 'files': []}
        except (OSError, ValueError) as error:
            raise CatalogueError(f'{self.root / _LIST}: cannot be read: {error}') from None
        return {'number': int(found['number']), 'files': [str(name) for name in found['files']]}

    def _replace(self, listed: dict[str, Any]) -> None:
        beside = self.root / f'{_LIST}.new'
        with open(beside, 'w', encoding='utf-8') as file:
            json.dump(listed, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.root / _LIST)
