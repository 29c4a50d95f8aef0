"""Robots' reports as objects of the lake: JSON lines in gzip, one folder a day.

    python -m flywheel.cloud.telemetry --to gs://LAKE/telemetry < reports.jsonl

A line in is a report: `robot_id`, `stamp` (RFC 3339 with a zone), `name`, `level`, and what
config/cloud/lake/tables.sql lists besides. A batch becomes one object a day of its reports, named
by the sha256 of its lines: sent twice it is the same object, and an object is only ever created.
"""

import argparse
import gzip
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
MAX_TEXT = 4096
_TEXT = ('message', 'release', 'model_version')
_ALLOWED = frozenset(('schema_version', 'robot_id', 'stamp', 'name', 'level', 'values', *_TEXT))


class ReportError(ValueError):
    """A report that the lake cannot take; the message names the field."""


@dataclass(frozen=True)
class LakeObject:
    """name: below the prefix, e.g. status/date=2026-11-24/<sha256>.jsonl.gz."""
    name: str
    content: bytes
    reports: int


def row(report: Any) -> dict[str, Any]:
    """A report as a line of `robot_status`, checked; stamps become UTC with a Z.

    Raises ReportError.
    """
    if not isinstance(report, dict):
        raise ReportError('a report is an object')
    unknown = sorted(set(report) - _ALLOWED)
    if unknown:
        raise ReportError(f'unknown field {unknown[0]!r}')
    if report.get('schema_version', SCHEMA_VERSION) != SCHEMA_VERSION:
        raise ReportError(f'schema_version is {report["schema_version"]!r}, known is 1')
    for name in ('robot_id', 'name'):
        if not isinstance(report.get(name), str) or not 0 < len(report[name]) <= 256:
            raise ReportError(f'{name} must be a text of 1 to 256 characters')
    level = report.get('level')
    if not isinstance(level, int) or isinstance(level, bool) or not 0 <= level <= 3:
        raise ReportError(f'level is {level!r}: it must be 0, 1, 2 or 3')
    values = report.get('values', {})
    if not isinstance(values, dict) or not all(isinstance(v, str | int | float | bool)
                                               for v in values.values()):
        raise ReportError('values must be an object of plain values')
    texts = {name: report.get(name, '') for name in _TEXT}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise ReportError(f'{name} must be a text')
    return {'schema_version': SCHEMA_VERSION, 'robot_id': report['robot_id'],
            'stamp': _utc(report.get('stamp')), 'name': report['name'], 'level': level,
            **{name: text[:MAX_TEXT] for name, text in texts.items()},
            'values': {str(key): str(value)[:MAX_TEXT] for key, value in sorted(values.items())}}


def _utc(stamp: Any) -> str:
    try:
        moment = datetime.fromisoformat(stamp)
    except (TypeError, ValueError) as error:
        raise ReportError(f'stamp is {stamp!r}: it must be RFC 3339') from error
    if moment.tzinfo is None:
        raise ReportError(f'stamp is {stamp!r}: it has no zone')
    return moment.astimezone(UTC).isoformat(timespec='milliseconds').replace('+00:00', 'Z')


def objects(rows: Iterable[dict[str, Any]]) -> list[LakeObject]:
    """Rows as objects, one a day. The same rows in any order give the same objects, bit by bit."""
    days: dict[str, list[str]] = {}
    for each in rows:
        line = json.dumps(each, sort_keys=True, separators=(',', ':'), allow_nan=False)
        days.setdefault(each['stamp'][:10], []).append(line)
    result = []
    for day, lines in sorted(days.items()):
        unique = sorted(set(lines))
        text = ('\n'.join(unique) + '\n').encode()
        name = f'status/date={day}/{hashlib.sha256(text).hexdigest()}.jsonl.gz'
        result.append(LakeObject(name, gzip.compress(text, 6, mtime=0), len(unique)))
    return result


def read(content: bytes) -> Iterator[dict[str, Any]]:
    """The rows of one object."""
    for line in gzip.decompress(content).splitlines():
        yield json.loads(line)


def write(batch: Iterable[LakeObject], to: str) -> int:
    """Create objects below gs://bucket/prefix or file:///folder; returns how many were new."""
    scheme, _, rest = to.partition('://')
    if scheme == 'file':
        return sum(_create_file(Path(rest) / each.name, each.content) for each in batch)
    if scheme == 'gs' and rest:
        return _create_objects(batch, *(rest.rstrip('/') + '/').split('/', 1))
    raise ReportError(f'{to!r}: it must be gs://bucket/prefix or file:///folder')


def _create_file(path: Path, content: bytes) -> int:
    if path.exists():
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name('.' + path.name)
    partial.write_bytes(content)
    partial.rename(path)
    return 1


def _create_objects(batch: Iterable[LakeObject], bucket_name: str, prefix: str) -> int:
    from google.api_core.exceptions import PreconditionFailed
    from google.cloud import storage
    bucket = storage.Client().bucket(bucket_name)
    new = 0
    for each in batch:
        try:
            bucket.blob(prefix + each.name).upload_from_string(
                each.content, content_type='application/gzip', if_generation_match=0)
            new += 1
        except PreconditionFailed:
            continue
    return new


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m flywheel.cloud.telemetry',
                                     description='Put reports (JSON lines on standard input) into '
                                                 'the lake.')
    parser.add_argument('--to', required=True, help='gs://bucket/telemetry or file:///folder')
    parser.add_argument('--batch', type=int, default=20_000, metavar='N',
                        help='reports an object at most (%(default)s)')
    options = parser.parse_args(argv)
    rows: list[dict[str, Any]] = []
    taken = refused = new = 0

    def flush() -> None:
        nonlocal new
        new += write(objects(rows), options.to)
        rows.clear()

    try:
        for number, line in enumerate(sys.stdin, 1):
            try:
                rows.append(row(json.loads(line)))
                taken += 1
            except ValueError as error:
                refused += 1
                print(f'line {number}: {error}', file=sys.stderr)
            if len(rows) >= options.batch:
                flush()
        if rows:
            flush()
    except (ReportError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps({'reports': taken, 'refused': refused, 'objects': new}))
    return 1 if refused else 0


if __name__ == '__main__':
    sys.exit(main())
