"""What a world must do, whatever its engine: each check returns a sentence, or raises Failed.

They ask a `World` only what its protocol offers, so they run over MuJoCo here and over Isaac Sim
on a GPU. Source of the figures: the scenario and the robot that are loaded.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from ..entities import EntityError, Pose, Scope, State
from ..layout import Box
from ..scenario import Scenario
from ..world import START_NS, Frame, World

STEPS = range(1, 1001)
WALL_ERROR_M = 1e-3
PROBE = 'doctor_probe'


class Failed(AssertionError):
    """A check did not pass; the message says what was seen."""


def empty(scenario: Scenario) -> Scenario:
    """The same place with nobody in it."""
    return dataclasses.replace(scenario, people=())


def steps_exact(world: World, counts: range = STEPS) -> str:
    """step(k) takes the world's time on by k periods, for every k."""
    for k in counts:
        before = world.t_ns
        world.step(k)
        gone = world.t_ns - before
        if gone != k * world.step_ns:
            raise Failed(f'step({k}) took {gone} ns, not {k * world.step_ns}')
    return f'{len(counts)} of {len(counts)} counts, {counts[0]} to {counts[-1]}'


def _drive(world: World, steps: int) -> list[Frame]:
    frames = []
    for i in range(steps):
        world.command(0.4, 0.3 * math.sin(0.1 * i))
        world.step(5)
        frames.append(world.frame())
    return frames


def reset_whole(world: World, seed: int = 5, steps: int = 40) -> str:
    """After a full reset the same commands give the same frames."""
    world.reset(seed)
    first, digest = _drive(world, steps), world.digest()
    world.reset(seed)
    if world.t_ns != START_NS:
        raise Failed(f'after a reset it is {world.t_ns} ns, not {START_NS}')
    second = _drive(world, steps)
    for i, (one, other) in enumerate(zip(first, second, strict=True)):
        if one.digest() != other.digest():
            apart = math.dist(one.robot[:2], other.robot[:2])
            raise Failed(f'frame {i} of {steps} differs, the robot by {apart:.2e} m')
    if world.digest() != digest:
        raise Failed('the frames are equal, but the digests of the state differ')
    return f'{steps} of {steps} frames equal, bit for bit'


def reset_scopes(world: World, seed: int = 5) -> str:
    """TIME leaves the state, STATE leaves the clock, SPAWNED leaves both."""
    world.reset(seed)
    _drive(world, 4)
    x, y, _ = world.frame().robot
    world.spawn(PROBE, world.spawnables()[0], Pose.flat(x + 3.0, y))
    world.step()
    t_ns, robot = world.t_ns, world.frame().robot
    world.reset(seed, Scope.TIME)
    if world.t_ns != START_NS or world.frame().robot != robot or not _there(world):
        raise Failed('TIME took back more, or less, than the clock')
    world.step(3)
    t_ns, robot = world.t_ns, world.frame().robot
    world.reset(seed, Scope.SPAWNED)
    if world.t_ns != t_ns or world.frame().robot != robot or _there(world):
        raise Failed('SPAWNED took back more, or less, than what was spawned')
    world.reset(seed, Scope.STATE)
    if world.t_ns != t_ns:
        raise Failed('STATE moved the clock')
    start = world.scenario.start
    if math.dist(world.frame().robot[:2], start[:2]) > 0.01:
        raise Failed(f'STATE left the robot at {world.frame().robot}, not at {start}')
    return 'TIME, STATE and SPAWNED, each alone'


def _there(world: World) -> bool:
    return any(entity.name == PROBE for entity in world.entities())


def lidar_lag(world: World, seed: int = 5, ahead_m: float = 2.0) -> str:
    """A thing put in front of the robot is in the scan of the very next step, and gone likewise."""
    world.reset(seed)
    lidar, (x, y, yaw) = world.robot.lidar, world.frame().robot
    beam = round((-lidar.pose[2] - lidar.angle_min_rad) / lidar.angle_increment_rad)
    world.step()
    free = float(world.frame().ranges[beam])
    for present in (True, False):
        if present:
            world.spawn(PROBE, world.spawnables()[0],
                        Pose.flat(x + ahead_m * math.cos(yaw), y + ahead_m * math.sin(yaw), yaw))
        else:
            world.delete(PROBE)
        world.step()
        seen = float(world.frame().ranges[beam])
        if present != (seen < min(free, ahead_m)):
            raise Failed(f'one step after it was {"put there" if present else "taken away"}, the '
                         f'beam reads {seen:.3f} m; without it {free:.3f} m')
    return '0 steps'


def lidar_walls(world: World, seed: int = 5) -> str:
    """The ranges are those of plane geometry to what stands in the aisle. Wants no noise."""
    world.reset(seed)
    frame = world.frame()
    aisle = world.scenario.aisle
    expected = expected_ranges(world, frame, [*aisle.walls(), *aisle.racks()])
    if not np.array_equal(np.isinf(expected), np.isinf(frame.ranges)):
        differing = int(np.sum(np.isinf(expected) != np.isinf(frame.ranges)))
        raise Failed(f'{differing} of {len(expected)} beams see something where nothing is, or '
                     'nothing where something is')
    hit = np.isfinite(expected)
    # Beside a corner a beam may pass on the other side of it: an error of centimetres, in few.
    errors = np.sort(np.abs(frame.ranges[hit] - expected[hit]))
    error = float(errors[:int(0.995 * len(errors))].max())
    if error > WALL_ERROR_M:
        raise Failed(f'up to {error * 1e3:.3f} mm off plane geometry')
    return f'{int(hit.sum())} beams within {error * 1e3:.4f} mm'


def expected_ranges(world: World, frame: Frame, boxes: list[Box]) -> np.ndarray:
    """float64 (beams,): to upright boxes, from where the lidar is in this frame; the slab method
    (Kay and Kajiya 1986)."""
    lidar, (x, y, yaw) = world.robot.lidar, frame.robot
    c, s = math.cos(yaw), math.sin(yaw)
    origin = np.array([x + c * lidar.pose[0] - s * lidar.pose[1],
                       y + s * lidar.pose[0] + c * lidar.pose[1]])
    angles = (yaw + lidar.pose[2] + lidar.angle_min_rad
              + lidar.angle_increment_rad * np.arange(lidar.beams))
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    nearest = np.full(lidar.beams, np.inf)
    for box in boxes:
        with np.errstate(divide='ignore', invalid='ignore'):
            one = (np.array([box.x0, box.y0]) - origin) / rays
            other = (np.array([box.x1, box.y1]) - origin) / rays
        enter = np.minimum(one, other).max(axis=1)
        leave = np.maximum(one, other).min(axis=1)
        hit = (enter <= leave) & (leave > 0.0)
        nearest[hit] = np.minimum(nearest[hit], np.maximum(enter[hit], 0.0))
    nearest[nearest > lidar.range_max_m] = np.inf
    return nearest


def refusals(world: World) -> str:
    """What cannot be done is refused, and leaves the world as it was."""
    before = world.digest()
    tried: list[tuple[str, Callable[[], object]]] = [
        ('a name twice', lambda: world.spawn(world.robot.name, world.spawnables()[0], Pose())),
        ('a pose outside', lambda: world.spawn(PROBE, world.spawnables()[0], Pose.flat(1e6, 0.0))),
        ('no such entity', lambda: world.state('nobody_of_this_name')),
        ('the robot deleted', lambda: world.delete(world.robot.name)),
        ('a twist that is not finite', lambda: world.command(math.nan, 0.0)),
        ('no steps', lambda: world.step(0)),
        ('a pose that is not finite',
         lambda: world.set_state(world.robot.name, State(Pose.flat(math.nan, 0.0))))]
    for name, attempt in tried:
        try:
            attempt()
        except (EntityError, ValueError):
            continue
        raise Failed(f'{name}: was not refused')
    if world.digest() != before:
        raise Failed('a refused request changed the state')
    return f'{len(tried)} of {len(tried)} refused'


def stops_when_stale(world: World, seed: int = 5) -> str:
    """A base that hears nothing comes to rest."""
    world.reset(seed)
    limits = world.robot.limits
    while world.frame().twist[0] < 0.5 * limits.max_speed_mps:
        world.command(limits.max_speed_mps, 0.0)
        world.step(5)
        if world.t_ns > START_NS + 10_000_000_000:
            raise Failed('it did not reach half its speed in 10 s')
    last_ns = world.t_ns
    rest_s = limits.command_timeout_s + world.frame().twist[0] / limits.braking_mps2
    while abs(world.frame().twist[0]) > 0.01:
        world.step(5)
        if world.t_ns - last_ns > round((rest_s + 0.3) * 1e9):
            raise Failed(f'it still moves at {world.frame().twist[0]:.3f} m/s, '
                         f'{(world.t_ns - last_ns) * 1e-9:.2f} s after the last command')
    return f'at rest {(world.t_ns - last_ns) * 1e-9:.3f} s after the last command'


CHECKS: tuple[tuple[str, Callable[[World], str]], ...] = (
    ('steps exact', steps_exact), ('reset whole', reset_whole), ('reset scopes', reset_scopes),
    ('lidar lag', lidar_lag), ('lidar against walls', lidar_walls), ('refusals', refusals),
    ('stale command stops', stops_when_stale))
