"""An expert that sees people: any policy's path, at a speed that lets it wait for them.

It is told the truth of the world, so it is no policy for a robot. It shows what a better model
would do: the gate is proved with it, and corrective labels are made by it.
"""

import dataclasses
import math
from concurrent.futures import Future

import numpy as np

from policy_client.handshake import ModelDescription
from policy_client.policies.base import Policy, Reply, Request, Split

from ..scenario import PERSON_RADIUS_M
from ..world import Frame, World
from .drive import Witness

ACTION = 'action.base_velocity'
AHEAD_S = 4.0
# Beside the robot's flank; within it a person is waited for.
MARGIN_M = 0.7
# From the bumper to a person at rest: beyond the reflex's field at a crawl.
STAND_OFF_M = 1.2
BRAKING_MPS2 = 0.35
_STEP_S = 0.1


class CarefulPolicy(Witness):
    """A policy whose rows (1, H, 2) of v, w are slowed for whoever comes into the robot's way.

    A person who walks on as now comes within MARGIN_M of the flanks at distance d ahead of the
    bumper, the nearest of the next AHEAD_S; then  v <= sqrt(2 BRAKING_MPS2 (d - STAND_OFF_M)),
    and w as much less, so that the path stays.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._limit_mps = math.inf

    def see(self, frame: Frame, world: World) -> None:
        x, y, yaw = frame.robot
        robot, nearest = world.robot, math.inf
        front = max(point[0] for point in robot.outline)
        flank = robot.half_width_m + PERSON_RADIUS_M + MARGIN_M
        for px, py, vx, vy in frame.people:
            for ahead_s in np.arange(0.0, AHEAD_S, _STEP_S):
                dx, dy = px + vx * ahead_s - x, py + vy * ahead_s - y
                along = dx * math.cos(yaw) + dy * math.sin(yaw)
                across = dy * math.cos(yaw) - dx * math.sin(yaw)
                if along > 0.0 and abs(across) < flank:
                    nearest = min(nearest, along - front - PERSON_RADIUS_M)
        self._limit_mps = math.sqrt(2.0 * BRAKING_MPS2 * max(0.0, nearest - STAND_OFF_M))

    def handshake(self, timeout_s: float) -> ModelDescription:
        return self._policy.handshake(timeout_s)

    def infer(self, request: Request) -> 'Future[Reply]':
        reply = self._policy.infer(request).result()
        rows = reply.actions.get(ACTION)
        if rows is not None:
            fastest = float(np.abs(rows[..., 0]).max())
            scale = min(1.0, self._limit_mps / fastest) if fastest > 0.0 else 1.0
            reply = dataclasses.replace(reply, actions={ACTION: (rows * scale).astype(rows.dtype)})
        future: Future[Reply] = Future()
        future.set_result(reply)
        return future

    def cancel(self, request_id: str) -> None:
        """What is asked is answered at once."""

    def split(self) -> Split | None:
        return self._policy.split()

    def close(self) -> None:
        self._policy.close()
