"""One performance of the demo on a stage that stands: watch, tell, judge, report."""

import contextlib
import datetime
import json
import os
import platform
import subprocess
import threading
import urllib.request
from collections.abc import Iterator

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
from bringup.demo.stage import Stage
from bringup.demo.story import Seen, Teller, phases
from bringup.demo.summary import summarise
from isaac_bridge.oracle import Row, contacts
from isaac_bridge.robot import read_robot
from isaac_bridge.scenario import read_scenario
from isaac_bridge.visibility import sight_of
from policy_client.desk_triton import DeskTriton
from safety_reflex.profile import load_profile


def perform(stage: Stage, seed: int, started: datetime.datetime) -> int:
    """The exit status: 0 only if everything held."""
    console = Console(stderr=True)
    robot_file = stage.config / 'robots/amr.yaml'
    scenario, robot = read_scenario(stage.scenario_file), read_robot(robot_file)
    goal = (scenario.goal[0], scenario.goal[1])
    teller = Teller(phases())
    rclpy.init()
    with Archive(stage.bucket.uri) as archive, _spinning(Director(goal)) as director:
        director.verified = lambda: archive.verified(director.log.cases)
        stage.triton.wait_ready()
        server = _server(stage.triton)
        with Live(_table(teller, None), console=console, refresh_per_second=4,
                  transient=True) as live:
            broken = tell(director, teller, stage.act,
                          lambda t, seen: live.update(_table(t, seen)), stage.broken)
        cases = archive.rows()
    stage.end_nodes()
    log = director.log
    answer_us = json.loads((stage.out / 'latency.json').read_text())['answer_us']
    found = contacts([Row.of(truth) for truth in log.truth], robot, sight_of(scenario, robot))
    seconds = (datetime.datetime.now(datetime.UTC) - started).total_seconds()
    summary = summarise(log, teller.outcomes, len(teller.phases), found, goal, cases, answer_us,
                        server, {
                            'seed': seed, 'started': started.isoformat('T', 'seconds'),
                            'seconds': round(seconds, 1), 'commit': _commit(),
                            'camera': bool(log.truth) and log.truth[-1]['camera'],
                            'machine': f'{platform.machine()}, {os.cpu_count()} cores'})
    profile = load_profile(robot_file, stage.config / 'robots/amr.fields.yaml')
    page = write_report(stage.out, summary, {
        'top_view': top_view(log, profile, scenario.aisle.racks(), goal), 'speeds': speeds(log),
        'latency': latency(answer_us)})
    console.print(_table(teller, None))
    if broken:
        console.print(broken, style='red', markup=False)
    verdict = '[green]everything held' if summary['ok'] else '[red]something failed'
    console.print(f'{verdict}[/] in {seconds:.0f} s; report: {page}')
    return 0 if summary['ok'] else 1


@contextlib.contextmanager
def _spinning(director: Director) -> Iterator[Director]:
    executor = EventsExecutor()
    executor.add_node(director)
    thread = threading.Thread(target=_spin, args=(executor,), daemon=True)
    thread.start()
    try:
        yield director
    finally:
        rclpy.try_shutdown()
        thread.join(5)
        executor.shutdown()


def _spin(executor: Executor) -> None:
    with contextlib.suppress(ExternalShutdownException):
        executor.spin()


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
