"""Closed-loop drives without people: the network with and without its camera, beside the expert."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flywheel.amr_policy import episode, wire
from flywheel.amr_policy.episode import Course, Driver, Track
from flywheel.amr_policy.language import INSTRUCTIONS, tokenise
from flywheel.amr_policy.onnx_policy import OnnxPolicy
from isaac_bridge.scenario import Jitter, Person

GO, SLOW, WAIT = INSTRUCTIONS
WAIT_S = 5.0
ANYWHERE = 'from anywhere'


def starts(count: int, seed: int) -> list[tuple[float, float, float]]:
    """Poses off the lane at the head of the aisle; the first is on it."""
    rng = np.random.default_rng([seed, 3])
    drawn = [(float(rng.uniform(-1.0, 2.0)), float(rng.uniform(-1.2, 1.2)),
              float(rng.uniform(-0.5, 0.5))) for _ in range(count - 1)]
    return [(0.0, 0.0, 0.0), *drawn]


def anywhere(count: int, seed: int) -> list[tuple[tuple[float, float, float], tuple[float, float]]]:
    """(start, goal) pairs all over the aisle, at any heading, goals behind and beside included."""
    rng = np.random.default_rng([seed, 6])
    pairs = []
    for _ in range(count):
        x, goal_x = rng.uniform(0.0, 24.0, 2)
        pairs.append(((float(x), float(rng.uniform(-1.2, 1.2)), float(rng.uniform(-np.pi, np.pi))),
                      (float(goal_x), float(rng.uniform(-0.5, 0.5)))))
    return pairs


def drivers(policy: OnnxPolicy, has_camera: bool) -> dict[str, Driver]:
    """Who drives: by the name that the report uses."""
    crew = {'network, camera masked': episode.network(policy, False),
            'expert, sees the lane': episode.teacher(True),
            'expert, does not': episode.teacher(False)}
    return {'network, camera live': episode.network(policy, True), **crew} if has_camera else crew


def summary(tracks: list[Track]) -> dict[str, Any]:
    """Success rate and the figures of drives with one driver and one instruction."""
    waits = tracks[0].instruction == WAIT
    done = [track.moved_m < 0.05 if waits else track.reached for track in tracks]

    def figures(name: str) -> dict[str, float]:
        values = np.array([getattr(track, name) for track in tracks])
        return {'mean': round(float(values.mean()), 4), 'max': round(float(values.max()), 4)}

    both = {'n': len(tracks), 'success': sum(done) / len(done)}
    if waits:
        return both | {'moved_m': figures('moved_m')}
    return both | {name: figures(name) for name in ('goal_error_m', 'cross_track_m', 'cruise_mps')
                   } | {'seconds': round(float(np.mean([t.rows[-1, 0] for t in tracks])), 1)}


def closed_loop(course: Course, crew: dict[str, Driver], count: int, seed: int
                ) -> tuple[dict[str, Any], dict[str, list[Track]]]:
    """Metrics by driver and instruction, and the tracks of the first instruction."""
    metrics: dict[str, Any] = {}
    tracks: dict[str, list[Track]] = {}
    for name, driver in crew.items():
        metrics[name] = {}
        for instruction in INSTRUCTIONS:
            seconds = WAIT_S if instruction == WAIT else 120.0
            runs = [course.drive(driver, start, instruction, seconds=seconds,
                                 render='live' in name) for start in starts(count, seed)]
            metrics[name][instruction] = summary(runs)
            if instruction == GO:
                tracks[name] = runs
            print(f'evaluate: {name}: {instruction}: {metrics[name][instruction]}', flush=True)
        runs = [course.drive(driver, start, GO, goal=goal, seconds=120.0, render='live' in name)
                for start, goal in anywhere(count, seed)]
        metrics[name][ANYWHERE] = {
            'n': count, 'success': sum(run.reached for run in runs) / count,
            'goal_error_m_max': round(max(run.goal_error_m for run in runs), 4)}
        print(f'evaluate: {name}: {ANYWHERE}: {metrics[name][ANYWHERE]}', flush=True)
    return metrics, tracks


def people_in_view(course: Course, policy: OnnxPolicy, count: int, seed: int) -> dict[str, Any]:
    """How far a person in the picture moves the first second of the chunk (it should not)."""
    rng = np.random.default_rng([seed, 4])
    tokens, changes = tokenise(GO), []
    for _ in range(count):
        pose = (float(rng.uniform(0, 18)), float(rng.normal(0, 0.2)), float(rng.normal(0, 0.1)))
        ahead = rng.uniform(1.5, 6.0)
        place = (pose[0] + float(ahead), pose[1] + float(rng.uniform(-0.4, 0.4) * ahead))
        frames: list[NDArray[np.uint8]] = []
        for where in (place, (1000.0, 0.0)):
            person = Person('person', where, (where,), 1.0, (np.inf, 0.0, 0.0), Jitter())
            course.world.load(dataclasses.replace(course.scenario, start=pose, people=(person,)),
                              course.robot)
            image = course.world.frame(render=True).image
            assert image is not None
            frames.append(image)
        with_person, without = (policy(image, np.array([0.8, 0.0]), np.array([10.0, 0.0]), tokens)
                                for image in frames)
        changes.append(np.abs(with_person - without)[:10].max(axis=0))
    v, w = np.array(changes).T
    return {'n': count, 'v_mps': {'median': float(np.median(v)), 'max': float(v.max())},
            'w_radps': {'median': float(np.median(w)), 'max': float(w.max())}}


def fuzz(policy: OnnxPolicy, count: int, seed: int) -> dict[str, float]:
    """Largest |v| and |w|, and the largest first step, over random inputs of any kind."""
    rng = np.random.default_rng([seed, 5])
    largest = np.zeros(2)
    for turn in range(count):
        image = None if turn % 2 else rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
        chunk = policy(image, rng.normal(0, 2, 2), rng.normal(0, 30, 2),
                       rng.integers(-5, 200, wire.TOKENS))
        largest = np.maximum(largest, np.abs(chunk).max(axis=0))
    return {'n': count, 'v_mps_max': float(largest[0]), 'w_radps_max': float(largest[1])}


def evaluate(root: Path, model: Path, count: int, seed: int
             ) -> tuple[dict[str, Any], dict[str, list[Track]]]:
    """Everything the report says about a model file, and the tracks for its picture."""
    policy, course = OnnxPolicy(model), Course(root)
    metrics, tracks = closed_loop(course, drivers(policy, course.world.has_camera), count, seed)
    found: dict[str, Any] = {'closed_loop': metrics, 'fuzz': fuzz(policy, 500, seed),
                             'inference_ms': policy.inference_ms(300)}
    if course.world.has_camera:
        found['person_in_view'] = people_in_view(course, policy, 100, seed)
    course.world.close()
    return found, tracks
