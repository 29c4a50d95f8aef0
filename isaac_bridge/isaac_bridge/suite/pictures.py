"""What a gate's report shows: the rates with their intervals, and two drives side by side."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np

from ..episode.drive import Episode
from ..scenario import PERSON_RADIUS_M, Scenario
from .plan import Suite
from .verdict import Verdict

matplotlib.use('Agg')
from matplotlib import pyplot
from matplotlib.patches import Circle, Rectangle

INK, CANDIDATE, BASE, PERSON, RACK = '#22303c', '#1f77b4', '#8a6d3b', '#d1495b', '#c9ced3'
STYLE: Any = {'font.size': 10, 'axes.edgecolor': INK, 'axes.labelcolor': INK, 'text.color': INK,
         'xtick.color': INK, 'ytick.color': INK, 'axes.spines.top': False,
         'axes.spines.right': False}
_Episodes = Mapping[tuple[str, int], Episode]


def rates(suite: Suite, verdict: Verdict) -> bytes:
    """PNG: both rates of success, and their difference beside the margin."""
    comparison = verdict.comparison
    with pyplot.rc_context(STYLE):
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 2.4))
        for row, (rate, interval, colour) in enumerate((
                (comparison.pairs.base_rate, comparison.base, BASE),
                (comparison.pairs.candidate_rate, comparison.candidate, CANDIDATE))):
            left.plot([interval.low, interval.high], [row, row], color=colour, linewidth=3)
            left.plot([rate], [row], 'o', color=colour, markersize=8)
            left.annotate(f'{rate:.1%}', (rate, row), xytext=(0, 9), textcoords='offset points',
                          ha='center')
        left.set(yticks=[0, 1], yticklabels=['base', 'candidate'], xlim=(-0.02, 1.02),
                 ylim=(-0.6, 1.7), xlabel=f'rate of success, {suite.confidence:.0%} interval')
        interval = comparison.difference
        right.axvspan(-1, -suite.margin, color='#f8d0d0')
        right.axvline(0, color=INK, linewidth=0.8)
        right.plot([interval.low, interval.high], [0, 0], color=CANDIDATE, linewidth=3)
        right.plot([comparison.pairs.difference], [0], 'o', color=CANDIDATE, markersize=8)
        reach = max(0.15, abs(interval.low) * 1.2, abs(interval.high) * 1.2)
        right.set(yticks=[], xlim=(-reach, reach), ylim=(-1, 1),
                  xlabel=f'candidate minus base, paired; red: beyond the margin, {suite.margin:g}')
        return _png(figure)


def clearances(candidate: _Episodes, base: _Episodes) -> bytes:
    """PNG: how near each drive came to people while it moved, and how long it took."""
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(1, 2, figsize=(11, 2.8))
        for found, name, colour in ((base, 'base', BASE), (candidate, 'candidate', CANDIDATE)):
            gaps = [one.min_clearance_m for one in found.values()
                    if np.isfinite(one.min_clearance_m)]
            axes[0].hist(gaps, bins=np.arange(0, 3.05, 0.1), alpha=0.6, color=colour, label=name)
            axes[1].hist([one.seconds for one in found.values()], bins=30, alpha=0.6,
                         color=colour, label=name)
        axes[0].set(xlabel='least distance to a person in motion, m', ylabel='episodes')
        axes[1].set(xlabel='duration, s', ylabel='episodes')
        axes[0].legend(frameon=False)
        return _png(figure)


def drives(scenario: Scenario, candidate: Episode, base: Episode) -> bytes:
    """PNG: the same seed driven by both, from above, and their speeds along the way."""
    with pyplot.rc_context(STYLE):
        figure, (above, speed) = pyplot.subplots(
            2, 1, figsize=(11, 5.2), height_ratios=(3, 2), sharex=True)
        _racks(above, scenario)
        for person in range((base.rows.shape[1] - 5) // 4):
            x, y = base.rows[:, 5 + 4 * person], base.rows[:, 6 + 4 * person]
            above.plot(x, y, color=PERSON, linewidth=1, label='people' if person == 0 else None)
        for episode, name, colour in ((base, 'base', BASE), (candidate, 'candidate', CANDIDATE)):
            above.plot(episode.rows[:, 1], episode.rows[:, 2], color=colour, label=name)
            speed.plot(episode.rows[:, 1], episode.rows[:, 4], color=colour,
                       label=f'{name}: {episode.stops} stops, {episode.seconds:.0f} s')
            _where_nearest(above, episode, colour)
        above.set(ylabel='y, m', aspect='equal', ylim=_across(scenario, base, candidate))
        above.legend(loc='upper right', ncols=3, frameon=False)
        speed.set(xlabel='x, m', ylabel='speed, m/s', ylim=(-0.05, 1.0))
        speed.legend(loc='lower right', frameon=False)
        return _png(figure)


def _where_nearest(axes: Any, episode: Episode, colour: str) -> None:
    """The person at the instant of the least distance, as large as they are."""
    nearest = None
    for person in range((episode.rows.shape[1] - 5) // 4):
        places = episode.rows[:, 5 + 4 * person:7 + 4 * person]
        gaps = np.hypot(*(places - episode.rows[:, 1:3]).T)
        row = int(np.argmin(gaps))
        if nearest is None or gaps[row] < nearest[0]:
            nearest = (gaps[row], places[row], episode.rows[row, 1:3])
    if nearest is not None:
        _, person_at, robot_at = nearest
        axes.add_patch(Circle(person_at, PERSON_RADIUS_M, color=PERSON, alpha=0.7))
        axes.plot(*zip(person_at, robot_at, strict=True), color=colour, linewidth=0.8,
                  linestyle=':')


def _across(scenario: Scenario, *episodes: Episode) -> tuple[float, float]:
    half = scenario.aisle.half_width_m + scenario.aisle.rack_depth_m
    reach = max(2.5, *(float(np.abs(one.rows[:, 2]).max()) + 1.0 for one in episodes))
    return -min(max(half, reach), 5.0), min(max(half, reach), 5.0)


def _racks(axes: Any, scenario: Scenario) -> None:
    for box in scenario.aisle.racks():
        axes.add_patch(Rectangle((box.x0, box.y0), box.x1 - box.x0, box.y1 - box.y0, color=RACK))


def pick(verdict: Verdict, suite: Suite, case_scenarios: Sequence[Scenario], candidate: _Episodes,
         base: _Episodes) -> tuple[Scenario, int]:
    """The drive to show: of a case if there is one, else where the two differ most."""
    if case_scenarios:
        return case_scenarios[0], min(seed for name, seed in candidate
                                      if name == case_scenarios[0].name)
    scenarios = {entry.scenario.name: entry.scenario for entry in suite.entries}
    name, seed = max((key for key in candidate if key[0] in scenarios), key=lambda key: (
        candidate[key].success != base[key].success, abs(candidate[key].stops - base[key].stops),
        -key[1]))
    return scenarios[name], seed


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=110, bbox_inches='tight')
    pyplot.close(figure)
    return buffer.getvalue()
