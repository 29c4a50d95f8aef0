"""A plug-in held to its promise: what it fails on is left out, never written as it came."""

from typing import Any

from edge_case_recorder.redaction import Redactor

_CDR_HEADER_BYTES = 4


class Guard:
    """Redacts the messages of one case, and counts. Not thread-safe."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._topics: set[str] = set()
        self._changed = 0
        self._left_out = 0

    def pass_on(self, topic: str, type_name: str, data: bytes) -> bytes | None:
        """What may be stored of a message; None: nothing. Never raises for a plug-in's failure."""
        try:
            if self._redactor.covers(topic, type_name) is False:
                return data
            self._topics.add(topic)
            kept = self._redactor.redact(topic, type_name, data)
        except Exception:   # of any kind: the plug-in is the site's own
            self._topics.add(topic)
            kept = None
        if not isinstance(kept, bytes) or len(kept) < _CDR_HEADER_BYTES or \
                kept[:2] not in (b'\0\0', b'\0\1'):
            self._left_out += 1
            return None
        self._changed += kept != data
        return kept

    def begun(self) -> dict[str, Any]:
        """For the draft: what is told of a case that a crash ends. Counts are not known then."""
        return {'plugin': self._redactor.name, 'version': self._redactor.version,
                'hides': self._redactor.hides, 'topics': [],
                'messages_changed': None, 'messages_left_out': None}

    def told(self) -> dict[str, Any]:
        """For the manifest."""
        return self.begun() | {'topics': sorted(self._topics), 'messages_changed': self._changed,
                               'messages_left_out': self._left_out}
