"""What was heard on each topic, in order of arrival: from a bag, or from a drive in simulation."""

from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_case_recorder.bag_messages import Bag, BagError
from policy_client.observation import Sample

from .errors import DatasetError


@dataclass
class Streams:
    """Samples by an embodiment's topic names, each topic in order of arrival (ns)."""

    _samples: dict[str, list[Sample]] = field(default_factory=dict)
    _times: dict[str, list[int]] = field(default_factory=dict)

    def hear(self, topic: str, sample: Sample) -> None:
        """Raises DatasetError for a sample that arrived before the one heard last."""
        times = self._times.setdefault(topic, [])
        if times and sample.received_ns < times[-1]:
            raise DatasetError(f'{topic}: a message is earlier than the one before it')
        times.append(sample.received_ns)
        self._samples.setdefault(topic, []).append(sample)

    def newest(self, topic: str, at_ns: int) -> Sample | None:
        """The newest that had arrived at that instant; never one of the future."""
        place = bisect_right(self._times.get(topic, []), at_ns)
        return self._samples[topic][place - 1] if place else None

    def all(self, topic: str) -> list[Sample]:
        return list(self._samples.get(topic, []))

    @property
    def span_ns(self) -> tuple[int, int] | None:
        """(first, last) arrival of anything; None where nothing was heard."""
        times = [time for each in self._times.values() for time in (each[0], each[-1])]
        return (min(times), max(times)) if times else None


def of_bag(bag: Path, topics: Collection[str]) -> Streams:
    """A bag's messages on these topics; raises DatasetError.

    A topic is found by its name's end, whatever namespace the robot had. Of two that fit, the
    shorter name counts: `/robot_7/odom`, not `/robot_7/rear/odom`.
    """
    try:
        names = _names(bag)
        wanted = {found: topic for topic in topics if (found := _found(topic, names))}
        streams = Streams()
        reader = Bag(bag)
        for message in reader.messages(wanted.keys()):
            if message.topic in wanted and message.content is not None:
                streams.hear(wanted[message.topic],
                             Sample(message.content, message.log_ns, _stamp_ns(message.content)))
    except BagError as error:
        raise DatasetError(str(error)) from None
    if reader.undecodable:
        topic, count = reader.undecodable.most_common(1)[0]
        raise DatasetError(f'{bag}: {count} messages on {topic} cannot be decoded')
    return streams


def _names(bag: Path) -> set[str]:
    if not bag.exists():
        raise DatasetError(f'{bag}: there is no such file or folder')
    return {message.topic for message in Bag(bag).messages(())}


def _found(topic: str, names: Collection[str]) -> str | None:
    fitting = [name for name in names
               if name.strip('/') == topic or name.endswith(f'/{topic}')]
    return min(fitting, key=lambda name: (name.count('/'), name), default=None)


def _stamp_ns(content: Any) -> int | None:
    stamp = getattr(getattr(content, 'header', None), 'stamp', None)
    at_ns = 0 if stamp is None else int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
    return at_ns or None


def newest_of(streams: Streams, topics: Mapping[str, Any], at_ns: int) -> dict[str, Sample]:
    """The newest sample of each topic at an instant, of those that were heard."""
    return {topic: sample for topic in topics
            if (sample := streams.newest(topic, at_ns)) is not None}
