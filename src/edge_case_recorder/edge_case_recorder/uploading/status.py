"""What the uploader is doing, for other processes: one small file below the spool.

In a folder of its own: the time of the spool's folder says whether a case came or went.
Written after each step and never synchronised: it is for people and meters, nothing depends on it.
"""

import json
import os
from typing import Any

from edge_case_recorder.upload_status import STATUS
from edge_case_recorder.uploading.carrier import Carrier, Did, Step

SCHEMA_VERSION = 1


class StatusFile:
    """Writes the state after each step, when it differs from what is there.

    Keys: schema_version, pid, bucket, did (of the last step), case_id, case_bytes and
    persisted_bytes of the case on its way, waiting (cases), trouble and why (empty when all is
    well), wait_s, failures (in a row), sent and failed (cases since the start), clock_off_s.
    """

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._path = carrier.spool / STATUS
        self._last: dict[str, Any] = {}
        self._counts = {Did.SENT: 0, Did.FAILED: 0}

    def wrote(self, step: Step) -> None:
        """Take note of a step. A disk that is full does not stop an upload."""
        if step.did in self._counts:
            self._counts[step.did] += 1
        running = self._carrier.running
        state = {
            'schema_version': SCHEMA_VERSION, 'pid': os.getpid(), 'bucket': self._carrier.store.url,
            'did': step.did, 'case_id': step.case_id,
            'case_bytes': running.bytes if running else 0,
            'persisted_bytes': running.persisted if running else 0,
            'waiting': self._carrier.waiting,
            'trouble': step.error.trouble if step.error else '',
            'why': str(step.error) if step.error else '', 'wait_s': round(step.wait_s, 1),
            'failures': self._carrier.backoff.failures,
            'sent': self._counts[Did.SENT], 'failed': self._counts[Did.FAILED],
            'clock_off_s': round(self._carrier.store.clock.machine_is_off_by_s()),
        }
        if state == self._last:
            return
        self._last = state
        beside = self._path.with_suffix('.writing')
        try:
            self._path.parent.mkdir(exist_ok=True)
            beside.write_text(json.dumps(state))
            os.replace(beside, self._path)
        except OSError:
            return
