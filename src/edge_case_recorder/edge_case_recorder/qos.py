"""Quality of service as a bag writes it down, and what to ask of publishers that differ."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

INFINITE_NS = 2**63 - 1


@dataclass(frozen=True)
class Qos:
    """What one publisher offers; policies by rosbag2's names (version 9), durations in ns."""

    reliability: str = 'reliable'
    durability: str = 'volatile'
    history: str = 'unknown'     # discovery does not carry it
    depth: int = 0
    deadline_ns: int = INFINITE_NS
    lifespan_ns: int = INFINITE_NS
    liveliness: str = 'automatic'
    liveliness_lease_ns: int = INFINITE_NS
    avoid_ros_namespace_conventions: bool = False

    def to_bag(self) -> dict[str, Any]:
        """An entry of `offered_qos_profiles` in metadata.yaml of version 9."""
        return {
            'history': self.history,
            'depth': self.depth,
            'reliability': self.reliability,
            'durability': self.durability,
            'deadline': _time(self.deadline_ns),
            'lifespan': _time(self.lifespan_ns),
            'liveliness': self.liveliness,
            'liveliness_lease_duration': _time(self.liveliness_lease_ns),
            'avoid_ros_namespace_conventions': self.avoid_ros_namespace_conventions,
        }

    @classmethod
    def from_bag(cls, entry: Mapping[str, Any]) -> Self:
        """The other way round; raises KeyError or TypeError when the entry is not one of ours."""
        return cls(
            entry['reliability'], entry['durability'], entry['history'], entry['depth'],
            _ns(entry['deadline']), _ns(entry['lifespan']), entry['liveliness'],
            _ns(entry['liveliness_lease_duration']), entry['avoid_ros_namespace_conventions'])


@dataclass(frozen=True)
class Request:
    """What a subscription asks, so that every known publisher matches it."""

    reliable: bool
    transient_local: bool


def request(offers: Sequence[Qos]) -> Request:
    """Only what all of them offer can be asked: one best-effort publisher makes it best effort.

    The same rule as rosbag2's.
    """
    return Request(reliable=all(offer.reliability == 'reliable' for offer in offers),
                   transient_local=all(offer.durability == 'transient_local' for offer in offers))


def distinct(offers: Iterable[Qos]) -> tuple[Qos, ...]:
    return tuple(dict.fromkeys(offers))


def _time(nanoseconds: int) -> dict[str, int]:
    seconds, rest = divmod(min(nanoseconds, INFINITE_NS), 1_000_000_000)
    return {'sec': seconds, 'nsec': rest}


def _ns(time: Mapping[str, int]) -> int:
    return time['sec'] * 1_000_000_000 + time['nsec']
