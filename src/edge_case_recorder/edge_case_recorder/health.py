"""What diagnostics say of the recorder: one level, one sentence, and the figures behind them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from edge_case_recorder.ring import TopicCounts
from edge_case_recorder.worker import WorkerStatus

OK, WARN, ERROR = b'\x00', b'\x01', b'\x02'   # diagnostic_msgs/DiagnosticStatus


@dataclass(frozen=True)
class Health:
    level: bytes
    sentence: str
    values: Mapping[str, Any]


INACTIVE = Health(OK, 'inactive', {'state': 'inactive'})


def health(status: WorkerStatus, counts: Mapping[str, TopicCounts],
           suppressed: Mapping[str, int], unrecordable: Mapping[str, str],
           broken: Collection[str] = ()) -> Health:
    """suppressed: triggers that came too soon, per rule; unrecordable: topics, and why not;
    broken: rules that do not fit their topics."""
    oversize = sum(each.oversize for each in counts.values())
    values: dict[str, Any] = {
        'state': 'active',
        'topics': len(counts),
        'topics_not_recorded': ', '.join(unrecordable),
        'ring_messages': sum(each.held for each in counts.values()),
        'ring_bytes': sum(each.held_bytes for each in counts.values()),
        'received': sum(each.received for each in counts.values()),
        'received_bytes': sum(each.received_bytes for each in counts.values()),
        'evicted_by_budget': sum(each.evicted for each in counts.values()),
        'larger_than_budget': oversize,
        'skipped_by_rate': sum(each.skipped for each in counts.values()),
        'cases_open': status.open,
        'cases_recorded': status.recorded,
        'cases_recovered': status.recovered,
        'cases_refused': status.refused,
        'cases_in_trouble': status.failed,
        'cases_evicted': status.evicted,
        'triggers_suppressed': sum(suppressed.values()),
        'triggers_not_running': ', '.join(broken),
        'free_bytes_above_floor': status.free_bytes,
        'last_error': status.last_error,
    } | {f'spool_{state}': count for state, count in status.spooled.items()}
    if status.free_bytes < 0:
        return Health(ERROR, 'the disk is below its floor: no case can be written', values)
    if status.refused or status.failed:
        return Health(ERROR, status.last_error or 'cases were refused', values)
    if unrecordable or oversize:
        return Health(WARN, 'some messages are not recorded', values)
    if broken:
        return Health(WARN, 'some rules do not fit their topics', values)
    return Health(OK, 'recording', values)
