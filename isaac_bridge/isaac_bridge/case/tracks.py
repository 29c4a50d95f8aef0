"""Who moved: people's tracks from a robot's scans, by plain geometry.

A point of a scan belongs to somebody who moves when, at other times of the case, beams went well
past that place: what stands still is never seen through. Such points are grouped along the scan,
and the groups are followed from scan to scan at a walking pace. It takes whoever moves for a person
of 0.20 m radius: a forklift becomes several. Who stands still all the time is part of the world.
"""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from ..robot import Robot
from ..scenario import PERSON_RADIUS_M
from .recorded import Recorded

RATE_HZ = 10.0              # scans that are looked at
SEEN_THROUGH_M = 0.4        # a beam that goes so far past a place has found it free
SEEN_THROUGH_S = 0.4        # for so long in all
GROUP_M = 0.3               # points of one person lie no farther apart
FEWEST_POINTS = 3
WIDEST_M = 0.9
FASTEST_MPS = 3.0
LOST_S = 0.8                # somebody hidden for longer is somebody new
SHORTEST_S = 0.6
SHORTEST_M = 0.35           # whoever moved less only swayed
SMOOTH_S = 0.5
# A person is as far away as a robot that looks 20 m can be sure of with half a degree a beam.
FARTHEST_M = 12.0


@dataclasses.dataclass
class Track:
    """points (k, 3): t (s), x, y (m, `odom`) of a person's axis."""

    points: NDArray[np.float64]

    @property
    def length_m(self) -> float:
        return float(np.hypot(*np.diff(self.points[:, 1:], axis=0).T).sum())

    @property
    def span_m(self) -> float:
        return float(np.hypot(*np.ptp(self.points[:, 1:], axis=0)))


def people(case: Recorded, robot: Robot) -> list[Track]:
    """Everybody who moved, in the order of their first sight."""
    chosen = _chosen(case.times_s)
    sensors = case.sensors(robot)[chosen]
    scans, times = case.scans[chosen], case.times_s[chosen]
    hits = [_hits(scans[k], case.angles_rad, sensors[k]) for k in range(len(chosen))]
    needed = max(2, round(SEEN_THROUGH_S * RATE_HZ))
    open_tracks: list[list[tuple[float, float, float]]] = []
    done: list[list[tuple[float, float, float]]] = []
    for k in range(len(chosen)):
        points, beams = hits[k]
        moves = _seen_through(points, k, scans, case.angles_rad, sensors) >= needed
        centres = [_centre(group, sensors[k]) for group in _groups(points[moves], beams[moves])]
        open_tracks, ended = _follow(open_tracks, centres, float(times[k]))
        done += ended
    tracks = [Track(_smooth(np.array(points))) for points in (*done, *open_tracks)
              if len(points) >= SHORTEST_S * RATE_HZ]
    return sorted((track for track in tracks if track.span_m >= SHORTEST_M),
                  key=lambda track: track.points[0, 0])


def standing(case: Recorded, robot: Robot) -> NDArray[np.float64]:
    """(n, 2): x, y of points of what never moved."""
    chosen = _chosen(case.times_s)
    sensors, scans = case.sensors(robot)[chosen], case.scans[chosen]
    found = []
    for k in range(len(chosen)):
        points, _ = _hits(scans[k], case.angles_rad, sensors[k])
        found.append(points[_seen_through(points, k, scans, case.angles_rad, sensors) == 0])
    return np.concatenate(found)


def _chosen(times_s: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices of scans near a grid of RATE_HZ."""
    grid = np.arange(times_s[0], times_s[-1], 1.0 / RATE_HZ)
    return np.unique(np.searchsorted(times_s, grid))


def _hits(scan: NDArray[np.float64], angles: NDArray[np.float64], sensor: NDArray[np.float64]
          ) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Points (n, 2) in `odom`, and their beams."""
    beams = np.flatnonzero(np.isfinite(scan) & (scan < FARTHEST_M))
    turn = angles[beams] + sensor[2]
    return np.stack([sensor[0] + scan[beams] * np.cos(turn),
                     sensor[1] + scan[beams] * np.sin(turn)], axis=1), beams


def _seen_through(points: NDArray[np.float64], k: int, scans: NDArray[np.float64],
                  angles: NDArray[np.float64], sensors: NDArray[np.float64]) -> NDArray[np.intp]:
    """(n,): how many of the other scans looked past each point, with the beams on both sides."""
    step = float(angles[1] - angles[0])
    count = np.zeros(len(points), np.intp)
    for j in range(len(scans)):
        if j == k:
            continue
        dx, dy = points[:, 0] - sensors[j, 0], points[:, 1] - sensors[j, 1]
        distance = np.hypot(dx, dy)
        beam = (np.arctan2(dy, dx) - sensors[j, 2] - angles[0]) / step
        beam = np.round(beam % (2 * math.pi / step)).astype(np.intp)
        known = beam < len(angles)
        # Grazing beams along a wall differ by metres from one to the next: the nearest counts.
        near = np.fmin.reduce([scans[j][np.clip(beam + d, 0, len(angles) - 1)]
                               for d in (-2, -1, 0, 1, 2)])
        count += known & (near > distance + SEEN_THROUGH_M)
    return count


def _groups(points: NDArray[np.float64], beams: NDArray[np.intp]) -> list[NDArray[np.float64]]:
    """Runs of neighbouring points of a person's width."""
    if not len(points):
        return []
    cuts = np.flatnonzero((np.hypot(*np.diff(points, axis=0).T) > GROUP_M)
                          | (np.diff(beams) > 8)) + 1
    return [group for group in np.split(points, cuts) if len(group) >= FEWEST_POINTS
            and np.hypot(*np.ptp(group, axis=0)) <= WIDEST_M]


def _centre(group: NDArray[np.float64], sensor: NDArray[np.float64]) -> tuple[float, float]:
    """The axis of a cylinder whose near side these points are."""
    middle = group.mean(axis=0)
    away = middle - sensor[:2]
    distance = math.hypot(*away)
    nearest = float(np.hypot(*(group - sensor[:2]).T).min())
    return (float(sensor[0] + away[0] / distance * (nearest + PERSON_RADIUS_M)),
            float(sensor[1] + away[1] / distance * (nearest + PERSON_RADIUS_M)))


_Points = list[tuple[float, float, float]]


def _follow(tracks: list[_Points], centres: list[tuple[float, float]],
            now_s: float) -> tuple[list[_Points], list[_Points]]:
    """(tracks that go on, tracks that have ended); the nearest pairs first."""
    pairs = []
    for i, track in enumerate(tracks):
        x, y = _expected(track, now_s)
        reach = 0.3 + FASTEST_MPS * (now_s - track[-1][0])
        pairs += [(math.dist((x, y), centre), i, j) for j, centre in enumerate(centres)
                  if math.dist((x, y), centre) <= min(reach, 0.8)]
    taken: set[int] = set()
    grown: set[int] = set()
    for _, i, j in sorted(pairs):
        if i not in grown and j not in taken:
            tracks[i].append((now_s, *centres[j]))
            grown.add(i)
            taken.add(j)
    born = [[(now_s, *centre)] for j, centre in enumerate(centres) if j not in taken]
    alive = [track for track in tracks if now_s - track[-1][0] <= LOST_S]
    return [*alive, *born], [track for track in tracks if now_s - track[-1][0] > LOST_S]


def _expected(track: _Points, now_s: float) -> tuple[float, float]:
    """Where somebody is who walks on as over the last points."""
    t, x, y = track[-1]
    before = track[max(0, len(track) - 5)]
    span_s = t - before[0]
    if span_s <= 0.0:
        return x, y
    ahead = (now_s - t) / span_s
    return x + (x - before[1]) * ahead, y + (y - before[2]) * ahead


def _smooth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A straight line through each SMOOTH_S, taken at its middle: noise goes, corners stay."""
    smooth = points.copy()
    for i, (t, _, _) in enumerate(points):
        near = points[np.abs(points[:, 0] - t) <= SMOOTH_S / 2]
        if len(near) >= 3:
            for axis in (1, 2):
                smooth[i, axis] = np.polyval(np.polyfit(near[:, 0] - t, near[:, axis], 1), 0.0)
    return smooth
