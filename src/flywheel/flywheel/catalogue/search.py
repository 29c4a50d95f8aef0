"""Questions to the index, answered by DuckDB."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb

from .errors import CatalogueError
from .index import CASE_TABLE, FEATURE_TABLE, Index

_SHOWN = ('case_id', 'robot_id', 'robot_type', 'cause', 'reasons', 'priority', 'stamp_ns',
          'duration_s', 'complete', 'redacted', 'messages', 'bytes', 'models', 'folder',
          'manifest_sha256')


@dataclass(frozen=True)
class Query:
    """All that is said must hold.

    cause: that, or among the reasons. model: `name=version`, `name` or `version` of one of the
    models that drove. place: x0, y0, x1, y1 (m, `odom`) around the start pose, which only cases
    with features have. since, until: of the trigger, until not included. text: all of its words,
    in id, reasons, rule, source, versions or values; capitals do not matter.
    """

    cause: str = ''
    robot: str = ''
    model: str = ''
    place: tuple[float, float, float, float] | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str = ''
    limit: int = 100


class Searcher:
    """Open once, ask often: DuckDB keeps the files' footers. `refresh` after an ingest."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._database = duckdb.connect(config={'threads': 2})
        self._database.execute('SET enable_object_cache = true')
        self._has_features = False
        self.refresh()

    def refresh(self) -> None:
        """Look at the files that are listed now; raises CatalogueError where there are none."""
        files = [str(path) for path in self._index.files(CASE_TABLE)]
        if not files:
            raise CatalogueError(f'{self._index.root}: the catalogue is empty; ingest first')
        self._database.execute(
            'CREATE OR REPLACE VIEW cases AS SELECT * FROM read_parquet('
            f'{_texts(files)}, hive_partitioning = true, hive_types_autocast = false)')
        features = [str(path) for path in self._index.files(FEATURE_TABLE)]
        self._has_features = bool(features)
        if features:
            self._database.execute('CREATE OR REPLACE VIEW features AS SELECT * FROM '
                                   f'read_parquet({_texts(features)})')

    def search(self, query: Query) -> list[dict[str, Any]]:
        """The newest cases that fit, as rows; raises CatalogueError."""
        where, values = _conditions(query)
        source = 'cases'
        if query.place is not None:
            if not self._has_features:
                return []
            source = 'cases SEMI JOIN (SELECT case_id FROM features WHERE start_x BETWEEN ? AND ? '\
                     'AND start_y BETWEEN ? AND ?) USING (case_id)'
            x0, y0, x1, y1 = query.place
            values = [min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1), *values]
        return self._rows(f'SELECT {", ".join(_SHOWN)} FROM {source} WHERE {where} '
                          f'ORDER BY stamp_ns DESC, case_id LIMIT {int(query.limit)}', values)

    def count_by(self, column: str) -> list[tuple[str, int]]:
        """How many cases by cause, robot_id or date."""
        if column not in ('cause', 'robot_id', 'robot_type', 'date'):
            raise CatalogueError(f'cannot count by {column!r}: cause, robot_id, robot_type or date')
        found = self._database.execute(f'SELECT {column}, count(*) FROM cases GROUP BY 1 '
                                       'ORDER BY 2 DESC, 1').fetchall()
        return [(str(name), int(count)) for name, count in found]

    def close(self) -> None:
        self._database.close()

    def _rows(self, statement: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        try:
            found = self._database.execute(statement, list(values))
        except duckdb.Error as error:
            raise CatalogueError(f'the index cannot be searched: {str(error)[:300]}') from error
        names = [each[0] for each in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _conditions(query: Query) -> tuple[str, list[Any]]:
    """Values are parameters, never part of the statement."""
    where: list[str] = ['true']
    values: list[Any] = []
    if query.cause:
        where.append('(cause = ? OR list_contains(reasons, ?))')
        values += [query.cause, query.cause]
    if query.robot:
        where.append('robot_id = ?')
        values.append(query.robot)
    if query.model:
        where.append('(contains(model_text, ?) OR contains(model_text, ?) '
                     'OR contains(model_text, ?))')
        values += [f'|{query.model}|', f'|{query.model}=', f'={query.model}|']
    for moment, sign in ((query.since, '>='), (query.until, '<')):
        if moment is not None:
            where += [f'stamp_ns {sign} ?', f'date {sign if sign == ">=" else "<="} ?']
            values += [round(moment.timestamp() * 1_000_000) * 1000,
                       f'{moment.astimezone(UTC):%Y-%m-%d}']
    for word in query.text.lower().split():
        where.append('contains(text, ?)')
        values.append(word)
    return ' AND '.join(where), values


def _texts(files: Sequence[str]) -> str:
    """A list of texts in SQL."""
    return '[' + ', '.join("'" + file.replace("'", "''") + "'" for file in files) + ']'
