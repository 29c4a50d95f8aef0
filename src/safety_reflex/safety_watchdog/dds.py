"""The watchdog's two topics over Cyclone DDS, as any rclpy node sees them.

A ROS 2 topic `safety/enable` is the DDS topic `rt/safety/enable`, and its type std_msgs/Bool is
`std_msgs::msg::dds_::Bool_` (https://design.ros2.org/articles/topic_and_service_names.html).
"""

import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cyclonedds.core import (
    DDSException,
    InstanceState,
    Policy,
    Qos,
    ReadCondition,
    SampleState,
    ViewState,
    WaitSet,
)
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import uint64
from cyclonedds.internal import DDS, c_call, dds_c_t
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic

_MAX_DOMAIN_ID = 232
# Not an agreement with the writer: so many beats wait while this process is not scheduled.
_QUEUE = 16


@dataclass
class UInt64(IdlStruct, typename='std_msgs::msg::dds_::UInt64_'):
    """std_msgs/UInt64."""

    data: uint64


@dataclass
class Bool(IdlStruct, typename='std_msgs::msg::dds_::Bool_'):
    """std_msgs/Bool."""

    data: bool


class _MatchedPublications(DDS):
    """dds_get_matched_publications as a count; the binding has it only since version 11."""

    def __init__(self) -> None:
        """Nothing of its own to create."""

    def count(self, reader: DataReader) -> int:
        return self._call(reader._ref, None, 0)

    @c_call('dds_get_matched_publications')
    def _call(self, reader: dds_c_t.entity,  # type: ignore[valid-type]
              handles: ctypes.c_void_p,
              size: ctypes.c_size_t) -> dds_c_t.returnv:  # type: ignore[valid-type]
        ...


class Beat(NamedTuple):
    """A sample of the heartbeat: who wrote it, and its counter."""

    writer: int
    value: int


class NotJoined(Exception):
    """The domain does not let this process in."""


class Channel:
    """Reads the heartbeat and writes enable. Creating it joins the domain.

    With `security`, DDS Security properties, it joins a secured domain or raises NotJoined: a
    Cyclone DDS that cannot secure a participant refuses to make one that asks for it.
    """

    def __init__(self, domain_id: int, configs: Sequence[str], namespace: str,
                 security: Mapping[str, str] | None = None) -> None:
        try:
            self._create(domain_id, configs, namespace, security or {})
        except DDSException as error:
            raise NotJoined(str(error)) from None

    def _create(self, domain_id: int, configs: Sequence[str], namespace: str,
                security: Mapping[str, str]) -> None:
        # Kept: entities end when nothing holds them.
        self._domain = _open_domain(domain_id, configs)
        participant = DomainParticipant(domain_id, qos=Qos(*(
            Policy.Property(name, value) for name, value in security.items())))
        beats = Topic(participant, dds_topic(namespace, 'safety/heartbeat'), UInt64)
        enable = Topic(participant, dds_topic(namespace, 'safety/enable'), Bool)
        self._reader = DataReader(participant, beats, qos=Qos(
            Policy.Reliability.BestEffort, Policy.Durability.Volatile,
            Policy.History.KeepLast(_QUEUE)))
        reliable = Policy.Reliability.Reliable(max_blocking_time=0)
        self._writer = DataWriter(participant, enable, qos=Qos(
            reliable, Policy.Durability.Volatile, Policy.History.KeepLast(1)))
        # Matches every writer of enable in the domain, this one too; its data is of no interest.
        self._others = DataReader(participant, enable, qos=Qos(
            Policy.Reliability.BestEffort, Policy.Durability.Volatile, Policy.History.KeepLast(1)))
        self._matched = _MatchedPublications()
        self._participant = participant
        self._waiting = WaitSet(participant)
        self._news = ReadCondition(
            self._reader, ViewState.Any | SampleState.NotRead | InstanceState.Any)
        self._waiting.attach(self._news)

    def wait(self, timeout_ns: int) -> None:
        """Return when a beat is there, or after the timeout."""
        self._waiting.wait(max(timeout_ns, 0))

    def take(self) -> Iterator[Beat]:
        """The beats that have arrived since the last call, oldest first.

        Bytes that are no std_msgs/UInt64 never get here: Cyclone drops and logs them.
        """
        for sample in self._reader.take(_QUEUE):
            info = sample.sample_info  # type: ignore[attr-defined] # set by the binding
            if info.valid_data:
                yield Beat(info.publication_handle, sample.data)

    def enable_writers(self) -> int:
        """How many writers of enable are in the domain; 1 is this process alone."""
        return self._matched.count(self._others)

    def write(self, enable: bool) -> None:
        """Publish one safety/enable, never waiting for a reader that lags."""
        try:
            self._writer.write(Bool(data=enable))
        except DDSException as error:
            # Then this one is missing, and silence stops the base as well.
            if error.code != DDSException.DDS_RETCODE_TIMEOUT:
                raise


def dds_topic(namespace: str, name: str) -> str:
    """The DDS name of a relative ROS topic; raises ValueError for a namespace that ROS refuses."""
    parts = [part for part in namespace.split('/') if part]
    for part in parts:
        if not (part.isidentifier() and part.isascii()):
            raise ValueError(f'namespace {namespace}: {part!r} is not a ROS name')
    return '/'.join(['rt', *parts, name])


def domain_id(environment: Mapping[str, str]) -> int:
    """ROS_DOMAIN_ID, 0 by default; raises ValueError when it is no domain."""
    text = environment.get('ROS_DOMAIN_ID') or '0'
    if not text.isdecimal() or int(text) > _MAX_DOMAIN_ID:
        raise ValueError(f'ROS_DOMAIN_ID = {text}: must be 0 to {_MAX_DOMAIN_ID}')
    return int(text)


def configurations(environment: Mapping[str, str]) -> list[str]:
    """Cyclone configurations that find the same peers as rclpy does; the first that works counts.

    As in rmw_cyclonedds the user's CYCLONEDDS_URI comes last, so that it has the last word. Raises
    ValueError for a discovery range that ROS does not know.
    """
    if environment.get('ROS_LOCALHOST_ONLY') == '1':
        where = 'LOCALHOST'
    else:
        where = environment.get('ROS_AUTOMATIC_DISCOVERY_RANGE') or 'SUBNET'
    peers = [peer for peer in environment.get('ROS_STATIC_PEERS', '').split(';') if peer]
    for peer in peers:
        if not all(letter.isalnum() or letter in '.-:_%' for letter in peer):
            raise ValueError(f'ROS_STATIC_PEERS: {peer!r} is not an address')
    user = environment.get('CYCLONEDDS_URI')
    general, discovery, interfaces = '', '', ''
    match where:
        case 'LOCALHOST':
            peers = ['localhost', *peers]
            # Cyclone 11 ignores who announces itself on an interface that it does not use, and
            # rclpy announces itself on localhost.
            interfaces = ('<Interfaces><NetworkInterface autodetermine="true"/>'
                          '<NetworkInterface name="lo"/></Interfaces>')
            general = '<AllowMulticast>false</AllowMulticast>'
            discovery = ('<ParticipantIndex>auto</ParticipantIndex>'
                         '<MaxAutoParticipantIndex>32</MaxAutoParticipantIndex>')
        case 'OFF':
            peers = []
            general = '<AllowMulticast>false</AllowMulticast>'
            discovery = ('<ParticipantIndex>none</ParticipantIndex>'
                         f'<Tag>ros_discovery_off_{os.getpid()}</Tag>')
        case 'SUBNET' | 'SYSTEM_DEFAULT':
            pass
        case _:
            raise ValueError(f'ROS_AUTOMATIC_DISCOVERY_RANGE = {where}: must be LOCALHOST, SUBNET, '
                             'OFF or SYSTEM_DEFAULT')
    if peers:
        places = ''.join(f'<Peer address="{peer}"/>' for peer in peers)
        discovery += f'<Peers>{places}</Peers>'
    # With the network down the loopback is the one determined, and twice is once too often; and a
    # user who names interfaces names all of them.
    choices = [interfaces, ''] if interfaces and not user else ['']
    return [f'<CycloneDDS><Domain id="any"><General>{general}{choice}</General>'
            f'<Discovery>{discovery}</Discovery></Domain></CycloneDDS>{f",{user}" if user else ""}'
            for choice in choices]


def _open_domain(domain_id: int, configs: Sequence[str]) -> Domain:
    for config in configs[:-1]:
        try:
            return Domain(domain_id, config)
        except DDSException:
            continue
    return Domain(domain_id, configs[-1])
