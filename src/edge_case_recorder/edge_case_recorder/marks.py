"""What a person said was worth a case, and how well rules agree with it.

Marks are the cases that an operator asked for (`recorder/mark`), and a file:

    schema_version: 1
    marks:
      - {at: 2026-11-23T12:00:00.5Z}
      - {from: 2026-11-23T12:03:00Z, to: 2026-11-23T12:03:20Z, rule: near_miss}

A mark with a rule is about that rule only. A person is late, and a rule may be early: a firing and
a mark belong together when no more than the tolerance lies between them.
"""

import datetime
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from edge_case_recorder import manifest
from edge_case_recorder.rules import TextLoader

_MAX_BYTES = 10_000_000


class MarksError(ValueError):
    """The marks cannot be used; the message names the file and the key."""


@dataclass(frozen=True)
class Mark:
    """A time or a stretch of time, UTC; rule: empty if it is about all rules."""

    from_ns: int
    to_ns: int
    rule: str = ''

    def is_near(self, time_ns: int, tolerance_ns: int) -> bool:
        return self.from_ns - tolerance_ns <= time_ns <= self.to_ns + tolerance_ns


@dataclass(frozen=True)
class Score:
    """firings that have a mark, and marks that have a firing."""

    firings: int = 0
    marked: int = 0
    marks: int = 0
    found: int = 0

    def __add__(self, other: 'Score') -> 'Score':
        return Score(self.firings + other.firings, self.marked + other.marked,
                     self.marks + other.marks, self.found + other.found)

    @property
    def precision(self) -> float | None:
        """None where nothing fired, or there is no mark to hold it against."""
        return self.marked / self.firings if self.firings and self.marks else None

    @property
    def recall(self) -> float | None:
        return self.found / self.marks if self.marks else None


def score(rule: str, firings: Sequence[int], marks: Iterable[Mark], tolerance_ns: int) -> Score:
    """firings: UTC in ns. Several firings may belong to one mark, and several marks to one."""
    own = [mark for mark in marks if mark.rule in ('', rule)]
    return Score(
        len(firings), sum(any(mark.is_near(at, tolerance_ns) for mark in own) for at in firings),
        len(own), sum(any(mark.is_near(at, tolerance_ns) for at in firings) for mark in own))


def within(marks: Iterable[Mark], start_ns: int, end_ns: int) -> list[Mark]:
    """Those that a recording of that time can say anything about."""
    return [mark for mark in marks if mark.from_ns <= end_ns and mark.to_ns >= start_ns]


def marks_of_cases(bags: Iterable[Path]) -> list[Mark]:
    """The marks of operators, from the manifests beside the bags; other folders have none."""
    found = []
    for bag in bags:
        if not (bag / manifest.MANIFEST).is_file():
            continue
        trigger = manifest.read(bag)['trigger']
        if trigger['rule'] == 'operator_mark':
            found.append(Mark(trigger['stamp_ns'], trigger['stamp_ns']))
    return found


def read_marks(path: Path) -> list[Mark]:
    """A file of marks; raises MarksError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MarksError(f'{path}: larger than {_MAX_BYTES} bytes')
        document = yaml.load(path.read_text(encoding='utf-8'), Loader=TextLoader)
    except OSError as error:
        raise MarksError(f'{path}: {error.strerror or error}') from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        if isinstance(error, MarksError):
            raise
        raise MarksError(f'{path}: not YAML: {" ".join(str(error).split())[:300]}') from None
    problem = best_match(_validator().iter_errors(document))
    if problem is not None:
        where = problem.json_path.removeprefix('$').removeprefix('.') or 'document'
        raise MarksError(f'{path}: {where}: {problem.message[:300]}')
    return [_mark(entry, f'{path}: marks[{number}]')
            for number, entry in enumerate(document['marks'])]


def _mark(entry: dict[str, Any], where: str) -> Mark:
    from_ns = _utc_ns(entry.get('at', entry.get('from')), where)
    to_ns = _utc_ns(entry['to'], where) if 'to' in entry else from_ns
    if to_ns < from_ns:
        raise MarksError(f'{where}: ends before it begins')
    return Mark(from_ns, to_ns, entry.get('rule', ''))


def _utc_ns(text: Any, where: str) -> int:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise MarksError(f'{where}: {text!r} is no date and time') from None
    since = moment - datetime.datetime.fromtimestamp(0, datetime.UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


@cache
def _validator() -> Draft202012Validator:
    schema = files(__package__).joinpath('schemas', 'marks.schema.json')
    return Draft202012Validator(json.loads(schema.read_text('utf-8')))
