"""What a bag holds of one robot's policy client: exchanges, commands, and what it saw."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import UInt8MultiArray

from policy_client import embodiment as emb
from policy_client import messages
from policy_client.embodiment import Embodiment
from policy_client.exchange import Exchange, ExchangeError, decode
from policy_client.replay import bag
from policy_client.replay.bag import BagError, Logged

EXCHANGE = 'policy/exchange'
_ARRAY_TYPE = 'std_msgs/msg/UInt8MultiArray'
_TYPES = {emb.IMAGE: Image, emb.COMPRESSED_IMAGE: CompressedImage, emb.ODOMETRY: Odometry,
          emb.POSE: PoseStamped, emb.JOINT_STATE: JointState}
_TYPE_NAMES = {emb.TWIST: 'geometry_msgs/msg/TwistStamped',
               emb.JOINTS: 'trajectory_msgs/msg/JointTrajectory'}
_MANIFEST_BYTES = 1 << 20
# A goal may carry no stamp at all: then all of them are stamped 0.
_SAME_STAMP = 64
# Encapsulation and stamp.
_SHORTEST = 12

# ROS stamp -> the messages that have it; a text in place of one that is damaged.
ByStamp = dict[int, list[Any]]


@dataclass(frozen=True)
class Told:
    """A message of policy/exchange; exchange is None where its bytes are damaged, why says how."""
    log_ns: int
    exchange: Exchange | None
    why: str = ''


@dataclass(frozen=True)
class Recording:
    """
    Attributes:
        exchanges: in order of log time.
        commands: command topic of the embodiment -> stamp -> its messages, in order.
        seen: input topic of the embodiment -> stamp -> serialised messages; only stamps that an
            exchange names.
        redacted: what the case's manifest says of it; empty when it says nothing.
    """
    namespace: str
    exchanges: tuple[Told, ...]
    commands: Mapping[str, ByStamp] = field(default_factory=dict)
    seen: Mapping[str, dict[int, list[Logged]]] = field(default_factory=dict)
    redacted: str = ''


def exchanges(path: Path, namespace: str | None = None) -> Recording:
    """The exchanges of a bag, without more; raises BagError.

    Args:
        namespace: of the robot; None where the bag holds one robot only.
    """
    known = bag.topics(path)
    spaces = sorted(topic.removesuffix(EXCHANGE) for topic, kind in known.items()
                    if f'/{topic}'.endswith(f'/{EXCHANGE}') and kind == _ARRAY_TYPE)
    if not spaces:
        raise BagError(f'{path}: holds no {EXCHANGE}: there is nothing to replay')
    if namespace is not None:
        chosen = f'/{namespace.strip("/")}/'.replace('//', '/')
        if chosen not in spaces:
            raise BagError(f'{path}: holds no {chosen}{EXCHANGE}, but {_listed(spaces)}')
    elif len(spaces) > 1:
        raise BagError(f'{path}: holds several robots, choose one with --namespace: '
                       f'{_listed(spaces)}')
    else:
        chosen = spaces[0]
    topic = f'{chosen}{EXCHANGE}'
    found = tuple(_told(logged) for logged in bag.messages(path, {topic})[topic])
    if not found:
        raise BagError(f'{path}: {topic} has no message')
    if not any(one.exchange for one in found):
        raise BagError(f'{path}: none of the {len(found)} messages of {topic} can be read: '
                       f'{found[0].why}')
    return Recording(chosen, found, redacted=_redacted(path))


def complete(path: Path, told: Recording, embodiment: Embodiment) -> Recording:
    """The same with the commands that went out and the messages that the policy saw."""
    types = bag.topics(path)
    names = {part.topic: _resolved(told.namespace, part.topic) for part in embodiment.commands}
    wanted = {topic: name for topic, name in names.items() if name in types}
    for part in embodiment.commands:
        kind = types.get(names[part.topic])
        if kind not in (None, _TYPE_NAMES[part.interface]):
            raise BagError(f'{path}: {names[part.topic]} is {kind}, the embodiment drives '
                           f'{_TYPE_NAMES[part.interface]}')
    raw = bag.messages(path, set(wanted.values()))
    commands: dict[str, ByStamp] = {}
    for part in embodiment.commands:
        by_stamp = commands.setdefault(part.topic, {})
        for logged in raw.get(names[part.topic], ()):
            stamp = bag.stamp_ns(logged.data)
            if stamp is None:
                continue
            try:
                message = decoded(logged.data, messages.message_type(part.interface))
            except BagError as error:
                message = str(error)
            by_stamp.setdefault(stamp, []).append(message)
    return Recording(told.namespace, told.exchanges, commands, _seen(path, told, embodiment, types),
                     told.redacted)


def decoded(data: bytes, kind: Any) -> Any:
    """A message from its serialised bytes; raises BagError."""
    from rclpy.serialization import deserialize_message  # needs rclpy, no node and no context
    if len(data) < _SHORTEST:  # the middleware reads the first four bytes whether or not they exist
        raise BagError(f'a message of type {kind.__name__} is cut off after {len(data)} bytes')
    try:
        return deserialize_message(data, kind)
    except Exception:  # the middleware's own, whose words are about its source
        raise BagError(f'a message of type {kind.__name__} is damaged') from None


def input_message(kind: str, logged: Logged) -> Any:
    """A message of an input topic of this type (sensor_msgs/msg/Image, ..)."""
    return decoded(logged.data, _TYPES[kind])


def input_topics(embodiment: Embodiment) -> dict[str, tuple[str, str]]:
    """Key of stamps_ns -> (topic, type)."""
    return {key: (topic, kind) for key, topic, kind in embodiment.streams()}


def _seen(path: Path, told: Recording, embodiment: Embodiment,
          types: Mapping[str, str]) -> dict[str, dict[int, list[Logged]]]:
    wanted: dict[str, set[int]] = {}
    of_topic: dict[str, str] = {}
    keys = input_topics(embodiment)
    for one in told.exchanges:
        for key, stamp in (one.exchange.stamps_ns if one.exchange else {}).items():
            if key not in keys:
                continue
            topic, kind = keys[key]
            name = _resolved(told.namespace, topic)
            if types.get(name) == kind:
                wanted.setdefault(name, set()).add(stamp)
                of_topic[topic] = name
    raw = bag.messages(path, wanted, lambda name, data: bag.stamp_ns(data) in wanted[name])
    found: dict[str, dict[int, list[Logged]]] = {}
    for topic, name in of_topic.items():
        by_stamp = found.setdefault(topic, {})
        for logged in raw[name]:
            same = by_stamp.setdefault(bag.stamp_ns(logged.data) or 0, [])
            same.append(logged)
            del same[:-_SAME_STAMP]
    return found


def _told(logged: Logged) -> Told:
    try:
        return Told(logged.log_ns, decode(bytes(decoded(logged.data, UInt8MultiArray).data)))
    except (ExchangeError, BagError) as error:
        return Told(logged.log_ns, None, str(error))


def _resolved(namespace: str, topic: str) -> str:
    return topic if topic.startswith('/') else f'{namespace}{topic}'


def _listed(spaces: list[str]) -> str:
    return ', '.join(spaces[:10]) + (' ..' if len(spaces) > 10 else '')


def _redacted(path: Path) -> str:
    """What the manifest of a case says of its redaction."""
    file = path / 'manifest.json' if path.is_dir() else path.parent / 'manifest.json'
    try:
        if not file.is_file() or file.stat().st_size > _MANIFEST_BYTES:
            return ''
        content = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError):
        return ''  # the bag is replayed, not its manifest
    said = content.get('redaction') if isinstance(content, dict) else None
    return json.dumps(said)[:200] if said else ''
