"""./dev bench cosim: lock-step with a simulated world over ROS 2, exact steps and equal stamps.

Two processes: the world's node, and this one, which answers each instant as soon as all of it has
come. With a camera, every cycle renders and carries an image of 224x224.
"""

import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from cosim_peer import Peer
from figures import ROOT, distribution

sys.path.insert(0, str(ROOT / 'tests'))

import lockstep_stack
from simulation_interfaces import srv
from simulation_interfaces.msg import EntityState
from std_srvs.srv import Trigger

from bringup.group import Group
from isaac_bridge.conformance.client import Client
from isaac_bridge.engines import open_world
from isaac_bridge.entities import Pose, State
from isaac_bridge.suite.plan import read_suite
from isaac_bridge.suite.policies import PolicyName
from isaac_bridge.suite.runner import Job, Setting, episodes

DOMAIN = 135
SCENARIO, ROBOT = ROOT / 'config/scenarios/aisle.yaml', ROOT / 'config/robots/amr.yaml'
WALKER, WALK_MPS = 'picker', 0.001
WARM_UP = 200           # cycles: discovery, and caches that are still cold
WAIT_S = 240.0
OK = 1


def run(long: bool) -> dict[str, Any]:
    exact = steps_exact(range(1, 1001) if long else _some_counts())
    bare, stamps = lockstep(10_000 if long else 3_000, camera=False)
    seen, seen_stamps = lockstep(3_000 if long else 1_000, camera=True)
    return {
        'step_exact': list(exact), 'stamps_equal': list(stamps),
        'stamps_equal_with_image': list(seen_stamps) if seen else None,
        'cycles_per_s': {'bare': _rate(bare), 'camera': _rate(seen)},
        'cycle_ms': _milliseconds(bare), 'cycle_camera_ms': _milliseconds(seen) if seen else None,
        'stack_rtf': stack_rtf(), 'suite': suite(long)}


def stack_rtf() -> float:
    """Simulated over real time of world, reflex, policy through Triton, recorder in lock-step."""
    with lockstep_stack.triton() as endpoint:
        shown = lockstep_stack.episode(SCENARIO, 1, DOMAIN, endpoint)
    return round(shown.real_time_factor, 2)


def suite(long: bool) -> dict[str, Any]:
    """Episodes of candidate and base together, as the gate runs them, with the camera."""
    chosen = read_suite(ROOT / 'config/suites/aisle.yaml')
    policy = PolicyName.parse(str(ROOT / 'docker/triton/model_repository/amr/1/model.onnx'))
    jobs = [Job(entry.scenario, entry.file, seed, each) for entry in chosen.entries
            for seed in (entry.seeds if long else entry.seeds[:1])
            for each in (policy, dataclasses.replace(policy, kind='careful'))]
    began = time.monotonic()
    found = episodes(jobs, Setting(chosen.robot_file, ROOT / 'config'))
    return {'episodes': len(found), 'seconds': round(time.monotonic() - began, 1),
            'simulated_s': round(sum(one.seconds for one in found.values()), 1)}


def _some_counts() -> list[int]:
    """The small ones, the largest, and some between, the same in every run."""
    drawn = np.random.default_rng(1).integers(31, 1000, 30).tolist()
    return [*range(1, 31), *drawn, 1000]


def steps_exact(counts: Any) -> tuple[int, int]:
    """How many of the counts were exact: the clock, and the whole state of the world.

    The same world is stepped in this process beside the node's; after each request both must have
    the same digest, so no step more or less was made, and the clock must say so.
    """
    twin = open_world(SCENARIO, ROBOT, 1, camera='off')
    walk = State(Pose.flat(20.0, 0.0), (0.0, WALK_MPS, 0.0))
    passed = tried = 0
    with _world(ROBOT, mode='free', initial_state='paused', camera='off'), Client(
            domain_id=DOMAIN) as client:
        client.wait_for(srv.StepSimulation, 20.0)
        twin.set_state(WALKER, walk)
        client.call(srv.SetEntityState, entity=WALKER, state=_message(walk))
        digest = client.node.create_client(Trigger, 'world/digest')
        client.until(lambda: digest.service_is_ready() and _ticks(client), 20.0)
        for count in counts:
            tried += 1
            before = twin.t_ns
            twin.step(count)
            answer = client.call(srv.StepSimulation, steps=count).result
            due_ns = before + count * twin.step_ns
            told = client.until(lambda due_ns=due_ns: client.clock_ns == due_ns, 5.0)
            future = digest.call_async(Trigger.Request())
            client.until(future.done, 5.0)
            same = future.done() and future.result().message == twin.digest()
            passed += answer.result == OK and told and twin.t_ns == due_ns and same
    twin.close()
    return passed, tried


def _ticks(client: Client) -> bool:
    """Whether /clock is heard: a reset of nothing but the time says it once more."""
    client.call(srv.ResetSimulation, scope=srv.ResetSimulation.Request.SCOPE_TIME)
    return client.until(lambda: client.clock_ns is not None, 0.5)


def _message(state: State) -> EntityState:
    message = EntityState()
    message.pose.position.x, message.pose.position.y, _ = state.pose.position
    message.twist.linear.x, message.twist.linear.y, _ = state.linear
    return message


def lockstep(cycles: int, *, camera: bool) -> tuple[list[float], tuple[int, int]]:
    """How long each cycle took, ms, and how many instants of those tried were whole.

    An instant is whole when every topic had exactly its stamp; with none left out between them.
    Nothing, and (0, 0), where a camera cannot be rendered.
    """
    with tempfile.TemporaryDirectory() as folder:
        robot = Path(folder) / 'robot.yaml'
        robot.write_text(yaml.safe_dump(_every_cycle(ROBOT)))
        with _world(robot, mode='lockstep', camera='auto' if camera else 'off') as world:
            peer = Peer('', DOMAIN, 'camera/front/image_raw' if camera else None)
            try:
                wanted = cycles + WARM_UP + 1
                peer.until(lambda: len(peer.whole) >= WARM_UP or not world.alive, 30.0)
                if not peer.whole and camera:
                    return [], (0, 0)
                if not peer.until(lambda: len(peer.whole) >= wanted or not world.alive, WAIT_S):
                    raise RuntimeError(f'only {len(peer.whole)} of {wanted} cycles: '
                                       f'{world.tail()}')
                return peer.cycle_ms(WARM_UP)[:cycles], _whole(peer, cycles)
            finally:
                peer.close()


def _whole(peer: Peer, cycles: int) -> tuple[int, int]:
    stamps = sorted(peer.whole)[WARM_UP:WARM_UP + cycles]
    period = round(1e9 / 40.0)
    expected = range(stamps[0], stamps[0] + cycles * period, period)
    return sum(stamp in peer.whole for stamp in expected), cycles


def _every_cycle(robot: Path) -> dict[str, Any]:
    """The robot's file, with a camera as fast as its lidar."""
    document = yaml.safe_load(robot.read_text())
    document['cameras'][0]['rate_hz'] = document['lidars'][0]['rate_hz']
    return document


@contextmanager
def _world(robot: Path, **parameters: str) -> Iterator[Group]:
    values = {'scenario_file': SCENARIO, 'robot_file': robot, 'seed': 1} | parameters
    words = [word for name, value in values.items() for word in ('-p', f'{name}:={value}')]
    log = Path(tempfile.gettempdir()) / 'spinal' / 'bench' / 'world.log'
    with Group([sys.executable, '-m', 'isaac_bridge.node', '--ros-args', *words], log,
               os.environ | {'ROS_DOMAIN_ID': str(DOMAIN)}) as group:
        yield group


def _rate(cycle_ms: list[float]) -> float | None:
    return round(1000.0 / float(np.mean(cycle_ms)), 1) if cycle_ms else None


def _milliseconds(cycle_ms: list[float]) -> dict[str, float | int | None]:
    """To a microsecond."""
    found = distribution([value * 1000.0 for value in cycle_ms])
    return {key: value if key == 'n' or value is None else round(value / 1000.0, 3)
            for key, value in found.items()}
