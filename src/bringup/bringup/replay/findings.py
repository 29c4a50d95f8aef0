"""What a replay found: its stops, and a picture of them. Pure, from what was heard."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np

from bringup.replay.carmen import CarmenScan
from bringup.replay.player import Heard

matplotlib.use('Agg')
import itertools

from matplotlib import pyplot

COLOURS = {'RUNNING': '#2e8b57', 'SLOWED': '#edae49', 'STOPPED': '#d1495b', 'LATCHED': '#7b2d8b',
           'STARTING': '#999999'}


@dataclass(frozen=True)
class Stop:
    t_s: float
    seconds: float
    state: str
    reasons: str
    distance_m: str


def stops(heard: list[Heard]) -> list[Stop]:
    """Each time the robot was held: when, how long, why, and how near the nearest object was."""
    found: list[Stop] = []
    begin: Heard | None = None
    for now in [*heard, None]:
        held = now is not None and now.state in ('STOPPED', 'LATCHED')
        if held and begin is None:
            begin = now
        elif not held and begin is not None:
            end_s = now.t_s if now is not None else heard[-1].t_s
            found.append(Stop(begin.t_s, end_s - begin.t_s, begin.state, begin.reasons,
                              begin.distance_m))
            begin = None
    return found


def share(heard: list[Heard], state: str) -> float:
    return sum(h.state == state for h in heard) / max(len(heard), 1)


def draw_map(path: Path, scans: list[CarmenScan], heard: list[Heard], rate_hz: float) -> None:
    """The building from its own scans, and the path in the colours of the reflex's states."""
    figure, axes = pyplot.subplots(figsize=(9, 9))
    for scan in scans[::max(1, len(scans) // 400)]:
        x, y, theta = scan.pose
        angles = theta + np.linspace(-np.pi / 2, np.pi / 2, len(scan.ranges))
        seen = np.isfinite(scan.ranges)
        axes.plot(x + scan.ranges[seen] * np.cos(angles[seen]),
                  y + scan.ranges[seen] * np.sin(angles[seen]), ',', color='#9aa5af')
    poses = np.array([scan.pose[:2] for scan in scans])
    for state, colour in COLOURS.items():
        at = [min(int(h.t_s * rate_hz), len(poses) - 1) for h in heard if h.state == state]
        if at:
            axes.plot(*poses[at].T, '.', color=colour, markersize=5, label=state.lower())
    _finish(figure, axes, path, 'x, m', 'y, m', equal=True)


def draw_time(path: Path, heard: list[Heard]) -> None:
    """Granted speed over time, with the states behind it."""
    figure, axes = pyplot.subplots(figsize=(11, 3.2))
    for now, later in itertools.pairwise(heard):
        axes.axvspan(now.t_s, later.t_s, color=COLOURS[now.state], alpha=0.25, linewidth=0)
    axes.plot([h.t_s for h in heard], [h.granted_mps for h in heard], color='#1f77b4')
    for state, colour in COLOURS.items():
        if any(h.state == state for h in heard):
            axes.plot([], [], color=colour, linewidth=8, alpha=0.25, label=state.lower())
    _finish(figure, axes, path, 'seconds', 'granted, m/s', equal=False)


def _finish(figure: 'pyplot.Figure', axes: 'pyplot.Axes', path: Path, x: str, y: str, *,
            equal: bool) -> None:
    axes.set(xlabel=x, ylabel=y)
    if equal:
        axes.set_aspect('equal')
    axes.legend(loc='lower center', bbox_to_anchor=(0.5, 1.0), ncol=5, frameon=False)
    figure.savefig(path, dpi=110, bbox_inches='tight')
    pyplot.close(figure)
