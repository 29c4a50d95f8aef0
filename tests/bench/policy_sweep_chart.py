"""The sweep as a heat map: duty cycle, starvation and staleness over loss and delay."""

from bisect import bisect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from policy_drive import Target
from policy_network import COMPUTE_MS

_NOTHING = '#d8d8d8'
# Single-hue ramps, light to dark with more of it; each cell says its number as well.
_PANELS = (('duty', 'Duty: share of outputs that execute a chunk, %', 100.0, 'Blues', 100.0),
           ('starved_s_max', 'Starvation: longest hold, s ({most:g} s: all of it)', 1.0,
            'Oranges', None),
           ('staleness_ms_max', 'Staleness: oldest observation executed, ms', 1.0, 'Purples', None))


def write(folder: Path, sweeps: Sequence[tuple[Target, Sequence[dict[str, Any]]]],
          seconds: float) -> Path:
    """policy_sweep.png in folder: a line of panels for each sweep, all without a fallback; what
    the fallback makes of the first is said in words, for it is the same in every cell."""
    losses = sorted({row['loss'] for _, rows in sweeps for row in rows})
    delays = sorted({row['delay_ms'] for _, rows in sweeps for row in rows})
    figure = Figure(figsize=(19, 10.5), layout='constrained')
    axes = figure.subplots(len(sweeps), 3, squeeze=False)
    for line, (chosen, rows) in enumerate(sweeps):
        name = (f'{chosen.name}: deadline {chosen.deadline_ms:g} ms (dashed), inference '
                f'{chosen.inference_rate_hz:g} Hz, no fallback')
        for column, (key, title, scale, colours, most) in enumerate(_PANELS):
            values = np.full((len(losses), len(delays)), np.nan)
            for row in rows:
                found = row[key]
                if found is not None:
                    values[losses.index(row['loss']), delays.index(row['delay_ms'])] = found
            largest = most or (seconds if column == 1 else chosen.max_age_ms)
            _panel(axes[line][column], values * scale, losses, delays, colours, largest)
            axes[line][column].set_title(f'{title.format(most=seconds)}\n{name}', fontsize=10)
            # Behind the last column whose replies can come in time.
            axes[line][column].axvline(
                bisect(delays, chosen.deadline_ms - COMPUTE_MS) - 0.5, color='black',
                linewidth=1.2, linestyle='--')
    chosen, rows = sweeps[0]
    aided = [row['fallback'] for row in rows if 'fallback' in row]
    every = [row for _, each in sweeps for row in each] + aided
    figure.suptitle(
        f'Loss and delay; output {chosen.output_rate_hz:g} Hz. Executed on an observation older '
        f'than max_age ({chosen.max_age_ms:g} ms): {sum(row["stale_executed"] for row in every)} '
        f'outputs.\nWith the ONNX file on board, {chosen.name}, every cell: duty at least '
        f'{100 * min(row["duty"] for row in aided):.0f} %, longest hold '
        f'{max(row["starved_s_max"] for row in aided):g} s, oldest observation '
        f'{max(row["staleness_ms_max"] for row in aided):.0f} ms.', fontsize=13)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'policy_sweep.png'
    figure.savefig(path, dpi=100)
    return path


def _panel(axis: Axes, values: NDArray[np.float64], losses: Sequence[float],
           delays: Sequence[float], colours: str, largest: float) -> None:
    colour_map = mpl.colormaps[colours].with_extremes(bad=_NOTHING)
    shown = axis.imshow(np.ma.masked_invalid(values), origin='lower', aspect='auto',
                        cmap=colour_map, vmin=0.0, vmax=largest)
    few = len(delays) <= 12
    axis.set_xticks(range(len(delays)), [f'{delay:g}' if few or not index % 2 else ''
                                         for index, delay in enumerate(delays)])
    axis.set_yticks(range(len(losses)), [f'{100 * loss:.0f}' if few or not index % 2 else ''
                                         for index, loss in enumerate(losses)])
    axis.set_xlabel('delay added to a round trip, ms')
    axis.set_ylabel('requests or replies that never come, %')
    axis.figure.colorbar(shown, ax=axis, fraction=0.05)
    if not few:
        return
    for (line, column), value in np.ndenumerate(values):
        text = '–' if np.isnan(value) else f'{value:.0f}' if value >= 9.95 else f'{value:.2g}'
        axis.text(column, line, text, ha='center', va='center', fontsize=8,
                  color='white' if value > 0.6 * largest else 'black')
