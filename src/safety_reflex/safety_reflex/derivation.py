r"""The derivation of a robot's fields as a table, for its owner and for an assessor.

    ros2 run safety_reflex fields --robot config/robots/amr.yaml \
        --fields config/robots/amr.fields.yaml
"""

import argparse
import io
import math
import sys
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from safety_reflex.fields import FieldSet, derive
from safety_reflex.parameters import ReflexParameters
from safety_reflex.profile import Profile, ProfileError, load_profile
from safety_reflex.shapes import Polygon

_HEAD = ('set', 'outline, m/s', 'T, s', 'K*T, m', 'brake path, m', 'side, m', 'front, m')


def markdown(profile: Profile) -> str:
    """What each field set must hold by the formula of fields.py, and what a drawn one lacks."""
    text = io.StringIO()
    Console(width=200, file=text).print(_table(profile))
    return '\n'.join(line.rstrip() for line in text.getvalue().splitlines() if line.strip())


def _table(profile: Profile) -> Table:
    table = Table(box=box.MARKDOWN)
    drawn = any(math.isinf(field_set.outline_mps) for field_set in profile.sets)
    for name in (*_HEAD, *(('drawn as', 'lacks') if drawn else ())):
        table.add_column(name, justify='right' if name != 'lacks' else 'left')
    for field_set in profile.sets:
        speed = _fastest(field_set, profile)
        lengths = derive(profile.approach, speed)
        row = [field_set.name, f'{speed:.2f}', f'{lengths.stop_time_s:.3f}',
               f'{profile.approach.walking_speed_mps * lengths.stop_time_s:.3f}',
               f'{lengths.brake_path_m:.3f}', f'{lengths.side_m:.3f}', f'{lengths.front_m:.3f}']
        if drawn:
            front, side, rear = _drawn(field_set.polygon, profile.footprint)
            ahead = front if field_set.speed_mps[1] > 0 else rear
            lacking = [f'{name} {wanted - there:.2f} m'
                       for name, wanted, there in (('front', lengths.front_m, ahead),
                                                   ('side', lengths.side_m, side))
                       if there < wanted - 0.005]
            row += [f'{front:.2f} front, {side:.2f} side, {rear:.2f} rear',
                    ', '.join(lacking) or 'nothing']
        table.add_row(*row)
    return table


def terms(profile: Profile) -> str:
    """What the lengths are derived from, in one line."""
    approach = profile.approach
    return (f'K = {approach.walking_speed_mps:g} m/s, from the side '
            f'{approach.side_walking_speed_mps:g} m/s; t = {approach.reaction_s:g} s; '
            f'a = {approach.braking_mps2:.3f} m/s2; Z = {approach.supplement_m:g} m; '
            f'{profile.min_points} beams in {profile.scans} distinct scan(s)')


def budget(profile: Profile, timeout_ms: float, latency_ms: float) -> str:
    """What of the reaction time is spent, and what is left for the base, in one line."""
    debounce_ms = max((profile.scans - 1) * 1000 / lidar.rate_hz for lidar in profile.lidars)
    total_ms = 1000 * profile.approach.reaction_s
    left_ms = total_ms - timeout_ms - debounce_ms - latency_ms
    return (f't = {total_ms:.0f} ms = {timeout_ms:.0f} source timeout + {debounce_ms:.0f} debounce '
            f'+ {latency_ms:.1f} measured from scan to stop + {left_ms:.1f} left until the base '
            f'brakes')


def _fastest(field_set: FieldSet, profile: Profile) -> float:
    """The largest speed of the outline that a set covers, within the robot's own limits."""
    limits = profile.limits
    v = max(min(field_set.speed_mps[1], limits['max_speed_mps']),
            -max(field_set.speed_mps[0], -limits['max_reverse_mps']))
    w = min(max(abs(field_set.turn_radps[0]), abs(field_set.turn_radps[1])),
            limits['max_turn_radps'])
    return min(field_set.outline_mps, v + w * profile.corner_radius_m)


def _drawn(polygon: Polygon, footprint: Polygon) -> tuple[float, float, float]:
    """How far a polygon's box reaches beyond the footprint's: front, the lesser side, rear."""
    x, y = zip(*polygon, strict=True)
    fx, fy = zip(*footprint, strict=True)
    return max(x) - max(fx), min(max(y) - max(fy), min(fy) - min(y)), min(fx) - min(x)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog='fields', description='Print what the protective fields of a robot are derived from.')
    parser.add_argument('--robot', type=Path, required=True, help='config/robots/<robot>.yaml')
    parser.add_argument('--fields', type=Path, required=True,
                        help='config/robots/<robot>.fields.yaml')
    parser.add_argument('--timeout-ms', type=float, default=ReflexParameters.source_timeout_ms,
                        help='source_timeout_ms of the reflex (default %(default)g)')
    parser.add_argument('--latency-ms', type=float, default=3.0,
                        help='measured from scan to stop: the largest stop_us of ./dev bench '
                             'reflex on this robot (default %(default)g)')
    options = parser.parse_args()
    try:
        profile = load_profile(options.robot, options.fields)
    except ProfileError as error:
        print(f'fields: {error}', file=sys.stderr)
        return 2
    print(terms(profile))
    print(budget(profile, options.timeout_ms, options.latency_ms))
    print(markdown(profile))
    return 0
