"""./dev replay FILE: a CARMEN lidar log or a bag through the real reflex; prints its stops.

With --policy it is policy_client's own replay of a bag (policy_client.replay), with its options.
"""

import argparse
import os
import random
import sys
from pathlib import Path

import rclpy
import yaml
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bringup.group import Group
from bringup.launch_target import share
from bringup.replay.carmen import CarmenError, CarmenScan, read_carmen
from bringup.replay.findings import draw_map, draw_time, stops
from bringup.replay.findings import share as share_of
from bringup.replay.player import Player
from bringup.replay.recording import Recorded, RecordingError, from_bag, from_carmen


def main() -> int:
    if '--policy' in sys.argv[1:]:
        from policy_client.replay.__main__ import main as policy_replay  # slow to import
        return policy_replay([word for word in sys.argv[1:] if word != '--policy'],
                             prog='./dev replay --policy',
                             embodiments=share() / 'config/embodiments')
    options = _options()
    console = Console(stderr=True)
    try:
        scans, recording = _read(options)
    except (CarmenError, RecordingError, OSError) as error:
        console.print(f'./dev replay: {error}', style='red', markup=False)
        return 1
    out = (options.out or Path('out/replay') / options.file.name.split('.')[0]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    robot_file = share() / 'config/robots' / f'{options.robot}.yaml'
    fields = options.fields or options.robot
    if scans:
        robot_file = _robot_with_scanner(robot_file, len(scans[0].ranges), options.rate, out)
    os.environ['ROS_DOMAIN_ID'] = str(random.SystemRandom().randint(110, 210))
    reflex = Group([
        'ros2', 'run', 'safety_reflex', 'safety_reflex', '--ros-args',
        '-p', f'robot_file:={robot_file}',
        '-p', f'fields_file:={share() / "config/robots" / f"{fields}.fields.yaml"}',
        # Nothing moves here, so there is no second channel; and no real time is promised.
        '-p', 'require_enable:=false', '-p', 'without_realtime:=go'],
        out / 'reflex.log', os.environ | {'ROS_LOG_DIR': str(out)})
    rclpy.init()
    try:
        with reflex, Progress(console=console, transient=True) as progress:
            player = Player(recording, options.speed)
            task = progress.add_task('replay', total=recording[-1].t_s)
            player.play(lambda t_s: progress.update(task, completed=t_s))
            if not reflex.alive:
                console.print(f'./dev replay: the reflex ended:\n{reflex.tail()}', markup=False)
                return 1
    finally:
        rclpy.try_shutdown()
    picture = out / 'stops.png'
    if scans:
        draw_map(picture, scans, player.heard, options.rate)
    else:
        draw_time(picture, player.heard)
    _report(player, recording, picture)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='./dev replay', description=__doc__)
    parser.add_argument('file', type=Path, help='.log or .log.gz (CARMEN), a bag, an .mcap')
    parser.add_argument('--policy', action='store_true',
                        help='through the policy client instead; --policy --help says more')
    parser.add_argument('--robot', default='amr', help='whose fields are tried')
    parser.add_argument('--fields', help='other fields than the robot\'s own, as in amr_dock')
    parser.add_argument('--rate', type=float, default=20.0, help='scans a second of a CARMEN log')
    parser.add_argument('--speed', type=float, default=0.5,
                        help='m/s asked for where the recording holds no commands')
    parser.add_argument('--scans', type=int, help='only the first so many scans of a CARMEN log')
    parser.add_argument('--out', type=Path, help='folder; out/replay/<name> if absent')
    options = parser.parse_args()
    if not 11 <= options.rate <= 500:
        parser.error('--rate must be from 11 (the reflex calls slower scans lost) to 500')
    return options


def _read(options: argparse.Namespace) -> tuple[list[CarmenScan], list[Recorded]]:
    if not options.file.exists():
        raise RecordingError(f'there is no {options.file}')
    if options.file.name.endswith(('.log', '.log.gz')):
        scans = read_carmen(options.file)[:options.scans]
        return scans, from_carmen(scans, options.rate)
    return [], from_bag(options.file)


def _robot_with_scanner(robot_file: Path, beams: int, rate_hz: float, out: Path) -> Path:
    """The robot with the scanner of the log: `beams` over 180 degrees, looking forward."""
    robot = yaml.safe_load(robot_file.read_text())
    robot['lidars'] = [robot['lidars'][0] | {
        'beams': beams, 'angle_min_rad': -1.5707963, 'angle_max_rad': 1.5707963,
        'rate_hz': rate_hz, 'range_max_m': 100.0}]
    path = out / 'robot.yaml'
    path.write_text(yaml.safe_dump(robot))
    return path


def _report(player: Player, recording: list[Recorded], picture: Path) -> None:
    console = Console()
    table = Table('at, s', 'for, s', 'state', 'reasons', 'nearest, m', box=None)
    found = stops(player.heard)
    for stop in found:
        table.add_row(f'{stop.t_s:.2f}', f'{stop.seconds:.2f}', stop.state, stop.reasons,
                      stop.distance_m)
    console.print(table)
    scans = sum(r.type_name == 'sensor_msgs/msg/LaserScan' for r in recording)
    shares = ', '.join(f'{state.lower()} {share_of(player.heard, state):.0%}'
                       for state in ('RUNNING', 'SLOWED', 'STOPPED', 'LATCHED'))
    console.print(f'{len(found)} stops in {scans} scans over {recording[-1].t_s:.0f} s; {shares}; '
                  f'{player.answers} commands; picture: {picture}', highlight=False)


if __name__ == '__main__':
    sys.exit(main())
