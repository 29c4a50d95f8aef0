"""How many messages of a topic were lost before they came here, judged by when the others came.

Cyclone DDS gives no sequence numbers, so a loss can only be inferred, except where the payload
counts by itself (a heartbeat). An estimate is made for topics with a steady rate only, and leans
to too few: a gap counts as lost messages when it is close to a whole number of periods, is short,
and the messages that follow do not make up for it (a delay ends in a burst, a loss does not).
"""

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, median

from edge_case_recorder.bag import TopicInfo
from edge_case_recorder.ring import Record

# A gap of more missing messages than this is a pause: nobody can tell it from a loss.
LONGEST_RUN = 5
# Fewer gaps show no rate.
FEWEST_GAPS = 20
# How far from its period a gap may be, as a share of the period, and still show it.
_TOLERANCE = 0.25
_ORDINARY_SHARE = 2 / 3
_BLOCK = 21
_RHYTHM = 5
# So many clear losses are needed for each gap that is none.
_STRANGE_SHARE = 5
_MAX_STAMPS = 65_536
_SECOND_NS = 1_000_000_000
_COUNTER = 'std_msgs/msg/UInt64'
# A count that jumps further has begun anew, or is none.
_MAX_COUNT_GAP = 1 << 20


@dataclass(frozen=True)
class Losses:
    """Messages lost before the recorder; None where they cannot be known.

    estimated: from stamps; counted: exact, from a payload that counts.
    """

    estimated: int | None = None
    counted: int | None = None


def estimate(stamps_ns: Sequence[int]) -> int | None:
    """Messages missing among these stamps (ns, not going back), or None without a steady rate.

    With the period P the mean of the gaps near their median, a gap from stamp a to stamp b misses
    the least of (stamp_j - a) / P - (messages after a up to j) over b and the messages that
    follow it: what is only late comes then. What is missing at the very end is not judged.
    """
    if not FEWEST_GAPS < len(stamps_ns) <= _MAX_STAMPS:
        return None
    gaps = [later - earlier for earlier, later in pairwise(stamps_ns)]
    middle = median(gaps)
    if middle <= 0 or min(gaps) < 0:
        return None
    ordinary = [gap for gap in gaps if abs(gap - middle) <= _TOLERANCE * middle]
    if len(ordinary) < _ORDINARY_SHARE * len(gaps) or not _is_steady(gaps, middle):
        return None
    period = fmean(ordinary)
    runs: list[tuple[int, int]] = []
    strange = 0
    for index, gap in enumerate(gaps):
        if gap < (2 - _TOLERANCE) * period:
            continue
        missing = _missing(stamps_ns, index, period)
        if missing is None:
            continue
        if missing > LONGEST_RUN + _TOLERANCE or abs(missing - round(missing)) > _TOLERANCE:
            strange += 1
        elif round(missing) >= 1:
            runs.append((index, round(missing)))
    # A publisher that rests more than once, at will, may also have rested for whole periods.
    if (strange > 1 and _STRANGE_SHARE * strange > len(runs)) or _is_rhythm(runs):
        return None
    return sum(count for _, count in runs)


def missing_counts(counts: Sequence[int]) -> int:
    """Numbers left out of a count that grows by one; one that begins anew has lost nothing."""
    steps = (later - earlier for earlier, later in pairwise(counts))
    return sum(step - 1 for step in steps if 1 < step <= _MAX_COUNT_GAP)


def header_stamp(data: bytes) -> int:
    """ns of the std_msgs/Header that a serialized message (CDR) begins with; 0 if it has none."""
    if len(data) < 12:
        return 0
    seconds, nanoseconds = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4)
    return seconds * _SECOND_NS + nanoseconds if nanoseconds < _SECOND_NS else 0


def begins_with_header(definition: str) -> bool:
    """Whether the first field of a message, by its `.msg` text, is a std_msgs/Header."""
    for line in definition.splitlines():
        words = line.split('#', 1)[0].split()
        if line.startswith('=' * 80):
            return False
        if words and '=' not in line.split('#', 1)[0]:
            return words[0] in ('std_msgs/Header', 'std_msgs/msg/Header', 'Header')
    return False


@dataclass
class _Stream:
    has_header: bool
    counts_itself: bool
    received_ns: 'array[int]' = field(default_factory=lambda: array('q'))
    header_ns: 'array[int]' = field(default_factory=lambda: array('q'))
    counts: 'array[int]' = field(default_factory=lambda: array('Q'))


class LossMeter:
    """Watches the messages of one window, a few bytes each; `losses` judges them in the end."""

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}

    def see(self, info: TopicInfo, record: Record) -> None:
        """A message of the window itself, in the order of arrival."""
        stream = self._streams.get(info.name)
        if stream is None:
            stream = self._streams[info.name] = _Stream(
                begins_with_header(info.definition),
                info.type == _COUNTER and info.name.rsplit('/', 1)[-1] == 'heartbeat')
        if len(stream.received_ns) > _MAX_STAMPS:
            return
        stream.received_ns.append(record.now_ns)
        if stream.has_header:
            stream.header_ns.append(header_stamp(record.data))
        elif stream.counts_itself and len(record.data) >= 12:
            stream.counts.append(struct.unpack_from(
                '<Q' if record.data[1] & 1 else '>Q', record.data, 4)[0])

    def losses(self, topic: str, skipped_ns: Sequence[int] = ()) -> Losses:
        """skipped_ns: when messages arrived that a rate limit left out; they were not lost."""
        stream = self._streams.get(topic)
        if stream is None:
            return Losses()
        if skipped_ns:
            return Losses(estimate(sorted((*stream.received_ns, *skipped_ns))))
        if len(stream.received_ns) > _MAX_STAMPS:
            return Losses()
        counted = missing_counts(stream.counts) if stream.counts_itself else None
        # A header's stamp knows nothing of delays on the way; some publishers leave it empty.
        usable = stream.has_header and all(
            0 < earlier < later for earlier, later in pairwise(stream.header_ns))
        return Losses(estimate(stream.header_ns if usable else stream.received_ns), counted)


def _missing(stamps_ns: Sequence[int], index: int, period: float) -> float | None:
    """Of the gap after stamp `index`; None when too few follow to tell a delay from a loss."""
    start_ns = stamps_ns[index]
    expected = (stamps_ns[index + 1] - start_ns) / period - 1
    if expected > LONGEST_RUN + _TOLERANCE:
        return LONGEST_RUN + 1.0
    followers = 2 * round(expected) + 1
    if index + 1 + followers >= len(stamps_ns):
        return None
    return min((stamps_ns[index + after] - start_ns) / period - after
               for after in range(1, followers + 2))


def _is_steady(gaps: Sequence[int], middle: float) -> bool:
    """Whether every stretch has the period of the whole: a rate that changes is not a loss."""
    starts = range(0, max(len(gaps) - _BLOCK, 0) + 1, _BLOCK // 2)
    return all(abs(median(gaps[start:start + _BLOCK]) - middle) <= _TOLERANCE * middle
               for start in (*starts, max(len(gaps) - _BLOCK, 0)))


def _is_rhythm(runs: Sequence[tuple[int, int]]) -> bool:
    """Equal gaps at equal distances are how the publisher sends, not what was lost of it."""
    if len(runs) < _RHYTHM:
        return False
    distances = [later - earlier for (earlier, _), (later, _) in pairwise(runs)]
    return len({count for _, count in runs}) == 1 and max(distances) - min(distances) <= 1
