"""The report's pictures, drawn from the log: where it went, how fast, how quickly it answered."""

import io
from collections.abc import Sequence

import matplotlib
import numpy as np

from bringup.demo.director import Log, person_stops
from isaac_bridge.layout import Box
from safety_reflex.profile import Profile

matplotlib.use('Agg')
from matplotlib import pyplot
from matplotlib.patches import Polygon as Patch
from matplotlib.patches import Rectangle

INK, PATH, PERSON, FIELD = '#22303c', '#1f77b4', '#d1495b', '#edae49'
STATE_COLOURS = {'STARTING': '#d9d9d9', 'RUNNING': '#d8f0dc', 'SLOWED': '#fdebc8',
                 'STOPPED': '#f8d0d0', 'LATCHED': '#e4d4ee'}
pyplot.rcParams.update({'font.size': 10, 'axes.edgecolor': INK, 'axes.labelcolor': INK,
                        'text.color': INK, 'xtick.color': INK, 'ytick.color': INK,
                        'axes.spines.top': False, 'axes.spines.right': False})


def _png(figure: 'pyplot.Figure') -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=110, bbox_inches='tight')
    pyplot.close(figure)
    return buffer.getvalue()


def _world_points(polygon: Sequence[Sequence[float]], pose: Sequence[float]) -> np.ndarray:
    """A polygon of base_link, (n, 2), as the world sees it from the pose (x, y, yaw)."""
    x, y, yaw = pose[:3]
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    return np.asarray(polygon) @ turn.T + (x, y)


def top_view(log: Log, profile: Profile, racks: Sequence[Box],
             goal: tuple[float, float]) -> bytes:
    """The aisle from above, with the field in use at each stop for a person."""
    figure, axes = pyplot.subplots(figsize=(12, 4.2))
    for box in racks:
        axes.add_patch(Rectangle((box.x0, box.y0), box.x1 - box.x0, box.y1 - box.y0,
                                 color='#c9ced3', zorder=1))
    robot = np.array([row['robot'] for row in log.truth]).reshape(-1, 5)
    axes.scatter(robot[:, 0], robot[:, 1], c=robot[:, 3], cmap='viridis', s=5, vmin=0, vmax=0.9,
                 zorder=3)
    bar = figure.colorbar(axes.collections[0], ax=axes, pad=0.01, fraction=0.02)
    bar.set_label('speed, m/s')
    for index in range(max((len(row['people']) for row in log.truth), default=0)):
        track = np.array([row['people'][index][:2] for row in log.truth
                          if len(row['people']) > index])
        axes.plot(*track.T, color=PERSON, linewidth=1.2, zorder=2,
                  label='people' if index == 0 else None)
    times = np.array([row['t_s'] for row in log.truth])
    for number, stop_s in enumerate(person_stops(log)):
        row = log.truth[min(int(np.searchsorted(times, stop_s)), len(log.truth) - 1)]
        zone = next((s[3] for s in log.states if s[0] >= stop_s), '')
        field = next((s for s in profile.sets if s.name == zone),
                     profile.sets[-1])
        axes.add_patch(Patch(_world_points(field.polygon, row['robot']), facecolor=FIELD,
                             alpha=0.22, edgecolor='#b5791a', linewidth=1.2, zorder=2,
                             label='protective field at a stop' if number == 0 else None))
        axes.add_patch(Patch(_world_points(profile.footprint, row['robot']), facecolor=INK,
                             zorder=4))
        for person in row['people']:
            axes.add_patch(pyplot.Circle(person[:2], 0.2, color=PERSON, zorder=5))
    axes.plot(*goal, marker='*', color='#2e8b57', markersize=16, linestyle='', label='goal',
              zorder=4)
    axes.set(aspect='equal', xlabel='x, m', ylabel='y, m', ylim=(-4.5, 4.5),
             xlim=(-3, goal[0] + 4))
    axes.legend(loc='upper center', bbox_to_anchor=(0.5, -0.18), ncol=3, frameon=False)
    return _png(figure)


def speeds(log: Log) -> bytes:
    """Asked, granted and real speed over time, the state behind them, who led the policy below."""
    figure, (axes, strip) = pyplot.subplots(
        2, 1, figsize=(12, 4.6), sharex=True, height_ratios=(6, 1), gridspec_kw={'hspace': 0.08})
    for (t_s, state, _, _), later in zip(log.states, log.states[1:], strict=False):
        axes.axvspan(t_s, later[0], color=STATE_COLOURS.get(state, 'white'), linewidth=0)
    # A rogue's 5 m/s would flatten everything else; what is off the scale is drawn at its edge.
    asked = np.array(log.asked)
    if len(asked):
        sane = np.abs(asked[:, 1]) <= 1.0
        axes.plot(*asked[sane].T, color='#8d99a6', linewidth=0.9,
                  label='asked by the policy\'s topic')
        wild = asked[~sane, 0]
        axes.plot(wild, np.full(len(wild), 1.12), 'x', color=PERSON, markersize=4,
                  label='refused: NaN or over the limit')
    if log.granted:
        axes.plot(*np.array(log.granted).T, color=PATH, linewidth=1.6,
                  label='granted by the reflex')
    if log.truth:
        axes.plot([row['t_s'] for row in log.truth], [row['robot'][3] for row in log.truth],
                  color='#2e8b57', linewidth=1.0, linestyle='--', label='driven')
    axes.set(ylabel='m/s', ylim=(-0.15, 1.2))
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=colour) for colour in STATE_COLOURS.values()]
    lines, names = axes.get_legend_handles_labels()
    axes.legend([*lines, *handles], [*names, *map(str.lower, STATE_COLOURS)], ncol=5,
                loc='lower center', bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=9)
    colours = {'triton': '#76b900', 'onnx': '#edae49', 'hold': '#c9ced3'}
    for (t_s, source), (later_s, _) in zip(log.sources, log.sources[1:], strict=False):
        kind = source.split(':')[0]
        strip.axvspan(t_s, later_s, color=colours.get(kind, 'white'), linewidth=0)
    strip.legend([pyplot.Rectangle((0, 0), 1, 1, color=c) for c in colours.values()],
                 ['Triton leads', 'fallback leads', 'hold'], ncol=3, loc='upper center',
                 bbox_to_anchor=(0.5, -0.9), frameon=False, fontsize=9)
    strip.set(xlabel='seconds', yticks=[], ylabel='policy')
    return _png(figure)


def latency(answer_us: Sequence[float]) -> bytes:
    """How long the reflex took from a scan to its command, as a third process saw it."""
    figure, axes = pyplot.subplots(figsize=(7, 3.2))
    values = np.asarray(answer_us)
    if len(values):
        edges = np.geomspace(max(values.min(), 10), values.max() * 1.01 + 1, 60)
        axes.hist(values, bins=edges.tolist(), color=PATH)
        for share, style in ((0.5, '-'), (0.99, '--')):
            at = np.quantile(values, share)
            axes.axvline(at, color=PERSON, linestyle=style, linewidth=1.2,
                         label=f'p{share * 100:.0f} {at:.0f} µs')
        axes.axvline(values.max(), color=PERSON, linestyle=':', label=f'max {values.max():.0f} µs')
        axes.legend(frameon=False)
    axes.set(xscale='log', xlabel='scan seen to command seen, µs', ylabel='scans')
    return _png(figure)
