"""Episodes in parallel processes, each with a world and policies of its own.

An episode is decided by its scenario, its seed and its policy alone, so how they are spread over
processes changes nothing but the time that it takes.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from policy_client.policies.base import Policy

from ..engines import open_world
from ..episode.drive import Episode, Robot, Witness, run
from ..scenario import Scenario
from ..world import World
from .policies import PolicyName

# More than are running wait in the pool, so that no process ever waits for a job.
_AHEAD = 2


@dataclass(frozen=True)
class Setting:
    """What all episodes share. engine, camera: see `open_world`."""

    robot_file: Path
    config: Path
    robot_name: str = 'amr'
    engine: str = 'mujoco'
    camera: str = 'auto'


@dataclass(frozen=True)
class Job:
    scenario: Scenario
    file: Path
    seed: int
    policy: PolicyName


def episodes(jobs: Iterable[Job], setting: Setting, processes: int | None = None,
             on_done: Callable[[Job, Episode], None] = lambda job, episode: None
             ) -> dict[Job, Episode]:
    """Every job's episode. on_done is called as they end, in this process.

    processes: by default one a core; 1 runs them here. What a job raises, this raises.
    """
    jobs = list(jobs)
    processes = processes or os.cpu_count() or 1
    found: dict[Job, Episode] = {}
    for job, episode in (_here if processes == 1 else _spread)(jobs, setting, processes):
        found[job] = episode
        on_done(job, episode)
    return found


def _here(jobs: list[Job], setting: Setting, _: int) -> Iterator[tuple[Job, Episode]]:
    for job in jobs:
        yield job, _run(job, setting)


def _spread(jobs: list[Job], setting: Setting, processes: int) -> Iterator[tuple[Job, Episode]]:
    # A forked process would share the renderer and the threads of this one.
    with ProcessPoolExecutor(processes, mp_context=get_context('spawn')) as pool:
        waiting = iter(jobs)
        running = {}
        for job in waiting:
            running[pool.submit(_run, job, setting)] = job
            if len(running) < processes * _AHEAD:
                continue
            yield from _done(running)
        while running:
            yield from _done(running)


def _done(running: dict) -> Iterator[tuple[Job, Episode]]:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        yield running.pop(future), future.result()


def _run(job: Job, setting: Setting) -> Episode:
    faults = job.scenario.faults
    world = _world(setting, faults.odometry_error, faults.lidar_noise_m)
    policy, witnesses = _policy(job.policy)
    board, _ = _policy(PolicyName('onnx', job.policy.file))
    return run(world, _robot(setting), job.scenario, job.seed, policy, board,
               witnesses=witnesses)


@cache
def _world(setting: Setting, odometry_error: float, lidar_noise_m: float | None) -> World:
    """A costly model and renderer, kept for all episodes of this process."""
    return open_world(setting.config / 'scenarios/empty.yaml', setting.robot_file,
                      engine=setting.engine, camera=setting.camera,
                      odometry_error=odometry_error, lidar_noise_m=lidar_noise_m)


@cache
def _robot(setting: Setting) -> Robot:
    return Robot.read(setting.config, setting.robot_name)


@cache
def _policy(name: PolicyName) -> tuple[Policy, tuple[Witness, ...]]:
    return name.open()
