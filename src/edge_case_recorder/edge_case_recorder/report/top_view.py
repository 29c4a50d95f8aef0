"""The scan at the trigger from above: the robot's outline, its field and the nearest object."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.path import Path as Outline

from edge_case_recorder.report.samples import Samples
from edge_case_recorder.report.timeline import INK, STYLE, TRIGGER, png

MAX_BEAMS = 100_000
_REACH_M = 8.0
_COLOURS = ('#1f77b4', '#2e8b57', '#b07aa1', '#e07b39', '#17a2a2', '#8d99a6')


@dataclass(frozen=True)
class View:
    """The picture and what it shows in words."""

    png: bytes
    sentences: list[str]


def draw(samples: Samples) -> View | None:
    """None where no scan has a point."""
    base = _base_frame(samples)
    clouds, sentences = {}, []
    for topic, (at_s, scan) in sorted(samples.scans.items()):
        frame = str(scan.header.frame_id)[:60]
        placed = _in_base(points(scan), frame, base, samples.transforms)
        if placed is None:
            sentences.append(f'{topic}: not drawn, no static transform from {frame!r} to {base!r}.')
        elif not len(placed):
            sentences.append(f'{topic}: no beam hit anything.')
        else:
            clouds[topic] = placed
            sentences.append(f'{topic}: {len(placed)} points, {_when(at_s)}.')
    if not clouds:
        return None
    outline = _polygon(samples, 'footprint', base)
    field = _polygon(samples, 'stop_field', base)
    found = _nearest(clouds, outline)
    if found is not None:
        sentences.insert(0, found[2])
    if outline is None:
        sentences.append('The robot\'s outline is not in this bag (safety/markers).')
    with rc_context(STYLE):
        return View(_picture(clouds, base, outline, field, found), sentences)


def points(scan: Any) -> np.ndarray:
    """The hits of a LaserScan in its own frame, (n, 2), metres; REP 117: inf is no hit."""
    ranges = np.asarray(scan.ranges, float)[:MAX_BEAMS]
    angles = scan.angle_min + scan.angle_increment * np.arange(len(ranges))
    with np.errstate(invalid='ignore'):
        good = np.isfinite(ranges) & np.isfinite(angles) & (ranges > 0) & (
            ranges >= scan.range_min) & (ranges <= scan.range_max)
    return ranges[good, None] * np.column_stack((np.cos(angles[good]), np.sin(angles[good])))


def _base_frame(samples: Samples) -> str:
    """The frame to draw in: of the outline, else the root above the first scan."""
    if 'footprint' in samples.outlines:
        return samples.outlines['footprint'][0]
    frame = next((str(scan.header.frame_id) for _, (_, scan) in sorted(samples.scans.items())), '')
    for _ in range(len(samples.transforms)):
        if frame not in samples.transforms:
            break
        frame = samples.transforms[frame][0]
    return frame


def _in_base(cloud: np.ndarray, frame: str, base: str,
             transforms: Mapping[str, tuple[str, Any]]) -> np.ndarray | None:
    """Carry points (n, 2) up the tree of static transforms; None where base is not above."""
    placed = np.column_stack((cloud, np.zeros(len(cloud))))
    for _ in range(len(transforms) + 1):
        if frame == base:
            return placed[:, :2]
        if frame not in transforms:
            return None
        frame, transform = transforms[frame]
        shift = transform.translation
        placed = placed @ _rotation(transform.rotation).T + (shift.x, shift.y, shift.z)
        if not np.isfinite(placed).all():
            return None
    return None


def _rotation(q: Any) -> np.ndarray:
    """The rotation matrix (3, 3) of a quaternion, which need not be of length one."""
    x, y, z, w = np.array([q.x, q.y, q.z, q.w]) / (math.hypot(q.x, q.y, q.z, q.w) or math.nan)
    return np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                     [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                     [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]])


def _polygon(samples: Samples, name: str, base: str) -> np.ndarray | None:
    frame, corners = samples.outlines.get(name, ('', []))
    return np.array(corners) if corners and frame == base else None


def _nearest(clouds: Mapping[str, np.ndarray], outline: np.ndarray | None
             ) -> tuple[np.ndarray, np.ndarray, str] | None:
    """The nearest point that is not the robot: (it, the robot's nearest point, a sentence)."""
    best: tuple[float, np.ndarray, np.ndarray, str] | None = None
    for topic, cloud in clouds.items():
        outside = cloud
        if outline is not None:
            outside = cloud[~Outline(outline).contains_points(cloud)]
        if not len(outside):
            continue
        from_robot = _onto(outside, outline)
        distances = np.hypot(*(outside - from_robot).T)
        at = int(distances.argmin())
        if best is None or distances[at] < best[0]:
            best = float(distances[at]), outside[at], from_robot[at], topic
    if best is None:
        return None
    distance, point, origin, topic = best
    of = "the robot's outline" if outline is not None else 'the origin of the frame'
    degrees = math.degrees(math.atan2(point[1], point[0]))
    side = 'left' if degrees > 0 else 'right'
    return point, origin, (f'Nearest object: {distance:.2f} m from {of}, {abs(degrees):.0f}° to '
                           f'the {side} of straight ahead ({topic}).')


def _onto(cloud: np.ndarray, outline: np.ndarray | None) -> np.ndarray:
    """For each point (n, 2) the nearest one of the outline's edges; the origin without one."""
    if outline is None:
        return np.zeros_like(cloud)
    best, distance = np.zeros_like(cloud), np.full(len(cloud), np.inf)
    for start, end in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        edge = end - start
        along = np.clip((cloud - start) @ edge / max(float(edge @ edge), 1e-12), 0, 1)
        foot = start + along[:, None] * edge
        gap = np.hypot(*(cloud - foot).T)
        nearer = gap < distance
        best[nearer], distance[nearer] = foot[nearer], gap[nearer]
    return best


def _when(at_s: float) -> str:
    return f'{abs(at_s) * 1000:.0f} ms {"before" if at_s <= 0 else "after"} the trigger'


def _picture(clouds: Mapping[str, np.ndarray], base: str, outline: np.ndarray | None,
             field: np.ndarray | None, found: tuple[np.ndarray, np.ndarray, str] | None) -> bytes:
    figure = Figure(figsize=(7.6, 6.4))
    axes = figure.subplots()
    if field is not None:
        axes.fill(*field.T, facecolor='#edae49', alpha=0.22, edgecolor='#b5791a', linewidth=1.2,
                  label='protective field in force', zorder=1)
    for number, (topic, cloud) in enumerate(clouds.items()):
        axes.scatter(cloud[:, 0], cloud[:, 1], s=5, zorder=3, linewidths=0,
                     color=_COLOURS[number % len(_COLOURS)], label=topic[:60])
    if outline is not None:
        axes.fill(*outline.T, color=INK, zorder=4, label='robot')
    axes.plot([0, 0.5], [0, 0], color='white' if outline is not None else INK, linewidth=1.6,
              zorder=5)
    reach = _REACH_M
    if found is not None:
        point, origin, _ = found
        axes.plot([origin[0], point[0]], [origin[1], point[1]], color=TRIGGER, linewidth=1.2,
                  zorder=5)
        axes.plot(*point, 'o', markersize=11, markerfacecolor='none', markeredgecolor=TRIGGER,
                  markeredgewidth=1.8, zorder=6, label='nearest object', linestyle='')
        distance = float(np.hypot(*(point - origin)))
        axes.annotate(f'{distance:.2f} m', (point[0], point[1]), xytext=(9, 7),
                      textcoords='offset points', color=TRIGGER, fontweight='bold', zorder=7)
        reach = float(np.clip(3 * distance + 1, 3.0, 30.0))
    if field is not None:
        reach = max(reach, 1.3 * float(np.abs(field).max()))
    axes.set(aspect='equal', xlabel=f'x of {base or "the scanner"}, m (ahead)',
             ylabel='y, m (left)', xlim=(-reach, reach), ylim=(-reach, reach))
    axes.grid(color='#e6eaee', linewidth=0.7, zorder=0)
    axes.legend(loc='upper center', bbox_to_anchor=(0.5, -0.11), ncol=2, frameon=False, fontsize=9)
    return png(figure)
