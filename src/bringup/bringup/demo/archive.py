"""Looks into the bucket as a stranger would: is every case there, whole, with its checksum?"""

import threading
from collections.abc import Mapping
from typing import Any, Self

from edge_case_recorder.bucket import CaseCheck, verify
from edge_case_recorder.store import Store, StoreError, open_store

_PERIOD_S = 0.3


class Archive:
    """Downloads each known case once it is there, in a thread of its own, and compares it."""

    def __init__(self, bucket: str) -> None:
        self._store: Store = open_store(bucket)
        self._cases: dict[str, Mapping[str, Any]] = {}
        self._checks: dict[str, CaseCheck] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(5)

    def verified(self, cases: Mapping[str, Mapping[str, Any]]) -> int:
        """Take note of the cases and say how many of them are in the bucket, equal."""
        self._cases = dict(cases)
        return sum(name in self._checks and self._checks[name].ok for name in self._cases)

    def rows(self) -> list[dict[str, Any]]:
        """The `cases` of report.json, in order of time."""
        return [self._row(name, self._cases[name]) for name in sorted(self._cases)]

    def _row(self, name: str, case: Mapping[str, Any]) -> dict[str, Any]:
        check = self._checks.get(name)
        bags = [entry['path'] for entry in case['files'] if entry['path'].endswith('.mcap')]
        return {'id': name, 'cause': case['cause'], 'bag': bags[0] if bags else '',
                'object': check.objects[0].url if check else '', 'messages': case['messages'],
                'bytes': sum(entry['bytes'] for entry in case['files']),
                'crc32c_ok': check is not None and check.ok,
                'problem': 'never seen in the bucket' if check is None else check.problem}

    def _watch(self) -> None:
        while not self._end.wait(_PERIOD_S):
            for name, case in list(self._cases.items()):
                if name in self._checks and self._checks[name].ok:
                    continue
                try:
                    self._checks[name] = verify(case, self._store, download=True)
                except StoreError:
                    continue  # the store is asked again; a case that stays unseen fails the phase
