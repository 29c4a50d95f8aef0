"""A picture of one trace: what each client sends to a joint, and how far that is from the plan."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
from policy_seam_clients import Drive
from policy_seam_traces import ROW_S, Trace, make

matplotlib.use('Agg')
from matplotlib import pyplot

_COLOURS = {'ours': '#0b6e4f', 'weighted_average': '#1f77b4', 'latest_only': '#d1495b',
            'average': '#8e6c8a', 'conservative': '#e09f3e', 'ideal': '#444444'}
_TRACES = (('smooth', 'every chunk a little off'), ('two_plans', 'two ways to go'),
           ('new_target', 'the target jumps'))
_SHOWN_S, _OUTPUT_HZ = 3.0, 200


def write(folder: Path, clients: Mapping[str, Callable[[Trace, int], Drive]]) -> Path:
    """Draw the traces' most eventful seconds into folder/policy_seams.png."""
    figure, axes = pyplot.subplots(3, len(_TRACES), figsize=(17, 10), sharex='col',
                                   height_ratios=(3, 1.4, 1.4), layout='constrained')
    for column, (name, title) in zip(axes.T, _TRACES, strict=True):
        trace = make(name, 'six_times', 6, 30.0, seed=0)
        drives = {client: call(trace, _OUTPUT_HZ) for client, call in clients.items()
                  if client in _COLOURS}
        times = drives['ours'].times
        ideal = trace.ideal(times)
        drives['ideal'] = replace(drives['ours'], commands=ideal)
        start, joint = _eventful(drives['latest_only'].commands, times)
        shown = (times >= start) & (times < start + _SHOWN_S)
        for client, drive in drives.items():
            style = {'color': _COLOURS[client], 'linewidth': 2.2 if client == 'ours' else 1.2,
                     'label': client, 'zorder': 3 if client == 'ours' else 2,
                     'linestyle': '--' if client == 'ideal' else '-'}
            change = np.diff(drive.commands[:, joint], prepend=drive.commands[0, joint])
            column[0].plot(times[shown], drive.commands[shown, joint], **style)
            if client != 'ideal':
                column[1].plot(times[shown], _rate(change, _OUTPUT_HZ)[shown],
                               **style)
                column[2].plot(times[shown], 1e3 * np.abs(drive.commands - ideal)[shown, joint],
                               **style)
        for seam in drives['ours'].seams:
            if start <= times[seam] < start + _SHOWN_S:
                for axis in column:
                    axis.axvline(times[seam], color='#dddddd', linewidth=0.8, zorder=0)
        column[0].set_title(f'{name}: {title} (joint {joint})')
        column[2].set_xlabel('s; grey: a new chunk arrives')
    for axis, label in zip(axes[:, 0], ('command, rad', 'rate over three rows, rad/s',
                                        'distance from the plan, mrad'), strict=True):
        axis.set_ylabel(label)
    axes[0, 0].legend(loc='best', fontsize=9)
    figure.suptitle('Commands at 200 Hz from the same chunks with the same delays '
                    '(0.1 s, one in thirty six times as long)')
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'policy_seams.png'
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path


def _eventful(commands: np.ndarray, times: np.ndarray) -> tuple[float, int]:
    """When to begin, and which joint to show: around the largest change of a command."""
    change = np.abs(np.diff(commands, axis=0))
    change[times[1:] < 3.0] = 0.0
    change[times[1:] > times[-1] - _SHOWN_S] = 0.0
    at, joint = np.unravel_index(int(change.argmax()), change.shape)
    return float(times[at]) - _SHOWN_S / 3, int(joint)


def _rate(change: np.ndarray, rate_hz: int) -> np.ndarray:
    """The mean rate over the last three rows, at each output: stairs of one row do not show."""
    width = round(3 * ROW_S * rate_hz)
    return np.convolve(change, np.full(width, rate_hz / width))[:len(change)]
