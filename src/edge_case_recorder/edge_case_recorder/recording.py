"""One open case: from the ring to its bag, while the window after the trigger still runs."""

from collections.abc import Callable, Mapping
from pathlib import Path

from edge_case_recorder import manifest
from edge_case_recorder.bag import BagWriter, TopicInfo
from edge_case_recorder.losses import Losses, LossMeter
from edge_case_recorder.redaction.guard import Guard
from edge_case_recorder.ring import Cursor, Record, Ring
from edge_case_recorder.spool import Spool
from edge_case_recorder.triggers import Trigger

# A message is stamped before it enters the ring; reading this far behind keeps the order.
SETTLE_NS = 50_000_000
# With redaction, so much is taken from the ring at a time: what waits for a slow plug-in waits in
# the ring, which is bounded and counts what it drops.
_SLICE_NS = 250_000_000


class OutOfRoom(OSError):
    """The disk is at its floor: the case ends here, and is whole up to here."""


class Recording:
    """Writes one case. `advance` moves what has arrived to the disk, `finish` makes it a case.

    window: the ring's cursor and latched messages, opened at the trigger itself.
    topics: what is known of each topic; it may grow meanwhile.
    truncated_by: why the window before the trigger is not whole, if it is not.
    guard: what each message passes before it may reach the disk; None: nothing is hidden.
    Receive times are the ring's, of the steady clock; in the bag they are UTC, by the one offset
    that held at the trigger: a clock that is set within a window cannot turn its order round.
    """

    def __init__(self, trigger: Trigger, window: tuple[Cursor, list[Record]],
                 draft: manifest.Manifest, ring: Ring, spool: Spool,
                 topics: Mapping[str, TopicInfo], compression: str,
                 truncated_by: str = '', guard: Guard | None = None) -> None:
        self.trigger = trigger
        self.end_ns = trigger.now_ns + trigger.after_ns
        self._draft = draft
        self._spool = spool
        self._ring = ring
        self._topics = topics
        self._to_utc_ns = draft['trigger']['stamp_ns'] - trigger.now_ns
        self._truncated_by = truncated_by
        self._cursor, self._front = window
        self._meter = LossMeter()
        self._taken_ns = self._cursor.start_ns
        self._guard = guard
        if self._guard:
            draft['redaction'] = self._guard.begun()   # a recovered case must say it too
        self.folder: Path = spool.begin(draft)
        self._bag = BagWriter(self.folder, draft['case_id'], compression, spool.key)

    @property
    def case_id(self) -> str:
        return self._draft['case_id']

    def add_reasons(self, reasons: tuple[str, ...]) -> None:
        """What was said later about the same event; the cause stays."""
        known = self._draft['reasons']
        new = [reason for reason in reasons if reason not in known][:256 - len(known)]
        if new:
            known.extend(new)
            self._spool.update(self.folder, self._draft)

    def extend(self, trigger: Trigger) -> None:
        """The same rule again: the window now ends after this trigger's, and counts it."""
        self.end_ns = max(self.end_ns, trigger.now_ns + trigger.after_ns)
        self._draft['window']['end_ns'] = self.end_ns + self._to_utc_ns
        values = self._draft['trigger']['values']
        if 'merged' in values or len(values) < 64:
            values['merged'] = str(int(values.get('merged', '0')) + 1)
        self._spool.update(self.folder, self._draft)

    @property
    def has_window(self) -> bool:
        """Whether all of its window was taken from the ring."""
        return self._taken_ns >= self.end_ns

    def advance(self, now_ns: int, must_stop: Callable[[], bool] = lambda: False) -> None:
        """Write what has arrived, and see it on the disk. Raises OutOfRoom, OSError.

        must_stop: asked before each slice of a redaction, which may be slow; then the rest stays
        in the ring.
        """
        until_ns = min(now_ns - SETTLE_NS, self.end_ns)
        while self._guard and until_ns - self._taken_ns > _SLICE_NS:
            if must_stop():
                return
            self._take(self._taken_ns + _SLICE_NS)
        self._take(until_ns)

    def _take(self, until_ns: int) -> None:
        records = self._ring.take(self._cursor, until_ns)
        self._taken_ns = max(self._taken_ns, until_ns)
        front, self._front = self._front, []
        # Latched before the window: the bag begins with it, and still says when it was sent.
        kept = [(record, self._cursor.start_ns) for record in map(self._redacted, front) if record]
        kept += [(record, record.now_ns) for record in map(self._redacted, records) if record]
        # Room is asked for what is stored: a plug-in may make a message larger.
        if not self._spool.make_room(sum(len(record.data) for record, _ in kept)):
            raise OutOfRoom(f'{self.case_id}: less than min_free_bytes would be left')
        for record, log_ns in kept:
            self._bag.write(record.topic, log_ns + self._to_utc_ns,
                            record.now_ns + self._to_utc_ns, record.data)
        for record in records:
            self._meter.see(self._topics[record.topic], record)
        if front or records:
            self._bag.flush()

    def finish(self, truncated_by: str = '') -> manifest.Manifest:
        """Close the bag, write the manifest, give the folder its final name. Raises OSError."""
        for topic in tuple(self._topics.values()):
            self._bag.add_topic(topic)   # a silent topic is worth knowing too
        if self._guard:
            self._draft['redaction'] = self._guard.told()
        summary = self._bag.close(manifest.custom_data(self._draft))
        content = manifest.complete(self._draft, self.folder, summary, lost=self._cursor.lost,
                                    truncated_by=truncated_by or self._truncated_by,
                                    arrivals=self._arrivals(), keys=self._spool.keys)
        self._spool.commit(self.folder, content)
        return content

    def _arrivals(self) -> dict[str, manifest.Arrivals]:
        limits, cursor = self._ring.rate_limits(), self._cursor
        found = {}
        for name in tuple(self._topics):
            skipped, skipped_ns = cursor.skipped.get(name, 0), cursor.skipped_ns.get(name, [])
            # Where the ring itself dropped some, the stamps that are left show its loss.
            knows_all = not cursor.lost.get(name) and skipped == len(skipped_ns)
            losses = self._meter.losses(name, skipped_ns) if knows_all else Losses()
            found[name] = manifest.Arrivals(losses, limits.get(name), skipped)
        return found

    def abandon(self) -> None:
        """Leave the folder as it is: the next start recovers what is on the disk."""
        self._bag.abandon()

    def _redacted(self, record: Record) -> Record | None:
        """What may be stored of a message, of a topic that the bag knows from here on."""
        topic = self._topics[record.topic]
        self._bag.add_topic(topic)
        if self._guard is None:
            return record
        data = self._guard.pass_on(topic.name, topic.type, record.data)
        return None if data is None else record._replace(data=data)
