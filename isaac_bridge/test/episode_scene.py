"""Policies and worlds for tests of episodes: the repository's own model, in its own aisle."""

import dataclasses
from pathlib import Path

from isaac_bridge.engines import open_world
from isaac_bridge.episode.careful import CarefulPolicy
from isaac_bridge.episode.drive import Episode, Robot, run
from isaac_bridge.scenario import Scenario, read_scenario
from isaac_bridge.world import World
from policy_client.policies.base import Policy
from policy_client.policies.onnx import OnnxPolicy

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'config'
AISLE = CONFIG / 'scenarios/aisle.yaml'
AMR = CONFIG / 'robots/amr.yaml'
MODEL = ROOT / 'docker/triton/model_repository/amr/1/model.onnx'
ROBOT = Robot.read(CONFIG)
SCENARIO = read_scenario(AISLE)


def open_aisle(camera: str = 'off') -> World:
    return open_world(AISLE, AMR, camera=camera)


def blind() -> Policy:
    """The network that was never taught what a person is."""
    return OnnxPolicy(MODEL)


def drive(world: World, policy: Policy, scenario: Scenario | None = None, seed: int = 1,
          **changes) -> Episode:
    scenario = dataclasses.replace(scenario or SCENARIO, **changes)
    witnesses = [policy] if isinstance(policy, CarefulPolicy) else []
    return run(world, ROBOT, scenario, seed, policy, blind(), witnesses=witnesses)
