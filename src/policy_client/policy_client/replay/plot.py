"""The action stream of a recording, column by column, with what a live policy would have made."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np

from policy_client import messages
from policy_client.chunks import Array
from policy_client.embodiment import TWIST, Embodiment
from policy_client.replay.playback import Tick
from policy_client.replay.recording import ByStamp

matplotlib.use('Agg')
from matplotlib import pyplot

MAX_COLUMNS = 64
# A line is broken where so many ticks are missing.
_GAP_TICKS = 4
_MANY_SEAMS = 300
_RECORDED, _OTHER, _SEAM = '#8ab6d6', '#b3262e', '#c9c9c9'


def draw(path: Path, embodiment: Embodiment, commands: Mapping[str, ByStamp],
         played: Sequence[Tick], live: Sequence[Tick] | None, runs_on: str) -> None:
    """Write a PNG: one panel a column, seconds from the first tick, a grey line at each new chunk.

    Args:
        played: the ticks of the recording, replayed.
        live: the same ticks with the replies of a live policy; None draws the replay itself.
        runs_on: what the live policy is called.
    """
    count = min(len(embodiment.columns), MAX_COLUMNS)
    across = 1 if count <= 4 else 2 if count <= 16 else 4
    down = -(-count // across)
    figure, grid = pyplot.subplots(down, across, sharex=True, squeeze=False,
                                   figsize=(11 if across < 4 else 18, 1.2 + 2.1 * down),
                                   layout='constrained')
    start = played[0].stamp_ns
    recorded = _recorded(embodiment, commands, start)
    seams = [_seconds(now.stamp_ns, start) for before, now in pairwise(played)
             if now.request and now.request != before.request]
    other = played if live is None else live
    seconds = np.array([_seconds(tick.stamp_ns, start) for tick in other])
    values = np.array([tick.action for tick in other])
    for column in range(count):
        axes = grid[column % down][column // down]
        part = embodiment.columns[column]
        if seams and len(seams) <= _MANY_SEAMS:
            axes.vlines(seams, 0, 1, transform=axes.get_xaxis_transform(), color=_SEAM,
                        linewidth=0.7, label=f'new chunk leads ({len(seams)})')
        axes.plot(*_broken(*recorded[column]), color=_RECORDED, linewidth=3.2,
                  solid_capstyle='round', label='recorded command')
        axes.plot(*_broken(seconds, values[:, column]), color=_OTHER, linewidth=1.1,
                  label='replay' if live is None else f'with the live policy ({runs_on})'[:80])
        # A title and no label at the side: a joint's name may be longer than its panel is high.
        axes.set_title(f'{part.name}, {_unit(embodiment, column)}', loc='left', fontsize='medium')
        if column % down == down - 1 or column == count - 1:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel('seconds')
        axes.margins(x=0.01)
        for side in ('top', 'right'):
            axes.spines[side].set_visible(False)
        low, high = axes.get_ylim()
        if high - low < 1e-3:  # a value that hardly changes is drawn flat, not as noise
            axes.set_ylim((low + high) / 2 - 0.05, (low + high) / 2 + 0.05)
    for place in range(count, down * across):
        grid[place % down][place // down].set_visible(False)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside upper center', ncol=3, frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _recorded(embodiment: Embodiment, commands: Mapping[str, ByStamp],
              start: int) -> list[tuple[Array, Array]]:
    """Of each column, seconds and values of the messages in the bag."""
    found: list[tuple[Array, Array]] = []
    topics = {column: part.topic for part in embodiment.commands for column in part.columns}
    taken = {topic: [(stamp, messages.taken(embodiment, {topic: message}))
                     for stamp, same in sorted(by_stamp.items()) for message in same
                     if not isinstance(message, str)]
             for topic, by_stamp in commands.items()}
    for column in range(len(embodiment.columns)):
        rows = taken.get(topics[column], [])
        found.append((np.array([_seconds(stamp, start) for stamp, _ in rows]),
                      np.array([action[column] for _, action in rows])))
    return found


def _broken(seconds: Array, values: Array) -> tuple[Array, Array]:
    """A line that does not bridge what is not there."""
    if len(seconds) < 2:
        return seconds, values
    steps = np.diff(seconds)
    gaps = np.flatnonzero(steps > _GAP_TICKS * np.median(steps)) + 1
    return np.insert(seconds, gaps, np.nan), np.insert(values, gaps, np.nan)


def _unit(embodiment: Embodiment, column: int) -> str:
    """Of what is driven."""
    positional = embodiment.positional[column]
    key = next(key for key in embodiment.actions
               if embodiment.slices[key.name].start <= column < embodiment.slices[key.name].stop)
    if key.interface == TWIST and not positional:
        return 'rad/s' if embodiment.columns[column].drives.startswith('angular') else 'm/s'
    return 'rad or m'


def _seconds(stamp_ns: int, start_ns: int) -> float:
    return (stamp_ns - start_ns) / 1e9
