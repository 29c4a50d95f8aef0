"""Runs the checks of `checks` over one engine, in a process of its own, and writes what came of it.

    python -m isaac_bridge.isaac.trial --engine isaac --scenario .. --robot .. --out rows.json

A process of its own, because closing Isaac Sim ends the process that it runs in.
"""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

from ..engines import create
from ..robot import RobotError, read_robot
from ..scenario import ScenarioError, read_scenario
from ..world import WorldError
from . import checks
from .session import Options, start, stop
from .surroundings import FAILED, OK, Row


def rows(engine: str, scenario: str, robot: str, most_steps: int) -> list[Row]:
    """One row a check, the start of the engine first."""
    began = time.monotonic()
    try:
        if engine == 'isaac':
            start(Options())
        world = create(engine, camera='off', lidar_noise_m=0.0)
        world.load(checks.empty(read_scenario(scenario)), read_robot(robot), 0)
    except (WorldError, ScenarioError, RobotError) as problem:
        return [Row('boots', FAILED, str(problem))]
    found = [Row('boots', OK, f'in {time.monotonic() - began:.1f} s')]
    for name, check in checks.CHECKS:
        try:
            said = (checks.steps_exact(world, range(1, most_steps + 1))
                    if check is checks.steps_exact else check(world))
            found.append(Row(name, OK, said))
        except (checks.Failed, WorldError) as problem:
            found.append(Row(name, FAILED, str(problem)))
    world.close()
    return found


def main(arguments: list[str] | None = None) -> int:
    """0: all passed; 1: something did not."""
    parser = argparse.ArgumentParser(prog='isaac_bridge.isaac.trial', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--engine', default='isaac')
    parser.add_argument('--scenario', required=True)
    parser.add_argument('--robot', required=True)
    parser.add_argument('--most-steps', type=int, default=checks.STEPS[-1])
    parser.add_argument('--out', type=Path, required=True)
    options = parser.parse_args(arguments)
    found = rows(options.engine, options.scenario, options.robot, options.most_steps)
    # Written before Isaac Sim is closed, since nothing may run after that.
    options.out.write_text(json.dumps([dataclasses.asdict(row) for row in found]))
    status = int(any(row.status == FAILED for row in found))
    stop(status)
    return status


if __name__ == '__main__':
    sys.exit(main())
