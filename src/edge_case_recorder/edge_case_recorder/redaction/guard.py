"""A plug-in held to its promise: what it fails on is left out, never written as it came."""

import time
from collections.abc import Callable
from typing import Any

from edge_case_recorder.redaction import Redactor

_CDR_HEADER_BYTES = 4
_SAY_AGAIN_NS = 60_000_000_000


class Complaints:
    """Says what a plug-in fails on: once a topic, and again after a minute. For all cases."""

    def __init__(self, log: Callable[[str], None] = lambda _: None,
                 now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._log = log
        self._now_ns = now_ns
        self._said_ns: dict[str, int] = {}

    def about(self, topic: str, why: str) -> None:
        now_ns = self._now_ns()
        said_ns = self._said_ns.get(topic)
        if said_ns is None or now_ns - said_ns >= _SAY_AGAIN_NS:
            self._said_ns[topic] = now_ns
            self._log(f'{topic}: redaction fails, its messages are left out: {why}')


class Guard:
    """Redacts the messages of one case, and counts. Not thread-safe.

    Left out: the plug-in gave None. Failed: it raised, or gave what is no message.
    """

    def __init__(self, redactor: Redactor, complaints: Complaints | None = None) -> None:
        self._redactor = redactor
        self._complaints = complaints or Complaints()
        self._topics: set[str] = set()
        self._changed = 0
        self._left_out = 0
        self._failed = 0

    def pass_on(self, topic: str, type_name: str, data: bytes) -> bytes | None:
        """What may be stored of a message; None: nothing. Never raises for a plug-in's failure."""
        try:
            if self._redactor.covers(topic, type_name) is False:
                return data
            self._topics.add(topic)
            kept = self._redactor.redact(topic, type_name, data)
        except BaseException as error:   # of any kind: a panic of Rust's is no Exception
            self._topics.add(topic)
            # Only the kind: its text may quote what must not be told.
            self._fail(topic, type(error).__name__)
            return None
        if kept is None:
            self._left_out += 1
            return None
        if not isinstance(kept, bytes) or len(kept) < _CDR_HEADER_BYTES or \
                kept[:2] not in (b'\0\0', b'\0\1'):
            self._fail(topic, f'{type(kept).__name__} that is no CDR message')
            return None
        self._changed += kept != data
        return kept

    def _fail(self, topic: str, why: str) -> None:
        self._failed += 1
        self._complaints.about(topic, why)

    def begun(self) -> dict[str, Any]:
        """For the draft: what is told of a case that a crash ends. Counts are not known then."""
        return {'plugin': self._redactor.name, 'version': self._redactor.version,
                'hides': self._redactor.hides, 'topics': [], 'messages_changed': None,
                'messages_left_out': None, 'messages_failed': None}

    def told(self) -> dict[str, Any]:
        """For the manifest."""
        return self.begun() | {
            'topics': sorted(self._topics), 'messages_changed': self._changed,
            'messages_left_out': self._left_out, 'messages_failed': self._failed}
