"""Situations to learn from, labelled by the expert. A situation is cheap; its picture is not.

A camera frame depends on the pose alone, so one rendered pose serves many situations: other
goals, other measured velocities, other instructions, each labelled anew.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from flywheel.amr_policy import expert
from flywheel.amr_policy.language import sample_instructions
from flywheel.amr_policy.wire import MAX_TURN_RADPS

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Samples:
    """What the network sees (but the picture) and what the expert does, row by row.

    velocity (N, 2), goal (N, 2) in base_link, tokens (N, 16), chunk (N, 16, 2).
    """

    velocity: Float32
    goal: Float32
    tokens: NDArray[np.int64]
    chunk: Float32

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> Self:
        return type(self)(*(getattr(self, f.name)[rows] for f in fields(self)))


def poses(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Offset from the lane and heading (N, 2): where driving leads, and where a push would."""
    kind = rng.choice(3, count, p=(0.5, 0.35, 0.15))
    offset = np.choose(kind, (rng.normal(0, 0.25, count), rng.uniform(-1.5, 1.5, count),
                              rng.uniform(-1.5, 1.5, count)))
    heading = np.choose(kind, (rng.normal(0, 0.15, count), rng.uniform(-0.7, 0.7, count),
                               rng.uniform(-np.pi, np.pi, count)))
    return np.stack([np.clip(offset, -1.5, 1.5), expert.wrap(heading)], axis=1)


def velocities(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Measured velocities (N, 2): cruising, at rest, and anything that noise or a push makes."""
    kind = rng.choice(4, count, p=(0.25, 0.2, 0.25, 0.3))
    v = np.choose(kind, (np.zeros(count), rng.choice((0.4, 0.8), count),
                         rng.uniform(0, 0.3, count), rng.uniform(0, 0.9, count)))
    w = np.choose(rng.choice(3, count, p=(0.4, 0.4, 0.2)),
                  (np.zeros(count), rng.normal(0, 0.25, count),
                   rng.uniform(-MAX_TURN_RADPS, MAX_TURN_RADPS, count)))
    return np.stack([v + rng.normal(0, 0.01, count), w + rng.normal(0, 0.01, count)], axis=1)


def goals(pose: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Goals (N, 2) for poses (N, 3), in the lane's frame: near and far, mostly on the lane."""
    count = len(pose)
    near = rng.random(count) < 0.35
    along = np.where(near, rng.uniform(0.0, 2.5, count), rng.uniform(0.5, 25.0, count))
    forward = np.where(np.cos(pose[:, 2]) < 0, -1.0, 1.0)
    along *= forward * np.where(rng.random(count) < 0.88, 1.0, -1.0)
    across = np.where(rng.random(count) < 0.5, 0.0, rng.uniform(-1.0, 1.0, count))
    # The last metre is where precision counts, from the heading that the approach leads to.
    close = near & (rng.random(count) < 0.5)
    beside = pose[:, 1] + rng.normal(0, 0.15, count)
    goal = np.stack([pose[:, 0] + np.where(close, along * 0.4, along),
                     np.where(close, beside, across)], axis=1)
    there = rng.random(count) < 0.06
    around, distance = rng.uniform(-np.pi, np.pi, count), rng.uniform(0.0, 0.2, count)
    ring = pose[:, :2] + distance[:, None] * np.stack([np.cos(around), np.sin(around)], axis=1)
    return np.where(there[:, None], ring, goal)


def label(pose: NDArray[np.float64], lane: bool, rng: np.random.Generator) -> Samples:
    """One situation a pose (N, 3). `lane`: whether the driver sees the lane (a live camera)."""
    count = len(pose)
    velocity, goal = velocities(count, rng), goals(pose, rng)
    tokens, cruise = sample_instructions(count, rng)
    chunk = expert.chunk(pose, velocity, goal, cruise.astype(float), np.full(count, lane))
    return Samples(velocity.astype(np.float32),
                   expert.goal_in_base(pose, goal).astype(np.float32), tokens,
                   chunk.astype(np.float32))


def masked(count: int, rng: np.random.Generator) -> Samples:
    """Situations without a picture: the driver heads straight for the goal."""
    offset_heading = poses(count, rng)
    pose = np.concatenate([np.zeros((count, 1)), offset_heading], axis=1)
    return label(pose, False, rng)
