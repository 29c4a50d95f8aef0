"""Observations: the newest message of each topic, at most so old and so far apart, as tensors.

Nothing here waits: an observation is taken from what is there, and everything that is missing,
stale, skewed or wrong has an outcome under its key's name.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_client import images, rotations
from policy_client.embodiment import (
    COMPRESSED_IMAGE,
    JOINT_STATE,
    Component,
    Embodiment,
    SeenFrom,
    StateKey,
    VideoKey,
)
from policy_client.handshake import Signature
from policy_client.vocabulary import Vocabulary, VocabularyError

Tensors = dict[str, NDArray[Any]]
_MS = 1_000_000
# With a simulated clock a message may be taken before the /clock that belongs to it.
_AHEAD_NS = 100 * _MS
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Sample:
    """A message with the time it arrived (the node's clock) and its own stamp (ROS time).

    Ages are counted on the first, so that a jump of ROS time cannot make old data fresh. The
    stamps are only compared with each other: a camera that lags behind odometry is found by them.
    """
    message: Any
    received_ns: int
    stamp_ns: int | None = None


@dataclass(frozen=True)
class Observation:
    inputs: Tensors
    observed_ns: int               # arrival of its oldest part that grows old
    stamp_ns: int                  # newest ROS stamp in it; 0 when no part is stamped
    stamps_ns: Mapping[str, int]   # key -> ROS stamp
    masked: tuple[str, ...]        # video keys sent as zeros
    outcomes: Mapping[str, str]    # why they are masked


@dataclass(frozen=True)
class Lacking:
    """No observation: what is wrong, by key."""
    outcomes: Mapping[str, str]

    def __str__(self) -> str:
        return '; '.join(f'{key}: {outcome}' for key, outcome in self.outcomes.items())


class _Unusable(Exception):
    pass


def pick(message: Any, path: str) -> Any:
    """A field of a message by its dotted path; raises AttributeError."""
    return reduce(getattr, path.split('.'), message)


def assemble(embodiment: Embodiment, vocabulary: Vocabulary, signature: Signature,
             samples: Mapping[str, Sample], now_ns: int) -> Observation | Lacking:
    """The observation at now_ns from the newest sample of each topic.

    Returns Lacking with every outcome, not only the first, when a part that must be there is not.
    """
    inputs: Tensors = {}
    outcomes: dict[str, str] = {}
    masked: list[str] = []
    stamps: dict[str, int] = {}
    observed = now_ns

    def used(name: str, sample: Sample, ages: bool) -> None:
        nonlocal observed
        if ages:
            observed = min(observed, sample.received_ns)
        if sample.stamp_ns is not None:
            stamps[name] = sample.stamp_ns

    newest = _newest_stamp(embodiment, samples)
    for state in embodiment.state:
        try:
            inputs[state.name] = _state(state, samples, newest, now_ns)
            used(state.name, samples[state.topic], not state.latched)
            if state.seen_from:
                used(f'{state.name}.seen_from', samples[state.seen_from.topic], True)
        except _Unusable as reason:
            outcomes[state.name] = str(reason)
    language = embodiment.language
    try:
        inputs[language.name] = _language(embodiment, vocabulary, signature, samples)
    except _Unusable as reason:
        outcomes[language.name] = str(reason)
    lacking = dict(outcomes)
    for video in embodiment.video:
        height, width = signature.images[video.name]
        try:
            picture = _picture(video, samples, newest, now_ns)
            inputs[video.name] = images.fitted(picture, height, width)[None, None]
            used(video.name, samples[video.topic], True)
        except (_Unusable, images.ImageError) as reason:
            outcomes[video.name] = str(reason)
            if not video.mask_when_lacking:
                lacking[video.name] = str(reason)
            inputs[video.name] = np.zeros((1, 1, height, width, 3), np.uint8)
            masked.append(video.name)
    if lacking:
        return Lacking(lacking)
    stamp = max((stamps[name] for name in stamps), default=0)
    return Observation(inputs, observed, stamp, stamps, tuple(masked), outcomes)


def blank(embodiment: Embodiment, signature: Signature) -> Tensors:
    """All-zero inputs: what a probe sends before the robot has seen anything."""
    inputs: Tensors = {
        name: np.zeros((1, 1, *size, 3), np.uint8) for name, size in signature.images.items()}
    for state in embodiment.state:
        inputs[state.name] = np.zeros((1, 1, len(state.components)), np.float32)
    inputs[embodiment.language.name] = (
        np.zeros((1, signature.tokens), np.int64) if embodiment.language.tokens
        else np.array([[b'']], dtype=np.object_))
    return inputs


def position_seen_from(odometry: Any, position: tuple[float, float]) -> tuple[float, float]:
    """A position (m, odometry's frame) in the base frame of a nav_msgs/Odometry; REP-103 axes."""
    pose = odometry.pose.pose
    q = pose.orientation
    yaw = math.atan2(2.0 * (q.w * q.z + q.x * q.y), 1.0 - 2.0 * (q.y * q.y + q.z * q.z))
    dx, dy = position[0] - pose.position.x, position[1] - pose.position.y
    cos, sin = math.cos(yaw), math.sin(yaw)
    return cos * dx + sin * dy, cos * dy - sin * dx


def goal_position(key: StateKey, samples: Mapping[str, Sample],
                  now_ns: int) -> tuple[float, float] | str:
    """The goal in the base frame, metres, not clipped; or why it is not known."""
    try:
        return _seen(key, _sample(samples, key.topic, None, now_ns), samples, now_ns)
    except _Unusable as reason:
        return str(reason)


def _newest_stamp(embodiment: Embodiment, samples: Mapping[str, Sample]) -> int | None:
    streams = [topic for topic, (_, latched) in embodiment.topics.items() if not latched]
    stamps = [samples[topic].stamp_ns for topic in streams if topic in samples]
    return max((stamp for stamp in stamps if stamp is not None), default=None)


def _sample(samples: Mapping[str, Sample], topic: str, max_age_ns: int | None,
            now_ns: int) -> Sample:
    sample = samples.get(topic)
    if sample is None:
        raise _Unusable(f'missing: nothing came on {topic} yet')
    age = now_ns - sample.received_ns
    if max_age_ns is not None and age > max_age_ns:
        raise _Unusable(f'stale: {topic} is {age // _MS} ms old, {max_age_ns // _MS} are allowed')
    if age < -_AHEAD_NS:
        raise _Unusable(f'future: {topic} is {-age // _MS} ms ahead of the clock')
    return sample


def _in_step(sample: Sample, topic: str, max_skew_ns: int, newest: int | None) -> None:
    if sample.stamp_ns is not None and newest is not None and (
            newest - sample.stamp_ns > max_skew_ns):
        raise _Unusable(f'skewed: {topic} is stamped {(newest - sample.stamp_ns) // _MS} ms '
                        f'before the newest part, {max_skew_ns // _MS} are allowed')


def _picture(key: VideoKey, samples: Mapping[str, Sample], newest: int | None,
             now_ns: int) -> images.Picture:
    sample = _sample(samples, key.topic, key.max_age_ns, now_ns)
    _in_step(sample, key.topic, key.max_skew_ns, newest)
    convert = images.from_compressed if key.type == COMPRESSED_IMAGE else images.from_image
    return convert(sample.message)


def _state(key: StateKey, samples: Mapping[str, Sample], newest: int | None,
           now_ns: int) -> NDArray[np.float32]:
    sample = _sample(samples, key.topic, key.max_age_ns, now_ns)
    if key.max_skew_ns is not None:
        _in_step(sample, key.topic, key.max_skew_ns, newest)
    if key.seen_from:
        x, y = _seen(key, sample, samples, now_ns)
        shrink = min(1.0, key.clip_radius_m / max(math.hypot(x, y), 1e-9)) if (
            key.clip_radius_m) else 1.0
        values = [x * shrink, y * shrink]
    else:
        values = _values(key, sample.message)
    return np.array(values, np.float32).reshape(1, 1, -1)


def _seen(key: StateKey, sample: Sample, samples: Mapping[str, Sample],
          now_ns: int) -> tuple[float, float]:
    seen_from: SeenFrom | None = key.seen_from
    assert seen_from is not None
    odometry = _sample(samples, seen_from.topic, seen_from.max_age_ns, now_ns).message
    goal_frame, frame = sample.message.header.frame_id, odometry.header.frame_id
    if goal_frame != frame:
        raise _Unusable(f'frame: {key.topic} is in {goal_frame!r}, {seen_from.topic} in {frame!r}')
    x, y = _values(key, sample.message)
    position = position_seen_from(odometry, (x, y))
    if not all(map(math.isfinite, position)):
        raise _Unusable(f'not finite: the pose in {seen_from.topic}')
    return position


def _values(key: StateKey, message: Any) -> list[float]:
    """The columns in the data set's units; finite, also as float32."""
    read = _joint_reader(key, message) if key.type == JOINT_STATE else _field_value
    found = []
    for part in key.components:
        what = f"{part.field} of joint '{part.joint}'" if part.joint else part.field
        try:
            value = part.scale * read(part, message) + part.offset
        except ValueError as error:
            raise _Unusable(f'{what} of {key.topic}: {error}') from None
        if not abs(value) <= _LARGEST:  # NaN too
            raise _Unusable(f'not finite: {what} of {key.topic} is {value}')
        found.append(value)
    return found


def _field_value(part: Component, message: Any) -> float:
    value = pick(message, part.field)
    if not part.rotation:
        return float(value)
    quaternion = (float(value.x), float(value.y), float(value.z), float(value.w))
    return rotations.value(part.rotation, quaternion, part.near)


def _joint_reader(key: StateKey, message: Any) -> Callable[[Component, Any], float]:
    """Reads by joint names, whatever their order in this message."""
    places = {str(name): place for place, name in enumerate(message.name)}
    if len(places) != len(message.name):
        raise _Unusable(f'malformed: a joint is twice in {key.topic}')

    def read(part: Component, message: Any) -> float:
        values = getattr(message, part.field)
        if part.joint not in places:
            raise _Unusable(f"missing: joint '{part.joint}' is not in {key.topic}")
        if len(values) != len(places):
            raise _Unusable(f'malformed: {key.topic} has {len(values)} values of {part.field} for '
                            f'{len(places)} joints')
        return float(values[places[part.joint]])

    return read


def _language(embodiment: Embodiment, vocabulary: Vocabulary, signature: Signature,
              samples: Mapping[str, Sample]) -> NDArray[Any]:
    key = embodiment.language
    sample = samples.get(key.topic)
    text = str(pick(sample.message, key.field)) if sample else ''
    if not text.strip():
        raise _Unusable(f'missing: no instruction on {key.topic}')
    if not key.tokens:
        return np.array([[text.encode()]], dtype=np.object_)
    try:
        unknown = vocabulary.unknown(text)
        if unknown and key.refuse_unknown_words:
            raise _Unusable(f'unknown word {unknown[0]!r} in the instruction')
        return vocabulary.encode(text, signature.tokens)[None]
    except VocabularyError as error:
        raise _Unusable(str(error)) from error
