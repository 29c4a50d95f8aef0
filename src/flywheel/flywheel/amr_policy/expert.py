"""A scripted driver: pure pursuit along the lane to the goal. It never sees people.

Frames: the lane is the x axis of a world frame (REP-103), poses are (x, y, yaw) in it.
All functions work on batches and are plain arithmetic, so the same code labels the training data,
drives the comparison runs and is tested property by property.
"""

import numpy as np
from numpy.typing import NDArray

from flywheel.amr_policy.wire import (
    ACCELERATION_MPS2,
    GOAL_RADIUS_M,
    HORIZON,
    ROW_S,
    TURN_ACCELERATION_RADPS2,
)

Array = NDArray[np.float64]

LOOKAHEAD_M = 2.0
MIN_CHORD_M = 0.5            # pursuit of a point that is nearer would be a pirouette
LEAVE_LANE_M = (3.5, 1.5)    # along-lane distance to the goal where the lane stops mattering
TURN_FIRST_RAD = (0.7, 1.3)  # bearing where the speed begins to fall, and where it is zero
TURN_RATE_RADPS = 0.7        # turning on the spot
MAX_RATE_RADPS = 0.8
STOP_MPS2 = 0.35             # gentler than the ramp, so a late command still stops in time
STOP_GAIN_PER_S = 1.5        # the last 0.3 m are approached exponentially,
CREEP_MPS = 0.05             # but never slower than this, or the end would not come
ARRIVED_M = 0.06


def wrap(angle: Array) -> Array:
    """Angles into [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _offset_in_base(pose: Array, goal: Array) -> Array:
    dx, dy = goal[:, 0] - pose[:, 0], goal[:, 1] - pose[:, 1]
    cos, sin = np.cos(pose[:, 2]), np.sin(pose[:, 2])
    return np.stack([cos * dx + sin * dy, cos * dy - sin * dx], axis=1)


def goal_in_base(pose: Array, goal: Array) -> Array:
    """Goals (B, 2) seen from poses (B, 3), metres in base_link, clipped to GOAL_RADIUS_M."""
    point = _offset_in_base(pose, goal)
    distance = np.hypot(point[:, 0], point[:, 1])
    return point * np.minimum(1.0, GOAL_RADIUS_M / np.maximum(distance, 1e-9))[:, None]


def unicycle(pose: Array, v: Array, w: Array, dt: float) -> Array:
    """Poses (B, 3) after `dt` seconds at v (m/s) and w (rad/s), by the midpoint rule."""
    middle = pose[:, 2] + w * dt / 2
    return np.stack([pose[:, 0] + v * np.cos(middle) * dt, pose[:, 1] + v * np.sin(middle) * dt,
                     wrap(pose[:, 2] + w * dt)], axis=1)


def _bearing(pose: Array, goal: Array, distance: Array, lane: NDArray[np.bool_]) -> Array:
    """Bearing (B,) of the point to pursue: on the lane far from the goal, the goal near it."""
    offset = goal - pose[:, :2]
    on_lane = np.stack([np.where(offset[:, 0] < 0, -LOOKAHEAD_M, LOOKAHEAD_M), -pose[:, 1]], axis=1)
    reach = np.minimum(1.0, LOOKAHEAD_M / np.maximum(distance, 1e-9))
    far, near = LEAVE_LANE_M
    share = np.clip((np.abs(offset[:, 0]) - near) / (far - near), 0.0, 1.0) * lane
    point = share[:, None] * on_lane + ((1 - share) * reach)[:, None] * offset
    return wrap(np.arctan2(point[:, 1], point[:, 0]) - pose[:, 2])


def wanted(pose: Array, velocity: Array, goal: Array, cruise: Array,
           lane: NDArray[np.bool_]) -> tuple[Array, Array]:
    """The velocity (v, w) wanted now, before the ramps."""
    distance = np.hypot(goal[:, 0] - pose[:, 0], goal[:, 1] - pose[:, 1])
    bearing = _bearing(pose, goal, distance, lane)
    begin, end = TURN_FIRST_RAD
    ahead = np.clip((end - np.abs(bearing)) / (end - begin), 0.0, 1.0)
    left = np.maximum(distance - ARRIVED_M, 0.0)
    approach = np.minimum(np.sqrt(2 * STOP_MPS2 * left), STOP_GAIN_PER_S * left)
    approach = np.where(left > 0, np.maximum(approach, CREEP_MPS), 0.0)
    v = np.minimum(cruise * ahead, approach)
    # To a goal behind, the goal's own side decides, not the lane's: one side from start to end.
    x, y = _offset_in_base(pose, goal).T
    side = np.where(x < 0, np.where(y < 0, -1.0, 1.0), np.sign(bearing))
    chord = np.clip(distance, MIN_CHORD_M, LOOKAHEAD_M)
    arc = 2 * np.maximum(velocity[:, 0], 0.0) * np.sin(bearing) / chord
    w = np.clip(ahead * arc + (1 - ahead) * TURN_RATE_RADPS * side, -MAX_RATE_RADPS, MAX_RATE_RADPS)
    fade = np.where(left > 0, np.clip(left / 0.3, 0.25, 1.0), 0.0)
    return v, w * fade * (cruise > 0)


def chunk(pose: Array, velocity: Array, goal: Array, cruise: Array,
          lane: NDArray[np.bool_]) -> Array:
    """What the expert would do from here: (B, HORIZON, 2), row k for [k, k + 1) * ROW_S.

    `pose` (B, 3), `velocity` (B, 2) as measured, `goal` (B, 2) in the lane's frame, `cruise` (B,)
    in m/s. `lane` (B,) tells whether the driver can see the lane; without it he heads straight
    for the goal. Speeds ramp from the measured velocity and v is never negative.
    """
    dv, dw = ACCELERATION_MPS2 * ROW_S, TURN_ACCELERATION_RADPS2 * ROW_S
    v, w = velocity[:, 0], velocity[:, 1]
    rows = np.empty((len(pose), HORIZON, 2))
    for row in range(HORIZON):
        v_wanted, w_wanted = wanted(pose, np.stack([v, w], axis=1), goal, cruise, lane)
        v = np.maximum(np.clip(v_wanted, v - dv, v + dv), 0.0)
        w = np.clip(w_wanted, w - dw, w + dw)
        rows[:, row, 0], rows[:, row, 1] = v, w
        pose = unicycle(pose, v, w, ROW_S)
    return rows
