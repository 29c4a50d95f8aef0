"""Behaviour cloning: the network imitates the expert's chunks. Runs in the training environment.

    python -m flywheel.amr_policy.train DATA OUT [--steps N] [--seed N]
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from flywheel.amr_policy import network, samples
from flywheel.amr_policy.dataset import CameraData

IMAGES = 64                  # pictures in a step
REUSE = 8                    # situations a picture serves in a step
MASKED = IMAGES * REUSE      # situations without a picture: half of the step
MASKED_POOL = 200_000
PEAK_RATE = 2e-3
LANE_WEIGHT = 1.0
LANE_VISIBLE_RAD = 0.9       # beyond this heading the line has left the picture
EPSILON = 1e-5

Tree = dict[str, Any]


def imitation_loss(chunk: jax.Array, velocity: jax.Array, target: jax.Array) -> jax.Array:
    """Mean square error in shares of the ramp. Beyond a limit that the target sits on there is no
    error, because the limit takes the excess away."""
    start = velocity[:, None, :]
    high = jnp.minimum(start + network.RAMP, network.HIGH)
    low = jnp.maximum(start - network.RAMP, network.LOW)
    error = chunk - target
    error = jnp.where(target >= high - EPSILON, jnp.minimum(error, 0.0), error)
    error = jnp.where(target <= low + EPSILON, jnp.maximum(error, 0.0), error)
    return jnp.mean(jnp.square(error / jnp.maximum(network.RAMP, network.RAMP[2])))


def lane_targets(poses: np.ndarray) -> np.ndarray:
    """(N, 5): sin and cos of twice the heading to the lane (a line has no direction), the lane's
    nearest point in base_link, and 1 where the line is in the picture."""
    y, yaw = poses[:, 1], poses[:, 2]
    off = np.abs((yaw + np.pi / 2) % np.pi - np.pi / 2)
    return np.stack([np.sin(2 * yaw), np.cos(2 * yaw), -y * np.sin(yaw), -y * np.cos(yaw),
                     off < LANE_VISIBLE_RAD], axis=1).astype(np.float32)


def _situations(data: CameraData, rng: np.random.Generator) -> Tree:
    """The pictures with REUSE situations each, and again for their mirror images."""
    mirror = np.array([1.0, -1.0, -1.0])
    sides: list[Tree] = []
    for poses in (np.asarray(data.poses), data.poses * mirror):
        drawn = samples.label(np.repeat(poses, REUSE, axis=0), True, rng)
        sides.append({name: value.reshape(len(poses), REUSE, *value.shape[1:])
                      for name, value in vars(drawn).items()} | {'lane': lane_targets(poses)})
    return {name: jnp.stack([side[name] for side in sides], axis=1) for name in sides[0]}


def live_loss(parameters: Tree, image: jax.Array, batch: Tree) -> tuple[jax.Array, jax.Array]:
    """(imitation, lane) losses of pictures (B, 56, 56, 3) in [0, 1] with situations (B, R, ..)."""
    features = network.see(parameters, image)
    lane = batch['lane']
    seen = jnp.mean(jnp.square(features[:, :network.LANE] - lane[:, :4]) * lane[:, 4:])
    count = batch['velocity'].shape[1]

    def flat(array: jax.Array) -> jax.Array:
        return array.reshape(-1, *array.shape[2:])

    velocity = flat(batch['velocity'])
    chunk = network.drive(parameters, jnp.repeat(features, count, axis=0),
                          jnp.ones((len(velocity), 1)), velocity, flat(batch['goal']),
                          flat(batch['tokens']))
    return imitation_loss(chunk, velocity, flat(batch['chunk'])), seen


def masked_loss(parameters: Tree, batch: Tree) -> jax.Array:
    """Imitation loss of situations (B, ..) without a picture."""
    count = len(batch['velocity'])
    chunk = network.drive(parameters, jnp.zeros((count, network.FEATURES)), jnp.zeros((count, 1)),
                          batch['velocity'], batch['goal'], batch['tokens'])
    return imitation_loss(chunk, batch['velocity'], batch['chunk'])


def _picture(images: jax.Array, key: jax.Array, mirrored: jax.Array) -> jax.Array:
    """Floats in [0, 1], mirrored where asked, under other light and with sensor noise (one draw
    for all: normal numbers for each would cost as much as the convolutions)."""
    image = images.astype(jnp.float32) / 255.0
    image = jnp.where(mirrored[:, None, None, None], image[:, :, ::-1], image)
    light, gain, noise = jax.random.split(key, 3)
    shape = (len(image), 1, 1, 1)
    image = (image * jax.random.uniform(gain, shape, minval=0.8, maxval=1.2)
             + jax.random.uniform(light, shape, minval=-0.1, maxval=0.1)
             + 0.02 * jax.random.normal(noise, image.shape[1:]))
    return jnp.clip(image, 0.0, 1.0)


def _losses(parameters: Tree, images: jax.Array | None, live: Tree, blind: Tree,
            key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One drawn step: the total, and (live, masked, lane)."""
    pick, side, rows, look = jax.random.split(key, 4)
    row = jax.random.randint(rows, (MASKED,), 0, len(blind['velocity']))
    blind_part = masked_loss(parameters, {name: value[row] for name, value in blind.items()})
    if images is None:
        return blind_part, jnp.stack([jnp.zeros(()), blind_part, jnp.zeros(())])
    index = jax.random.randint(pick, (IMAGES,), 0, len(images))
    mirrored = jax.random.randint(side, (IMAGES,), 0, 2)
    batch = {name: value[index, mirrored] for name, value in live.items()}
    live_part, lane = live_loss(parameters, _picture(images[index], look, mirrored == 1), batch)
    return (live_part + blind_part + LANE_WEIGHT * lane,
            jnp.stack([live_part, blind_part, lane]))


def _stepper(optimiser: optax.GradientTransformation, images: jax.Array | None, live: Tree,
             blind: Tree) -> Callable[..., tuple[Tree, Any, jax.Array]]:
    """One compiled step: (parameters, state, key) to (parameters, state, losses).

    The loop around it is Python's: inside `lax.scan` XLA runs convolutions on a CPU some ten
    times slower.
    """

    @jax.jit
    def step(parameters: Tree, state: Any, key: jax.Array, images: jax.Array | None, live: Tree,
             blind: Tree) -> tuple[Tree, Any, jax.Array]:
        gradient, parts = jax.grad(partial(_losses, images=images, live=live, blind=blind,
                                           key=key), has_aux=True)(parameters)
        updates, state = optimiser.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state, parts

    return partial(step, images=images, live=live, blind=blind)


def train(data: CameraData, steps: int, seed: int, every: int = 100) -> tuple[Tree, dict[str, Any]]:
    """Parameters, and the history: losses by step for training and for worlds held back."""
    rng = np.random.default_rng(seed)
    held = np.asarray(data.session) % 10 == 9
    split = [CameraData(data.images[pick], data.poses[pick], data.session[pick])
             for pick in (~held, held)]
    blind, blind_test = ({name: jnp.asarray(value) for name, value in
                          vars(samples.masked(count, rng)).items()}
                         for count in (MASKED_POOL, 4096))
    live, live_test = (_situations(part, rng) if len(part.poses) else {} for part in split)
    images, images_test = (jnp.asarray(part.images) if len(part.images) else None for part in split)

    schedule = optax.warmup_cosine_decay_schedule(0.0, PEAK_RATE, steps // 20, steps, 1e-5)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0),
                            optax.adamw(schedule, weight_decay=1e-4))
    parameters = network.initialise(seed)
    state = optimiser.init(parameters)
    step = _stepper(optimiser, images, live, blind)

    @jax.jit
    def test(parameters: Tree) -> jax.Array:
        blind_part = masked_loss(parameters, blind_test)
        if images_test is None:
            return jnp.stack([jnp.zeros(()), blind_part, jnp.zeros(())])
        batch = {name: value[:, 0] for name, value in live_test.items()}
        live_part, lane = live_loss(parameters, images_test.astype(jnp.float32) / 255.0, batch)
        return jnp.stack([live_part, blind_part, lane])

    history: dict[str, Any] = {'step': [], 'train': [], 'test': []}
    began = time.monotonic()
    for first in range(0, steps, every):
        losses, last = [], min(first + every, steps)
        for key in jax.random.split(jax.random.fold_in(jax.random.key(seed), first), last - first):
            parameters, state, parts = step(parameters, state, key)
            losses.append(parts)
        history['step'].append(last)
        history['train'].append([float(x) for x in jnp.mean(jnp.stack(losses), axis=0)])
        history['test'].append([float(x) for x in test(parameters)])
        seconds = time.monotonic() - began
        if first // every % 10 == 9 or last == steps:
            print(f'train: step {last} of {steps}, {seconds:.0f} s, live/masked/lane '
                  + ' '.join(f'{x:.4f}' for x in history['test'][-1]), flush=True)
    history |= {'seconds': time.monotonic() - began, 'seed': seed, 'steps': steps,
                'images': len(data.images)}
    return parameters, history


def main() -> None:
    parser = argparse.ArgumentParser(prog='flywheel.amr_policy.train')
    parser.add_argument('data', type=Path, help='folder of rendered poses; may be missing')
    parser.add_argument('out', type=Path, help='folder for parameters.npz and history.json')
    parser.add_argument('--steps', type=int, default=8000)
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    data = (CameraData.load(options.data) if (options.data / 'images.npy').exists()
            else CameraData.empty())
    parameters, history = train(data, options.steps, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in parameters.items()}
    np.savez(options.out / 'parameters.npz', **arrays)
    (options.out / 'history.json').write_text(json.dumps(history))


if __name__ == '__main__':
    main()
