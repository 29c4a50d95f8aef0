"""Meters of a spool and its uploader, as Prometheus reads them over HTTP.

Spool figures are read from the disk when somebody asks, so they cost nothing between. What the ring
drops outside of a case's window is not in the spool: the recorder's `diagnostics` has it.
Needs prometheus_client: import this module only where meters are asked for.
"""

import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, start_http_server
from prometheus_client.core import GaugeMetricFamily

from edge_case_recorder.spool import State
from edge_case_recorder.spool_view import STATES, UPLOADING, NoSpoolError, SpoolReader, SpoolView
from edge_case_recorder.uploading.carrier import Carrier, Did, Step
from edge_case_recorder.uploading.trouble import Trouble

LOOPBACK = '127.0.0.1'
_ON_DISK = tuple(state for state in STATES if state != UPLOADING)


class Meters:
    """The counters of one uploader. `wrote` belongs to its thread; reading is for any thread.

    cap_bytes_s: of what is sent; None for no cap. utc_s: for ages.
    """

    def __init__(self, carrier: Carrier, cap_bytes_s: float | None,
                 utc_s: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry()
        self._carrier = carrier
        self._cap_bytes_s = cap_bytes_s
        self._utc_s = utc_s
        self._reader = SpoolReader(carrier.spool)
        self._reading = threading.Lock()
        self._on_its_way = (0, 0, 0)            # bytes, of these persisted, failures in a row
        self._sizes: dict[str, int] = {}
        self._outcomes = Counter(
            'spinal_uploader_outcomes', 'Cases sent, and troubles by their name',
            ['outcome'], registry=self.registry)
        for outcome in (Did.SENT, *Trouble):
            self._outcomes.labels(outcome)
        self._retries = Counter(
            'spinal_uploader_retries', 'Steps that have to be tried again',
            registry=self.registry)
        self._sent_bytes = Counter(
            'spinal_uploader_sent_bytes', 'Bytes of the files of cases that were sent whole',
            registry=self.registry)
        self.registry.register(self)

    def wrote(self, step: Step) -> None:
        """Count a step of the carrier."""
        running = self._carrier.running
        if running is not None:
            self._sizes[running.folder.name] = running.bytes
        self._on_its_way = (running.bytes if running else 0, running.persisted if running else 0,
                            self._carrier.backoff.failures)
        if step.did is Did.SENT:
            self._outcomes.labels(Did.SENT).inc()
            self._sent_bytes.inc(self._sizes.get(step.case_id, 0))
        if step.error is not None:
            self._outcomes.labels(step.error.trouble).inc()
        if step.did is Did.WAITING:
            self._retries.inc()
        if step.did in (Did.SENT, Did.FAILED):
            self._sizes.pop(step.case_id, None)

    def serve(self, host: str, port: int) -> int:
        """Answer `GET /metrics` from threads of its own; the port. Raises OSError."""
        try:
            server, _ = start_http_server(port, host, self.registry)
        except OverflowError as error:
            raise OSError(f'port {port}: {error}') from None
        return server.server_port

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing is read when it is registered."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges, read now."""
        size, persisted, failures = self._on_its_way
        for name, text, value in (
                ('spinal_uploader_case_bytes', 'Bytes of the case on its way', size),
                ('spinal_uploader_case_persisted_bytes', 'Of these, known to be in the bucket',
                 persisted),
                ('spinal_uploader_failures_in_a_row', 'Steps since one worked', failures)):
            yield GaugeMetricFamily(name, text, value)
        if self._cap_bytes_s is not None:
            yield GaugeMetricFamily('spinal_uploader_cap_bytes_per_second',
                                    'The most that is sent; missing without a cap',
                                    self._cap_bytes_s)
        try:
            with self._reading:
                view = self._reader.look()
            free_bytes = shutil.disk_usage(view.root).free
        except (NoSpoolError, OSError):
            return      # a spool that comes later: the others are true all the same
        yield GaugeMetricFamily('spinal_spool_disk_free_bytes', 'Free on the disk of the spool',
                                free_bytes)
        yield from self._of_the_spool(view)

    def _of_the_spool(self, view: SpoolView) -> Iterator[GaugeMetricFamily]:
        counts: dict[tuple[str, str], int] = defaultdict(int)
        sizes: dict[tuple[str, str], int] = defaultdict(int)
        oldest_s = {str(state): 0.0 for state in _ON_DISK}
        for state in _ON_DISK:
            counts[str(state), ''] = sizes[str(state), ''] = 0
        for case in view.cases:
            # Which one is on its way changes all the time: a queue is a queue.
            state = str(State.RECORDED) if case.state == UPLOADING else str(case.state)
            key = state, '' if case.priority is None else str(case.priority)
            counts[key] += 1
            sizes[key] += case.bytes
            oldest_s[state] = max(oldest_s[state], case.age_s(self._utc_s()))
        number = GaugeMetricFamily('spinal_spool_cases', 'Cases; "recorded" ones wait to be sent',
                                   labels=['state', 'priority'])
        size = GaugeMetricFamily('spinal_spool_bytes', 'Bytes of their files',
                                 labels=['state', 'priority'])
        age = GaugeMetricFamily('spinal_spool_oldest_age_seconds',
                                'Since the trigger of the oldest; 0 when there is none',
                                labels=['state'])
        for key, count in sorted(counts.items()):
            number.add_metric(key, count)
            size.add_metric(key, sizes[key])
        for state, seconds in oldest_s.items():
            age.add_metric([state], seconds)
        yield from (number, size, age)
        yield GaugeMetricFamily('spinal_spool_messages_lost_in_ring',
                                'Messages of the windows of these cases that the ring dropped',
                                sum(case.lost for case in view.cases))
        yield GaugeMetricFamily('spinal_spool_incomplete_cases',
                                'Cases whose window was cut or has losses',
                                sum(not case.complete for case in view.cases))
