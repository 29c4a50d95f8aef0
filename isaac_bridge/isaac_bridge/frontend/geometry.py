"""Frames of entities, and whether their boxes overlap. Quaternions are (x, y, z, w)."""

import dataclasses
import itertools
import math

import numpy as np

from ..entities import Bounds, Pose, Quaternion, State, Vector


def rotation(quaternion: Quaternion) -> np.ndarray:
    """(3, 3) of a unit quaternion: turns a vector of the entity into the world."""
    x, y, z, w = quaternion
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]])


def multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (aw * bx + ax * bw + ay * bz - az * by, aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw, aw * bw - ax * bx - ay * by - az * bz)


def in_world(state: State, frame: Pose) -> State:
    """A state given in an entity's frame, as if that stood still."""
    turn = rotation(frame.quaternion)
    x, y, z = (turn @ state.pose.position + frame.position).tolist()
    vx, vy, vz = (turn @ state.linear).tolist()
    wx, wy, wz = (turn @ state.angular).tolist()
    return dataclasses.replace(
        state, pose=Pose((x, y, z), multiply(frame.quaternion, state.pose.quaternion)),
        linear=(vx, vy, vz), angular=(wx, wy, wz))


def touches_sphere(pose: Pose, bounds: Bounds, centre: Vector, radius: float) -> bool:
    """Whether an entity's box and a sphere in the world have a point in common."""
    local = rotation(pose.quaternion).T @ (np.array(centre) - pose.position)
    nearest = np.clip(local, bounds.lower, bounds.upper)
    return math.dist(local.tolist(), nearest.tolist()) <= radius


def touches_box(pose: Pose, bounds: Bounds, lower: Vector, upper: Vector) -> bool:
    """Whether an entity's box and an axis-aligned one in the world have a point in common.

    Two boxes are apart if and only if some face's normal, or a product of two edges, parts them
    (Gottschalk et al., OBBTree, 1996).
    """
    turn = rotation(pose.quaternion)
    half = (np.array(bounds.upper) - bounds.lower) / 2
    middle = turn @ (np.array(bounds.upper) + bounds.lower) / 2 + pose.position
    other = (np.array(upper) - lower) / 2
    apart = middle - (np.array(upper) + lower) / 2
    axes = [*np.eye(3), *turn.T,
            *(np.cross(a, b) for a, b in itertools.product(np.eye(3), turn.T))]
    return all(abs(axis @ apart) <= np.abs(axis) @ other + np.abs(axis @ turn) @ half + 1e-9
               for axis in axes)
