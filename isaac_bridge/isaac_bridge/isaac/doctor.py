"""One table of what a computer has for Isaac Sim, and of what passes on it.

    ./python.sh -m isaac_bridge.isaac.doctor --scenario config/scenarios/aisle.yaml \\
        --robot config/robots/amr.yaml

0: everything passed. 1: something failed. 2: nothing failed, but something is not here, and what
is not here has not passed. With --engine mujoco the same checks run over MuJoCo, which needs no
GPU; the rows about Isaac Sim then say 'not here'.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from . import checks, surroundings
from .assets import default_cache
from .surroundings import FAILED, NOT_HERE, OK, Row

TRIAL_S, NODE_S = 1800.0, 300.0     # a first start of Isaac Sim compiles its shaders


def found(probe: str | None, cache: Path) -> list[Row]:
    folder = surroundings.isaac_folder()
    return [*surroundings.gpu(), *surroundings.isaac(folder), surroundings.python_packages(),
            surroundings.usd(folder), surroundings.rmw(), surroundings.asset_root(probe, folder),
            surroundings.cache(cache), gate(folder)]


def gate(folder: Path | None) -> Row:
    """The static gate, against the Isaac Sim that is here, or against installed wheels."""
    from ..static_gate.findings import GateError
    from ..static_gate.gate import run
    from ..static_gate.wheels import Wheels, find
    try:
        try:
            wheels = find()
        except GateError:
            if folder is None:
                raise
            wheels = Wheels.installed(folder)
        report = run(wheels, [])
    except GateError as problem:
        return Row('static gate', NOT_HERE, str(problem))
    if report.findings:
        first = report.findings[0]
        return Row('static gate', FAILED, f'{len(report.findings)} wrong; {first.where}: '
                   f'{first.what}')
    return Row('static gate', OK, f'{sum(report.counted.values())} checks')


def trial(engine: str, scenario: str, robot: str, most_steps: int) -> list[Row]:
    """What the engine itself does, in a process of its own."""
    names = ['boots', *(name for name, _ in checks.CHECKS)]
    if engine == 'isaac' and surroundings.isaac_folder() is None:
        return [Row(name, NOT_HERE, 'no Isaac Sim') for name in names]
    with tempfile.TemporaryDirectory(prefix='isaac_bridge_doctor_') as folder:
        out = Path(folder) / 'rows.json'
        command = [sys.executable, '-m', 'isaac_bridge.isaac.trial', '--engine', engine,
                   '--scenario', scenario, '--robot', robot, '--out', str(out),
                   '--most-steps', str(most_steps)]
        try:
            done = subprocess.run(command, timeout=TRIAL_S, capture_output=True, text=True,
                                  check=False)
        except subprocess.TimeoutExpired:
            return [Row('boots', FAILED, f'it did not end within {TRIAL_S:.0f} s')]
        if not out.is_file():
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            return [Row('boots', FAILED, f'status {done.returncode}: {" ".join(last)[:160]}')]
        rows = [Row(**row) for row in json.loads(out.read_text())]
    return [Row(row.name, row.status, f'{row.detail}{"" if engine == "isaac" else f" ({engine})"}')
            for row in rows]


def over_ros(engine: str, scenario: str, robot: str, cycles: int, rtx: bool) -> list[Row]:
    """What the front end does over the engine: stamps, and simulation_interfaces."""
    names = ['stamps equal', 'RTX lidar lag', 'conformance']
    if engine == 'isaac' and surroundings.isaac_folder() is None:
        return [Row(name, NOT_HERE, 'no Isaac Sim') for name in names]
    if not surroundings.find_ros(surroundings.isaac_folder()):
        return [Row(name, FAILED, 'there is no rclpy: source ROS 2 first') for name in names]
    from .stamps import watch
    if engine == 'isaac':
        command = [sys.executable, '-m', 'isaac_bridge.isaac', '--scenario', scenario, '--robot',
                   robot, '--camera', 'off', *(['--rtx'] if rtx else [])]
    else:
        command = [sys.executable, '-m', 'isaac_bridge.node', '--ros-args', '-p',
                   f'scenario_file:={scenario}', '-p', f'robot_file:={robot}', '-p',
                   f'engine:={engine}', '-p', 'camera:=off']
    suffix = '' if engine == 'isaac' else f' ({engine})'
    with tempfile.TemporaryFile() as log:
        # A group of its own: it is to end as a whole, whatever it has started.
        node = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT,
                                start_new_session=True)
        try:
            plain = watch(cycles, None, NODE_S)
            rows = [Row(names[0], OK if plain.equal == plain.judged else FAILED,
                        plain.sentence + suffix)]
            if engine == 'isaac' and rtx:
                traced = watch(cycles, 'rtx', NODE_S)
                rows.append(Row(names[1], OK if traced.equal == traced.judged else FAILED,
                                traced.sentence))
            else:
                rows.append(Row(names[1], NOT_HERE, 'no Isaac Sim'))
            rows.append(_conformance(suffix))
        finally:
            if node.poll() is None:
                os.killpg(node.pid, signal.SIGINT)
            try:
                node.wait(60.0)
            except subprocess.TimeoutExpired:
                os.killpg(node.pid, signal.SIGKILL)
                node.wait()
    return rows


def _conformance(suffix: str) -> Row:
    command = [sys.executable, '-m', 'isaac_bridge.conformance']
    try:
        done = subprocess.run(command, timeout=NODE_S, capture_output=True, text=True, check=False)
    except subprocess.TimeoutExpired:
        return Row('conformance', FAILED, f'it did not end within {NODE_S:.0f} s')
    last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1:]
    return Row('conformance', OK if done.returncode == 0 else FAILED,
               ' '.join(last)[:160] + suffix)


def table(rows: list[Row]) -> str:
    width = max(len(row.name) for row in rows)
    return '\n'.join(f'{row.name:<{width}}  {row.status:<8}  {row.detail}' for row in rows)


def status_of(rows: list[Row]) -> int:
    if any(row.status == FAILED for row in rows):
        return 1
    return 2 if any(row.status == NOT_HERE for row in rows) else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='isaac_bridge.isaac.doctor', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--scenario', required=True)
    parser.add_argument('--robot', required=True)
    parser.add_argument('--engine', choices=('isaac', 'mujoco', 'physx'), default='isaac')
    parser.add_argument('--most-steps', type=int, default=checks.STEPS[-1])
    parser.add_argument('--cycles', type=int, default=1000, help='instants to watch over ROS')
    parser.add_argument('--no-ros', action='store_true', help='leave out what needs ROS')
    parser.add_argument('--no-rtx', action='store_true', help='leave out the ray-traced sensors')
    parser.add_argument('--probe', help='a file below the asset root that must be readable')
    parser.add_argument('--cache', type=Path, default=default_cache())
    options = parser.parse_args(arguments)
    rows = found(options.probe, options.cache)
    print(table(rows), flush=True)
    more = trial(options.engine, options.scenario, options.robot, options.most_steps)
    if not options.no_ros:
        more += over_ros(options.engine, options.scenario, options.robot, options.cycles,
                         not options.no_rtx)
    print(table(more), flush=True)
    status = status_of([*rows, *more])
    print({0: 'everything passed', 1: 'something FAILED',
           2: 'nothing failed, but not everything is here'}[status])
    return status


if __name__ == '__main__':
    sys.exit(main())
