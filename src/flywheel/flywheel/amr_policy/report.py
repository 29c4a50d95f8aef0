"""The committed report: report.md, two pictures and metrics.json."""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np

from flywheel.amr_policy.episode import REACHED_M, Track
from flywheel.amr_policy.evaluate import ANYWHERE, GO
from flywheel.amr_policy.language import INSTRUCTIONS

PARTS = ('network, camera live', 'network, camera masked', 'lane as the camera sees it')


def loss_picture(history: dict[str, Any], path: Path) -> None:
    """Training (thin) and held-out (thick) losses over steps."""
    figure, axes = plt.subplots(figsize=(7, 3.6))
    steps = history['step']
    for index, name in enumerate(PARTS):
        test = np.array(history['test'])[:, index]
        if not test.any():
            continue
        axes.plot(steps, test, f'C{index}', label=f'{name}: worlds held back')
        axes.plot(steps, np.array(history['train'])[:, index], f'C{index}', lw=0.8, alpha=0.5,
                  label=f'{name}: training')
    axes.set(yscale='log', xlabel='step', ylabel='mean square error')
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)
    _save(figure, path)


def path_picture(tracks: dict[str, list[Track]], path: Path) -> None:
    """Top views of every drive, one row a driver; the lane is the dashed line."""
    figure, rows = plt.subplots(len(tracks), 1, figsize=(9, 1.5 * len(tracks) + 0.4), sharex=True,
                                sharey=True, squeeze=False)
    for axes, (name, drives) in zip(rows[:, 0], tracks.items(), strict=True):
        axes.axhline(0.0, color='0.6', ls='--', lw=1)
        for track in drives:
            axes.plot(track.rows[:, 1], track.rows[:, 2], lw=0.8)
            axes.plot(*track.goal, 'g+', ms=10)
        axes.set_title(name, fontsize=8, loc='left')
        axes.set(ylabel='y, m', ylim=(-1.9, 1.9))
    rows[-1, 0].set_xlabel('x, m')
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=90, metadata={'Software': None})
    plt.close(figure)


def write(folder: Path, metrics: dict[str, Any], history: dict[str, Any],
          tracks: dict[str, list[Track]]) -> None:
    """Overwrites the report in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'metrics.json').write_text(json.dumps(metrics, indent=1) + '\n', encoding='utf-8')
    loss_picture(history, folder / 'loss.png')
    path_picture(tracks, folder / 'paths.png')
    (folder / 'report.md').write_text(text(metrics), encoding='utf-8')


def text(metrics: dict[str, Any]) -> str:
    """report.md; every figure is taken from `metrics`."""
    model, training = metrics['model'], metrics['training']
    data, fuzz, speed = metrics['data'], metrics['fuzz'], metrics['inference_ms']
    lines = [
        '# The AMR policy: how it was trained, and what it does',
        '',
        'Made by `./dev train`; figures in `metrics.json`. The network imitates a scripted expert '
        '(`expert.py`) that never sees people: stopping for them is the reflex\'s work.',
        '',
        f'- model: `{model["file"]}`, {model["bytes"] / 1000:.0f} kB, sha256 `{model["sha256"]}`',
        f'- largest difference between JAX and onnxruntime: {model["jax_difference"]:.1g} '
        '(m/s or rad/s, 200 random inputs)',
        f'- one inference with a picture, one CPU thread: {speed["p50"]} ms (p50), '
        f'{speed["p99"]} ms (p99, n = {speed["n"]})',
        f'- data: {data["frames"]} frames from {data["sessions"]} drawn aisles, '
        f'{data["seconds"]:.0f} s; each mirrored and labelled for 8 situations; as many again '
        'without a picture in every step',
        f'- training: {training["steps"]} steps, seed {training["seed"]}, '
        f'{training["seconds"]:.0f} s; every tenth aisle held back',
        f'- {fuzz["n"]} random inputs: |v| at most {fuzz["v_mps_max"]:.3f} m/s, |w| at most '
        f'{fuzz["w_radps_max"]:.3f} rad/s',
        '', '![losses](loss.png)', '',
        '## Closed loop in the embedded world, nobody in it', '',
        f'Starts up to 1.2 m and 0.5 rad off the lane, goal at (24, 0). Success: at rest within '
        f'{REACHED_M} m of the goal; for `wait here`, not moved. Cross-track is the distance from '
        'the lane between joining and leaving it, root mean square over a drive. An answer comes '
        'into force 0.1 s after its observation.', '',
        '| driver | instruction | success | goal error, m (mean, max) | cross-track, m (mean, max) '
        '| cruise, m/s | seconds |', '|---|---|---|---|---|---|---|']
    for driver, by_instruction in metrics['closed_loop'].items():
        for instruction in INSTRUCTIONS:
            lines.append(_row(driver, instruction, by_instruction[instruction]))
    lines += ['', 'From anywhere in the aisle, at any heading, to goals ahead, behind and beside '
              f'(`{GO}`):', '', '| driver | success | goal error, m (max) |', '|---|---|---|']
    for driver, by_instruction in metrics['closed_loop'].items():
        got = by_instruction[ANYWHERE]
        lines.append(f'| {driver} | {got["success"] * got["n"]:.0f} of {got["n"]} '
                     f'| {got["goal_error_m_max"]:.3f} |')
    lines += ['', '![paths](paths.png)', '',
              'What the camera is for: `state.goal` tells where the goal is, not where the lane '
              'is. With the camera masked the network heads straight for the goal, as the expert '
              'does when it cannot see the lane.', '']
    if seen := metrics.get('person_in_view'):
        lines += [f'A person in the picture ({seen["n"]} views) moves the first second of the '
                  f'chunk by {seen["v_mps"]["median"]:.3f} m/s and '
                  f'{seen["w_radps"]["median"]:.3f} rad/s (median), at most '
                  f'{seen["v_mps"]["max"]:.3f} and {seen["w_radps"]["max"]:.3f}.', '']
    return '\n'.join(lines)


def _row(driver: str, instruction: str, got: dict[str, Any]) -> str:
    success = f'{got["success"] * got["n"]:.0f} of {got["n"]}'
    if 'moved_m' in got:
        return f'| {driver} | {instruction} | {success} | | | | |'
    pairs = [f'{got[name]["mean"]:.3f}, {got[name]["max"]:.3f}'
             for name in ('goal_error_m', 'cross_track_m')]
    return (f'| {driver} | {instruction} | {success} | {pairs[0]} | {pairs[1]} '
            f'| {got["cruise_mps"]["mean"]:.3f} | {got["seconds"]} |')
