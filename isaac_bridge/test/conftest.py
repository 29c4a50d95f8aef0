"""What the tests share: the repository's own robot and scenarios."""

from pathlib import Path

import pytest

from isaac_bridge.robot import Robot, read_robot
from isaac_bridge.scenario import Scenario, read_scenario

CONFIG = Path(__file__).resolve().parents[2] / 'config'
ROBOT_FILE = CONFIG / 'robots/amr.yaml'
SCENARIOS = CONFIG / 'scenarios'


@pytest.fixture(scope='session')
def robot() -> Robot:
    return read_robot(ROBOT_FILE)


@pytest.fixture(scope='session')
def aisle() -> Scenario:
    return read_scenario(SCENARIOS / 'aisle.yaml')


@pytest.fixture(scope='session')
def empty() -> Scenario:
    return read_scenario(SCENARIOS / 'empty.yaml')
