"""./dev demo: start servers and nodes, tell the story, write the report, say how it went."""

import argparse
import contextlib
import datetime
import json
import os
import platform
import random
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import rclpy
from rclpy.executors import Executor, ExternalShutdownException
from rclpy.experimental import EventsExecutor
from rich.console import Console
from rich.live import Live
from rich.table import Table

from bringup.demo.archive import Archive
from bringup.demo.director import Director, tell
from bringup.demo.pictures import latency, speeds, top_view
from bringup.demo.report import write_report
from bringup.demo.story import Seen, Teller, phases
from bringup.demo.summary import summarise
from bringup.group import Group
from bringup.launch_target import share
from edge_case_recorder.desk_bucket import DeskBucket
from isaac_bridge.oracle import Row, contacts
from isaac_bridge.robot import read_robot
from isaac_bridge.scenario import read_scenario
from isaac_bridge.visibility import sight_of
from policy_client.desk_triton import DeskTriton
from safety_reflex.profile import load_profile

BUCKET = 'edge-cases'


def main() -> int:
    options = _options()
    console = Console(stderr=True)
    started = datetime.datetime.now(datetime.UTC)
    out = options.out or Path('out/demo') / started.strftime('%Y%m%d-%H%M%S')
    out = out.resolve()
    config = share() / 'config'
    scenario = read_scenario(config / 'scenarios' / options.scenario)
    robot = read_robot(config / 'robots/amr.yaml')
    goal = (scenario.goal[0], scenario.goal[1])
    # A domain of its own: a demo must not meet a robot, a colleague, or another demo.
    os.environ['ROS_DOMAIN_ID'] = str(options.domain or random.SystemRandom().randint(110, 210))
    teller = Teller(phases())
    begin = time.monotonic()
    with ExitStack() as stack:
        console.print(f'Spinal demo, seed {options.seed}: starting the servers')
        triton = DeskTriton(share() / 'docker/triton/model_repository', folder=out / 'triton')
        stack.callback(triton.close)
        triton.start(wait=False)  # its client waits for it; everything else starts meanwhile
        bucket = stack.enter_context(DeskBucket(out / 'bucket', bucket=BUCKET))
        os.environ.update(bucket.environment)
        archive = stack.enter_context(Archive(bucket.uri))
        nodes = stack.enter_context(Group(
            ['ros2', 'launch', '--noninteractive', 'bringup', 'demo.launch.py',
             f'seed:={options.seed}', f'triton:=desk={triton.endpoint}',
             f'scenario:={options.scenario}', f'camera:={options.camera}',
             f'bucket:={bucket.uri}', f'spool_dir:={out / "spool"}'],
            out / 'log' / 'launch.log',
            os.environ | {'ROS_LOG_DIR': str(out / 'log'), 'PYTHONUNBUFFERED': '1'}))
        probe = stack.enter_context(Group(
            [sys.executable, '-m', 'bringup.demo.probe', str(out / 'latency.json')],
            out / 'log' / 'probe.log'))
        rclpy.init()
        stack.callback(rclpy.try_shutdown)
        director = Director(goal)
        director.verified = lambda: archive.verified(director.log.cases)
        executor = EventsExecutor()
        executor.add_node(director)
        spinning = threading.Thread(target=_spin, args=(executor,), daemon=True)
        spinning.start()
        triton.wait_ready()
        server = _server(triton)
        with Live(_table(teller, None), console=console, refresh_per_second=4,
                  transient=True) as live:
            broken = tell(director, teller, lambda action: _perform(action, triton),
                          lambda t, seen: live.update(_table(t, seen)),
                          lambda: None if nodes.alive else f'ros2 launch ended:\n{nodes.tail()}')
        story_s = time.monotonic() - begin
        cases = archive.rows()
        rclpy.try_shutdown()
        spinning.join(5)
        probe.stop()
        nodes.stop()
    answer_us = json.loads((out / 'latency.json').read_text())['answer_us']
    log = director.log
    rows = [Row.of(truth) for truth in log.truth]
    found = contacts(rows, robot, sight_of(scenario, robot))
    summary = summarise(log, teller.outcomes, len(teller.phases), found, goal, cases,
                        answer_us, server, {
                            'seed': options.seed, 'started': started.isoformat('T', 'seconds'),
                            'story_s': round(story_s, 1), 'commit': _commit(),
                            'camera': bool(log.truth) and log.truth[-1]['camera'],
                            'machine': f'{platform.machine()}, {os.cpu_count()} cores'})
    profile = load_profile(config / 'robots/amr.yaml', config / 'robots/amr.fields.yaml')
    page = write_report(out, summary, {
        'top_view': top_view(log, profile, scenario.aisle.racks(), goal), 'speeds': speeds(log),
        'latency': latency(answer_us)})
    console.print(_table(teller, None))
    if broken:
        console.print(f'[red]{broken}')
    verdict = '[green]everything held' if summary['ok'] else '[red]something failed'
    console.print(f'{verdict}[/] in {time.monotonic() - begin:.0f} s; report: {page}')
    return 0 if summary['ok'] else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='./dev demo', description=__doc__)
    parser.add_argument('--seed', type=int, default=1, help='of people and noise')
    parser.add_argument('--scenario', default='aisle.yaml', help='a file of config/scenarios')
    parser.add_argument('--camera', choices=('auto', 'on', 'off'), default='auto')
    parser.add_argument('--out', type=Path, help='folder of the report; out/demo/<stamp> if absent')
    parser.add_argument('--domain', type=int, help='ROS_DOMAIN_ID; a random one if absent')
    return parser.parse_args()


def _spin(executor: Executor) -> None:
    with contextlib.suppress(ExternalShutdownException):
        executor.spin()


def _perform(action: str, triton: DeskTriton) -> None:
    """What an operator of the servers does; none of it may hold up the watching."""
    if action == 'kill_triton':
        triton.kill()
    elif action == 'restart_triton':
        triton.start(wait=False)
    elif action.startswith('drill_'):
        threading.Thread(target=triton.reload, kwargs={'drill': action.removeprefix('drill_')},
                         daemon=True).start()


def _server(triton: DeskTriton) -> str:
    """What the server says that it is."""
    with urllib.request.urlopen(f'http://127.0.0.1:{triton.ports.http}/v2', timeout=5) as reply:
        answer = json.load(reply)
    return f'{answer["name"]} {answer["version"]}, Python backend, at {triton.endpoint}'


def _table(teller: Teller, seen: Seen | None) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ('phase', 'seen', 'seconds', ''):
        table.add_column(name, justify='right' if name == 'seconds' else 'left')
    for outcome in teller.outcomes:
        table.add_row(outcome.name, '[green]yes' if outcome.ok else '[red]no',
                      f'{outcome.seconds:.1f}', outcome.note)
    if seen is not None and not teller.finished:
        table.add_row(f'[bold]{teller.phase.name}', '[yellow]...', '',
                      f'{seen.state.lower()}, {seen.policy_source or "no policy"}, '
                      f'{seen.speed_mps:.1f} m/s')
    return table


def _commit() -> str:
    done = subprocess.run(['git', 'describe', '--always', '--dirty'], capture_output=True,
                          text=True, check=False, cwd=os.environ.get('SPINAL_ROOT', '.'))
    return done.stdout.strip() or 'unknown'


if __name__ == '__main__':
    sys.exit(main())
