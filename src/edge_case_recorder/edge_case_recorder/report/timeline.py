"""The timeline of a case: safety state, reasons, speeds, policy source and staleness over time."""

import io
import math
from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from edge_case_recorder.report.samples import Line, Samples

INK, TRIGGER = '#22303c', '#c0392b'
STATES = {'STARTING': '#d9d9d9', 'RUNNING': '#d8f0dc', 'SLOWED': '#fdebc8', 'STOPPED': '#f8d0d0',
          'LATCHED': '#e4d4ee'}
SOURCES = {'triton': '#76b900', 'onnx': '#edae49', 'hold': '#c9ced3'}
OTHERS = '#5b8fd6', '#b07aa1', '#9c755f', '#17a2a2'
LINES = ('#8d99a6', '#1f77b4', '#2e8b57', '#b07aa1', '#e07b39', '#17a2a2')
MAX_REASONS = 8
_MAX_SOURCES = 6
STYLE: Any = {'font.size': 10, 'axes.edgecolor': INK, 'axes.labelcolor': INK, 'text.color': INK,
         'xtick.color': INK, 'ytick.color': INK, 'axes.spines.top': False,
         'axes.spines.right': False, 'text.parse_math': False}
_S = 1_000_000_000


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=110, bbox_inches='tight')
    return buffer.getvalue()


def draw(samples: Samples) -> bytes:
    """A PNG, or nothing where the bag has none of it."""
    rows: list[tuple[float, str]] = []
    if samples.speeds:
        rows.append((5, 'speeds'))
    if samples.joints and (not samples.speeds or any(
            name.endswith('joint_trajectory') for name in samples.counts)):   # wheels say no more
        rows.append((3, 'joints'))
    elif samples.states and not samples.speeds:
        rows.append((2, 'states'))
    if names := _reasons(samples):
        rows.append((0.5 + 0.45 * len(names), 'reasons'))
    if samples.sources:
        rows.append((0.6, 'sources'))
    if samples.staleness.points:
        rows.append((1.8, 'staleness'))
    if not rows:
        return b''
    with rc_context(STYLE):
        heights = [height for height, _ in rows]
        figure = Figure(figsize=(12, 1.0 + 0.78 * sum(heights)))
        grid = figure.subplots(len(rows), 1, sharex=True, squeeze=False, height_ratios=heights,
                               gridspec_kw={'hspace': 0.22})[:, 0]
        for axes, (_, kind) in zip(grid, rows, strict=True):
            _ROWS[kind](axes, samples)
            axes.axvline(0, color=TRIGGER, linewidth=1.4, zorder=6)
        first, last = _span(samples)
        grid[0].set_xlim(first, last)
        grid[0].annotate('trigger', (0, 1), xycoords=('data', 'axes fraction'), xytext=(-5, -11),
                         textcoords='offset points', color=TRIGGER, fontsize=9, zorder=7,
                         ha='right')
        grid[-1].set_xlabel('seconds from the trigger')
        figure.align_ylabels(list(grid))
        return png(figure)


def _span(samples: Samples) -> tuple[float, float]:
    first = (samples.start_ns - samples.trigger_ns) / _S
    last = (samples.end_ns - samples.trigger_ns) / _S
    return min(first, 0.0), max(last, 0.0, first + 1e-3)


def _reasons(samples: Samples) -> list[str]:
    names = [name for _, text in samples.reasons for name in text.split(',') if name]
    return list(dict.fromkeys(names))[:MAX_REASONS]


def _bands(axes: Axes, samples: Samples, states: Sequence[tuple[float, str]]) -> list[Patch]:
    """Colour the axes by the state; return the legend's patches of the states that occur."""
    _, last = _span(samples)
    ends = [at for at, _ in states[1:]] + [last]
    for (at, name), end in zip(states, ends, strict=False):
        axes.axvspan(at, end, color=STATES.get(name, '#ffffff'), linewidth=0, zorder=0)
    return [Patch(color=STATES[name], label=name.lower()) for name in STATES
            if any(name == each for _, each in states)]


def _speeds(axes: Axes, samples: Samples) -> None:
    bands = _bands(axes, samples, samples.states)
    finite = sorted(abs(v) for name, line in samples.speeds.items() if _is_measured(samples, name)
                    or (name.endswith('/cmd_vel') and not _is_asked(name))
                    for _, v in line.points if math.isfinite(v))
    everything = [abs(v) for line in samples.speeds.values() for _, v in line.points
                  if math.isfinite(v)]
    # A command that was refused may be absurd: what the robot did sets the scale.
    top = 1.35 * max(finite[-1] if finite and finite[-1] > 0.05 else
                     max(everything, default=0.0), 0.1)
    low = min((v for line in samples.speeds.values() for _, v in line.points
               if math.isfinite(v)), default=0.0)
    bottom = -0.08 * top if low > -0.01 * top else -top
    wild: list[float] = []
    for number, (name, line) in enumerate(sorted(
            samples.speeds.items(), key=lambda item: (_is_measured(samples, item[0]),
                                                      not _is_asked(item[0]), item[0]))):
        times = [at for at, _ in line.points]
        inside = [v if math.isfinite(v) and bottom <= v <= top else math.nan
                  for _, v in line.points]
        wild += [at for at, v in line.points if not (math.isfinite(v) and bottom <= v <= top)]
        asked, measured = _is_asked(name), _is_measured(samples, name)
        axes.plot(times, inside, color=LINES[number % len(LINES)], label=_label(samples, name),
                  linewidth=1.0 if asked else 1.8, linestyle='--' if measured else '-',
                  zorder=3 + number, marker='.' if len(times) < 3 else '')
    if wild:
        axes.plot(wild, [0.96 * top] * len(wild), 'x', color=TRIGGER, markersize=4, zorder=5,
                  label='not finite, or off the scale')
    axes.set(ylabel='m/s', ylim=(bottom, top))
    handles, _ = axes.get_legend_handles_labels()
    axes.legend(handles=[*handles, *bands], ncol=min(4, len(handles) + len(bands)),
                loc='lower center', bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=9)


def _is_measured(samples: Samples, name: str) -> bool:
    return samples.shown.get(name) == 'nav_msgs/msg/Odometry'


def _is_asked(name: str) -> bool:
    return name.endswith(('policy/cmd_vel', 'teleop/cmd_vel'))


def _label(samples: Samples, name: str) -> str:
    short = name[:60]
    if _is_measured(samples, name):
        return f'measured ({short})'
    if name.endswith('/cmd_vel') and not _is_asked(name) and samples.states:
        return f'granted ({short})'
    return f'commanded ({short})'


def _joints(axes: Axes, samples: Samples) -> None:
    bands = _bands(axes, samples, samples.states) if not samples.speeds else []
    for number, (name, line) in enumerate(sorted(samples.joints.items())):
        axes.plot(*_xy(line), color=LINES[(number + 2) % len(LINES)], linewidth=1.2,
                  label=f'measured, fastest joint ({name[:60]})')
    axes.set(ylabel='rad/s or m/s', ylim=(0, None))
    handles, _ = axes.get_legend_handles_labels()
    axes.legend(handles=[*handles, *bands], loc='upper right', frameon=False, fontsize=9)


def _states(axes: Axes, samples: Samples) -> None:
    axes.legend(handles=_bands(axes, samples, samples.states), ncol=5, frameon=False, fontsize=9,
                loc='lower center', bbox_to_anchor=(0.5, 1.0))
    axes.set(yticks=[], ylabel='state')


def _reason_rows(axes: Axes, samples: Samples) -> None:
    names = _reasons(samples)
    _, last = _span(samples)
    ends = [at for at, _ in samples.reasons[1:]] + [last]
    for (at, text), end in zip(samples.reasons, ends, strict=True):
        for row, name in enumerate(names):
            if name in text.split(','):
                axes.barh(row, max(end - at, 0.0), left=at, height=0.62, color='#b5495b',
                          alpha=0.85)
    axes.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6))
    axes.tick_params(axis='y', length=0)


def _sources(axes: Axes, samples: Samples) -> None:
    names = list(dict.fromkeys(text for _, text in samples.sources))[:_MAX_SOURCES]
    others = iter(OTHERS)
    colours = {name: SOURCES.get(name.split(':')[0]) or next(others, '#5c6b78') for name in names}
    _, last = _span(samples)
    ends = [at for at, _ in samples.sources[1:]] + [last]
    for (at, name), end in zip(samples.sources, ends, strict=True):
        if name in names:
            axes.axvspan(at, end, color=colours[name], linewidth=0)
    axes.legend(handles=[Patch(color=colours[name], label=name or 'nobody')
                         for name in names], ncol=1, loc='center left',
                bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9, title='policy led by',
                title_fontsize=9, alignment='left')
    axes.set(yticks=[], ylabel='policy')


def _staleness(axes: Axes, samples: Samples) -> None:
    axes.plot(*_xy(samples.staleness), color='#1f77b4', linewidth=1.2, drawstyle='steps-post')
    axes.set(ylabel='staleness, ms', ylim=(0, None))


def _xy(line: Line) -> tuple[list[float], list[float]]:
    kept = [(at, value) for at, value in line.points if math.isfinite(value)]
    return [at for at, _ in kept], [value for _, value in kept]


_ROWS = {'speeds': _speeds, 'joints': _joints, 'states': _states, 'reasons': _reason_rows,
         'sources': _sources, 'staleness': _staleness}
