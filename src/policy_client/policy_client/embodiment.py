"""An embodiment: which topic feeds which input of a policy, and which action drives what.

Keys are GR00T's: `video.*`, `state.*`, one bare language key, `action.*`. Sizes that belong to the
network (image size, action horizon, number of tokens) are not in it: they come from the model at
the handshake. embodiment_file.py reads one from YAML; docs/embodiments.md explains each key.

    python -m policy_client.embodiment_file config/embodiments/amr.yaml

prints the modality digest, which a model publishes to say that it was trained for this description.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

SCHEMA_VERSION = 1
IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
ODOMETRY = 'nav_msgs/msg/Odometry'
POSE = 'geometry_msgs/msg/PoseStamped'
JOINT_STATE = 'sensor_msgs/msg/JointState'
STRING = 'std_msgs/msg/String'
STATE_TYPES = (ODOMETRY, POSE, JOINT_STATE)
# What a state may be taken from, by message; a rotation is taken from a whole quaternion.
QUATERNIONS = {ODOMETRY: ('pose.pose.orientation',), POSE: ('pose.orientation',)}
NUMBERS = {
    kind: (*(f'{pose}.position.{axis}' for axis in 'xyz'),
           *(f'{pose}.orientation.{axis}' for axis in 'xyzw'),
           *(f'{twist}.{part}.{axis}' for twist in twists for part in ('linear', 'angular')
             for axis in 'xyz'))
    for kind, pose, twists in ((ODOMETRY, 'pose.pose', ('twist.twist',)), (POSE, 'pose', ()))}
TEXTS = ('data',)

TWIST = 'twist'
JOINTS = 'joints'
# What a component of a twist may drive.
TWIST_FIELDS = ('linear.x', 'linear.y', 'linear.z', 'angular.x', 'angular.y', 'angular.z')
# What an array of a JointState may be taken from.
JOINT_FIELDS = ('position', 'velocity', 'effort')
# The value itself; a relative one that the server has added to the state already; or whatever the
# data set has there (end-effector deltas, say), which a stated scale turns into SI units.
ABSOLUTE = 'absolute'
RESOLVED = 'resolved'
DATASET = 'dataset'
MEANINGS = (ABSOLUTE, RESOLVED, DATASET)
_MS = 1_000_000


@dataclass(frozen=True)
class VideoKey:
    """`video.<name>`: RGB, uint8 (1, T, H, W, 3); masked means all zero."""
    name: str
    topic: str
    type: str
    max_age_ns: int
    max_skew_ns: int
    mask_when_lacking: bool


@dataclass(frozen=True)
class Component:
    """One column of a state, in the data set's unit: scale * (what the message says) + offset.

    Attributes:
        field: dotted path in the message; of a JointState position, velocity or effort.
        joint: of a JointState, whose; empty for other messages.
        rotation: empty, or which part of which convention (rotations.py) is taken of the
            quaternion that field is.
        near: of the two rotation vectors of one orientation the one nearer to this one (radians);
            None takes the shorter. Only with axis_angle.
    """
    name: str
    unit: str
    field: str
    joint: str = ''
    rotation: str = ''
    scale: float = 1.0
    offset: float = 0.0
    near: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class SeenFrom:
    """A position is turned into the base frame of this odometry; both must name the same frame."""
    topic: str
    type: str
    max_age_ns: int


@dataclass(frozen=True)
class StateKey:
    """`state.<name>`: float32 (1, T, D), D = number of components, in the data set's units."""
    name: str
    topic: str
    type: str
    components: tuple[Component, ...]
    max_age_ns: int | None  # None: said once (latched), it does not grow old
    max_skew_ns: int | None
    seen_from: SeenFrom | None
    clip_radius_m: float | None

    @property
    def latched(self) -> bool:
        return self.max_age_ns is None


@dataclass(frozen=True)
class LanguageKey:
    """The instruction: int64 token ids (1, N), or the text itself as BYTES (1, 1)."""
    name: str
    topic: str
    type: str
    field: str
    tokens: bool
    refuse_unknown_words: bool


@dataclass(frozen=True)
class ActionComponent:
    """One column of an action: what it drives, in SI units, and the robot's limits for that.

    The driven quantity is scale * (what the network says) + offset. Limits are of the driven
    quantity: m/s and rad/s of a twist, rad and m of a joint.

    Attributes:
        unit: of what the network says.
        drives: one of TWIST_FIELDS, or a joint's name.
        max_rate: of the first derivative: acceleration of a twist, velocity of a joint.
        max_rate2: of the second: jerk of a twist, acceleration of a joint.
        max_rate3: of the third: infinite for a twist, jerk of a joint.
    """
    name: str
    unit: str
    drives: str
    minimum: float
    maximum: float
    max_rate: float
    max_rate2: float
    max_rate3: float
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class ActionKey:
    """`action.<name>`: float32 (1, H, D) from the network.

    Attributes:
        interface: TWIST (geometry_msgs/TwistStamped) or JOINTS (trajectory_msgs/JointTrajectory).
        frame: of the twist; empty for joints.
        meaning: one of MEANINGS.
        feedback: topic of the JointState that says where the joints are; empty for a twist.
    """
    name: str
    interface: str
    topic: str
    frame: str
    meaning: str
    feedback: str
    components: tuple[ActionComponent, ...]

    @property
    def positional(self) -> bool:
        """Whether a hold keeps the value; of a velocity a hold is zero."""
        return self.interface == JOINTS


@dataclass(frozen=True)
class Command:
    """What goes out on one topic: which columns of the action vector, in their order."""
    topic: str
    interface: str
    frame: str
    feedback: str
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Embodiment:
    """The action vector (D,) is all components of all action keys, in the file's order."""
    name: str
    action_period_ns: int
    video: tuple[VideoKey, ...]
    state: tuple[StateKey, ...]
    language: LanguageKey
    actions: tuple[ActionKey, ...]

    @property
    def action_period_ms(self) -> int:
        """To the whole millisecond, as models publish it: 67 for 15 rows a second."""
        return round(self.action_period_ns / _MS)

    @cached_property
    def columns(self) -> tuple[ActionComponent, ...]:
        """What each column of the action vector is."""
        return tuple(part for key in self.actions for part in key.components)

    @cached_property
    def positional(self) -> tuple[bool, ...]:
        """Of each column, whether it is a position."""
        return tuple(key.positional for key in self.actions for _ in key.components)

    @cached_property
    def slices(self) -> Mapping[str, slice]:
        """Action key -> its columns."""
        found, end = {}, 0
        for key in self.actions:
            found[key.name] = slice(end, end + len(key.components))
            end += len(key.components)
        return found

    @cached_property
    def commands(self) -> tuple[Command, ...]:
        """One for each topic that is driven; keys of one topic agree in all but their columns."""
        columns: dict[str, list[int]] = {}
        first: dict[str, ActionKey] = {}
        for key in self.actions:
            part = self.slices[key.name]
            columns.setdefault(key.topic, []).extend(range(part.start, part.stop))
            first.setdefault(key.topic, key)
        return tuple(Command(topic, key.interface, key.frame, key.feedback, tuple(columns[topic]))
                     for topic, key in first.items())

    @cached_property
    def topics(self) -> dict[str, tuple[str, bool]]:
        """Every topic to listen to: its message type, and whether it is latched."""
        found = {topic: (kind, False) for _, topic, kind in self.streams()}
        for state in self.state:
            if state.latched:
                found[state.topic] = (state.type, True)
        found[self.language.topic] = (self.language.type, True)
        return found

    def streams(self) -> Iterator[tuple[str, str, str]]:
        """(key, topic, type) of everything that is listened to but the language."""
        for key in self.video:
            yield key.name, key.topic, key.type
        for state in self.state:
            yield state.name, state.topic, state.type
            if state.seen_from:
                yield f'{state.name}.seen_from', state.seen_from.topic, state.seen_from.type
        for action in self.actions:
            if action.feedback:
                yield f'{action.name}.feedback', action.feedback, JOINT_STATE

    @cached_property
    def goal(self) -> StateKey | None:
        """The latched position that the robot is sent to, if the embodiment has one."""
        return next((key for key in self.state if key.seen_from), None)

    def modality(self) -> dict[str, Any]:
        """What a network must agree with: names, order, units, conventions, meaning.

        How a robot is wired to it (topics, limits, scales) is not part of it.
        """
        return {
            'schema_version': SCHEMA_VERSION,
            'embodiment': self.name,
            'action_period_ms': self.action_period_ms,
            'video': [{'name': key.name, 'colour': 'rgb'} for key in self.video],
            'state': [{
                'name': key.name,
                'components': [_convention(part) for part in key.components],
                'frame': 'base' if key.seen_from else 'message',
                'clip_radius_m': key.clip_radius_m} for key in self.state],
            'language': {'name': self.language.name,
                         'form': 'tokens' if self.language.tokens else 'text'},
            'action': [{
                'name': key.name, 'meaning': key.meaning,
                'components': [[part.name, part.unit] for part in key.components],
            } for key in self.actions],
        }

    def modality_sha256(self, vocabulary_sha256: str) -> str:
        """Digest of the modality and of the vocabulary, in canonical JSON."""
        content = self.modality() | {'vocabulary_sha256': vocabulary_sha256}
        text = json.dumps(content, sort_keys=True, separators=(',', ':'))
        return hashlib.sha256(text.encode()).hexdigest()


def _convention(part: Component) -> list[Any]:
    if not part.rotation:
        return [part.name, part.unit]
    return [part.name, part.unit, part.rotation, *([list(part.near)] if part.near else [])]
