"""What one bag says, cut down to what a page can show: bounded, whatever the bag holds.

The bag is read twice: once to count, without decoding anything, and once to decode the topics that
a page shows. Topics are found by their type; their names say which part they play.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_case_recorder.bag_messages import Bag, BagError, Heard, bags_under
from edge_case_recorder.report.frames import Frame, thumbnail

MAX_BAG_BYTES = 8_000_000_000
MAX_POINTS = 4000           # of one line in the timeline
MAX_TEXTS = 2000            # changes of one status field
MAX_TOPICS_OF_A_KIND = 6
FRAMES_S = -2.0, -1.0, -0.5, 0.0, 0.5, 1.0   # of one camera, seconds from the trigger
_S = 1_000_000_000
_MAX_TEXT = 120
_TWISTS = {'geometry_msgs/msg/Twist', 'geometry_msgs/msg/TwistStamped', 'nav_msgs/msg/Odometry'}
_IMAGES = {'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'}
_SCAN, _TF, _MARKERS = ('sensor_msgs/msg/LaserScan', 'tf2_msgs/msg/TFMessage',
                        'visualization_msgs/msg/MarkerArray')
_STATUS = 'diagnostic_msgs/msg/DiagnosticArray'
_JOINTS = 'sensor_msgs/msg/JointState'


@dataclass
class Count:
    """A topic's messages. longest_ns: the longest time between two of them."""

    type: str
    messages: int = 0
    first_ns: int = 0
    last_ns: int = 0
    longest_ns: int = 0

    @property
    def rate_hz(self) -> float | None:
        """None for fewer than two messages, or all at one instant."""
        span = self.last_ns - self.first_ns
        return (self.messages - 1) * _S / span if span > 0 else None


@dataclass
class Line:
    """Numbers over time, at most one each MAX_POINTS-th of the bag: (seconds, value)."""

    points: list[tuple[float, float]] = field(default_factory=list)
    gap_s: float = 0.0

    def add(self, at_s: float, value: float) -> None:
        if not self.points or at_s - self.points[-1][0] >= self.gap_s:
            self.points.append((at_s, value))


@dataclass
class Samples:
    """What a page shows. Times `_s` are seconds from the trigger, floats; `_ns` are the bag's.

    speeds: topic -> m/s, forwards; joints: the fastest joint of a JointState, rad/s or m/s.
    states, reasons, sources: the changes of a status' field, as (seconds, text).
    staleness: ms. scans: topic -> the last one at or before the trigger.
    transforms: child frame -> (parent frame, Transform), of tf_static.
    outlines: marker namespace -> polygon (n, 2) in `outline_frame`, metres.
    """

    bag: Path
    trigger_ns: int
    start_ns: int
    end_ns: int
    counts: dict[str, Count]
    shown: dict[str, str]
    speeds: dict[str, Line] = field(default_factory=dict)
    joints: dict[str, Line] = field(default_factory=dict)
    staleness: Line = field(default_factory=Line)
    states: list[tuple[float, str]] = field(default_factory=list)
    reasons: list[tuple[float, str]] = field(default_factory=list)
    sources: list[tuple[float, str]] = field(default_factory=list)
    scans: dict[str, tuple[float, Any]] = field(default_factory=dict)
    transforms: dict[str, tuple[str, Any]] = field(default_factory=dict)
    outlines: dict[str, tuple[str, list[tuple[float, float]]]] = field(default_factory=dict)
    cameras: dict[str, list[Frame]] = field(default_factory=dict)
    undecodable: Mapping[str, int] = field(default_factory=dict)


def read(path: Path, trigger_ns: int | None, *, pictures: bool = True) -> Samples:
    """Read one bag; raises BagError. trigger_ns: None for a bag that has none (its middle)."""
    bags = bags_under(path)
    if len(bags) != 1 or bags[0] != path:
        raise BagError(f'{path}: holds {len(bags)} bags; name one')
    files = [path] if path.is_file() else sorted(path.glob('*.mcap'))
    size = sum(file.stat().st_size for file in files)
    if size > MAX_BAG_BYTES:
        raise BagError(f'{path}: {size} bytes, more than the {MAX_BAG_BYTES} that a page is made '
                       'from')
    counts = _counted(path)
    start = min(each.first_ns for each in counts.values())
    end = max(each.last_ns for each in counts.values())
    samples = Samples(path, (start + end) // 2 if trigger_ns is None else trigger_ns, start, end,
                      counts, _to_show(counts, pictures))
    gap_s = (end - start) / _S / MAX_POINTS
    samples.staleness.gap_s = gap_s
    bag = Bag(path)
    for heard in bag.messages(samples.shown):
        if heard.content is not None:
            try:
                _take(samples, heard, gap_s)
            except (AttributeError, TypeError, ValueError, OverflowError):
                bag.undecodable[heard.topic] += 1   # a type of that name with other fields
    samples.undecodable = dict(bag.undecodable)
    return samples


def _counted(path: Path) -> dict[str, Count]:
    counts: dict[str, Count] = {}
    for heard in Bag(path).messages(()):
        count = counts.setdefault(heard.topic, Count(heard.type, first_ns=heard.log_ns))
        if count.messages:
            count.longest_ns = max(count.longest_ns, heard.log_ns - count.last_ns)
        count.messages += 1
        count.last_ns = heard.log_ns
    if not counts:
        raise BagError(f'{path}: holds no message')
    return counts


def _to_show(counts: Mapping[str, Count], pictures: bool) -> dict[str, str]:
    """Topic -> its type, of those that a page shows; a few of each kind, the busiest last out."""
    shown: dict[str, str] = {}
    kinds: tuple[set[str], ...] = (_TWISTS, {_SCAN}, {_TF}, {_MARKERS}, {_STATUS}, {_JOINTS})
    for kind in (*kinds, _IMAGES) if pictures else kinds:
        names = sorted((name for name, count in counts.items() if count.type in kind
                        and (kind != {_STATUS} or name.endswith(('/state', '/status')))
                        and (kind != {_TF} or name.endswith('tf_static'))),
                       key=lambda name: (len(name), name))
        shown.update((name, counts[name].type) for name in names[:MAX_TOPICS_OF_A_KIND])
    return shown


def _take(samples: Samples, heard: Heard, gap_s: float) -> None:
    at_s = (heard.log_ns - samples.trigger_ns) / _S
    content = heard.content
    if heard.type in _TWISTS:
        stamped = content.twist if hasattr(content, 'twist') else content
        twist = stamped.twist if hasattr(stamped, 'twist') else stamped
        _line(samples.speeds, heard.topic, gap_s).add(at_s, float(twist.linear.x))
    elif heard.type == _JOINTS:
        moving = [abs(float(each)) for each in content.velocity if math.isfinite(each)]
        if moving:
            _line(samples.joints, heard.topic, gap_s).add(at_s, max(moving))
    elif heard.type == _STATUS:
        _status(samples, heard.topic, at_s, content)
    elif heard.type == _SCAN:
        if at_s <= 0 or heard.topic not in samples.scans:
            samples.scans[heard.topic] = at_s, content
    elif heard.type == _TF:
        for each in content.transforms[:1000]:
            samples.transforms[each.child_frame_id] = each.header.frame_id, each.transform
    elif heard.type == _MARKERS:
        _outline(samples, at_s, content)
    elif heard.type in _IMAGES:
        _picture(samples, heard.topic, at_s, content)


def _line(lines: dict[str, Line], topic: str, gap_s: float) -> Line:
    return lines.setdefault(topic, Line(gap_s=gap_s))


def _status(samples: Samples, topic: str, at_s: float, content: Any) -> None:
    """The fields of `safety/state` and of `policy/status`, as docs/contracts.md has them."""
    for status in content.status[:64]:
        values = {pair.key: str(pair.value)[:_MAX_TEXT] for pair in status.values[:256]}
        if topic.endswith('safety/state') and 'state' in values:
            _changed(samples.states, at_s, values['state'])
            _changed(samples.reasons, at_s, values.get('reasons', ''))
        elif topic.endswith('policy/status') and 'source' in values:
            _changed(samples.sources, at_s, values['source'])
            with suppress(ValueError):   # nothing was asked yet, so nothing is stale
                samples.staleness.add(at_s, float(values.get('staleness_ms', '')))


def _changed(changes: list[tuple[float, str]], at_s: float, text: str) -> None:
    if len(changes) < MAX_TEXTS and (not changes or changes[-1][1] != text):
        changes.append((at_s, text))


def _outline(samples: Samples, at_s: float, content: Any) -> None:
    """The robot's outline and the field in force, of the reflex's markers (base frame, metres)."""
    for marker in content.markers[:64]:
        if marker.ns not in ('footprint', 'stop_field') or (
                at_s > 0 and marker.ns in samples.outlines):
            continue
        points = [(float(point.x), float(point.y)) for point in marker.points[:500]]
        if len(points) >= 3 and all(math.isfinite(x) and math.isfinite(y) for x, y in points):
            samples.outlines[marker.ns] = marker.header.frame_id, points


def _picture(samples: Samples, topic: str, at_s: float, content: Any) -> None:
    """Keep the frame that is nearest to each of the wanted times, small at once."""
    frames = samples.cameras.setdefault(topic, [])
    made: Frame | None = None
    for slot, wanted in enumerate(_wanted(samples)):
        if slot < len(frames) and abs(frames[slot].at_s - wanted) <= abs(at_s - wanted):
            continue
        made = made or thumbnail(content, at_s)
        frames[slot:slot + 1] = [made]


def _wanted(samples: Samples) -> list[float]:
    """Seconds from the trigger of the frames to show: those of FRAMES_S that the bag reaches."""
    first = (samples.start_ns - samples.trigger_ns) / _S
    last = (samples.end_ns - samples.trigger_ns) / _S
    return [at for at in FRAMES_S if first <= at <= last or at == 0]
