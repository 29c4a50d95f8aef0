"""The network, in JAX: a camera encoder, a bag of tokens and a small perceptron.

`export.py` writes the same arithmetic as ONNX. Two properties hold by construction, whatever the
weights: the chunk starts at the measured velocity and stays inside the ramps, and no row is
outside the limits.
"""

import jax
import jax.numpy as jnp
import numpy as np

from flywheel.amr_policy.language import VOCABULARY
from flywheel.amr_policy.wire import (
    ACCELERATION_MPS2,
    HORIZON,
    MAX_SPEED_MPS,
    MAX_TURN_RADPS,
    ROW_S,
    TURN_ACCELERATION_RADPS2,
)

POOL = 4                      # the encoder sees means of 4x4 pixels: 56x56
CHANNELS = (3, 16, 24, 32)
KERNELS = (5, 3, 3)
GRID = 7                      # 56 / 2 / 2 / 2
LANE = 4                      # supervised features: sin and cos of twice the heading, lane point
FEATURES = 16
EMBEDDING = 16
HIDDEN = 128
STATE = 9
QUIET_MPS = 0.02              # a slower row stands,
QUIET_RADPS = 0.005           # a slower turn is straight ahead,
QUIET_ON_SPOT_RADPS = 0.1     # and who stands turns at least so fast, or not at all

Parameters = dict[str, jax.Array]

_SECONDS = ROW_S * np.arange(1, HORIZON + 1, dtype=np.float32)
RAMP = np.stack([ACCELERATION_MPS2 * _SECONDS, TURN_ACCELERATION_RADPS2 * _SECONDS], axis=1)
HIGH = np.array([MAX_SPEED_MPS, MAX_TURN_RADPS], np.float32)
LOW = np.array([0.0, -MAX_TURN_RADPS], np.float32)


def initialise(seed: int) -> Parameters:
    """He-initialised parameters; the last layer starts near zero."""
    rng = np.random.default_rng(seed)

    def weights(*shape: int, fan_in: int, gain: float = 2.0) -> jax.Array:
        return jnp.asarray(rng.normal(0, np.sqrt(gain / fan_in), shape), jnp.float32)

    parameters: Parameters = {}
    for layer, kernel in enumerate(KERNELS):
        source, target = CHANNELS[layer], CHANNELS[layer + 1]
        parameters[f'conv{layer}.w'] = weights(target, source, kernel, kernel,
                                               fan_in=source * kernel * kernel)
        parameters[f'conv{layer}.b'] = jnp.zeros(target)
    flat = CHANNELS[-1] * GRID * GRID
    dense = {'see0': (flat, 64), 'see1': (64, FEATURES), 'say': (EMBEDDING, EMBEDDING),
             'act0': (STATE + EMBEDDING + FEATURES + 1, HIDDEN), 'act1': (HIDDEN, HIDDEN),
             'act2': (HIDDEN, HORIZON * 2)}
    for name, (source, target) in dense.items():
        gain = 0.02 if name == 'act2' else 2.0
        parameters[f'{name}.w'] = weights(source, target, fan_in=source, gain=gain)
        parameters[f'{name}.b'] = jnp.zeros(target)
    parameters['words'] = weights(len(VOCABULARY), EMBEDDING, fan_in=4, gain=1.0)
    return parameters


def see(parameters: Parameters, image: jax.Array) -> jax.Array:
    """Features (B, FEATURES) of pooled images (B, 56, 56, 3) in [0, 1]; the first LANE are the
    lane as it is seen from the robot."""
    x = jnp.transpose(image, (0, 3, 1, 2)) - 0.5
    for layer, kernel in enumerate(KERNELS):
        pad = kernel // 2
        x = jax.lax.conv_general_dilated(x, parameters[f'conv{layer}.w'], (2, 2),
                                         ((pad, pad), (pad, pad)))
        x = jax.nn.relu(x + parameters[f'conv{layer}.b'][None, :, None, None])
    x = x.reshape(len(x), -1)
    x = jax.nn.relu(x @ parameters['see0.w'] + parameters['see0.b'])
    return x @ parameters['see1.w'] + parameters['see1.b']


def state_features(velocity: jax.Array, goal: jax.Array) -> jax.Array:
    """(B, STATE): scaled velocity and goal; the goal also by direction and by the root of its
    distance, because braking follows a root and the last decimetres decide.

    The last one is how far the goal is behind, signed by its side. A smooth network alone would
    pass from turning left to turning right through not turning, and stand there for ever.
    """
    distance = jnp.sqrt(jnp.sum(goal * goal, axis=1, keepdims=True) + 1e-6)
    direction = goal / (distance + 0.1)
    side = jnp.where(goal[:, 1:] < 0, -1.0, 1.0)
    return jnp.concatenate([velocity / HIGH, goal / 10.0, direction, jnp.sqrt(distance / 10.0),
                            jnp.minimum(distance, 1.0),
                            side * jnp.maximum(-direction[:, :1], 0.0)], axis=1)


def drive(parameters: Parameters, features: jax.Array, live: jax.Array, velocity: jax.Array,
          goal: jax.Array, tokens: jax.Array) -> jax.Array:
    """Chunk (B, HORIZON, 2) before the limits. `features` count where `live` (B, 1) is 1."""
    words = parameters['words'][tokens] * (tokens != 0)[..., None]
    words = jnp.tanh(jnp.sum(words, axis=1) @ parameters['say.w'] + parameters['say.b'])
    x = jnp.concatenate([state_features(velocity, goal), words, features * live, live], axis=1)
    x = jax.nn.relu(x @ parameters['act0.w'] + parameters['act0.b'])
    x = jax.nn.relu(x @ parameters['act1.w'] + parameters['act1.b'])
    x = x @ parameters['act2.w'] + parameters['act2.b']
    return velocity[:, None, :] + x.reshape(-1, HORIZON, 2) * RAMP


def limit(chunk: jax.Array, velocity: jax.Array) -> jax.Array:
    """Ramps from the measured velocity, then the limits, then the quiet bands."""
    start = velocity[:, None, :]
    chunk = jnp.clip(chunk, start - RAMP, start + RAMP)
    chunk = jnp.clip(chunk, LOW, HIGH)
    v, w = chunk[..., :1], chunk[..., 1:]
    v = jnp.where(v < QUIET_MPS, 0.0, v)
    band = jnp.where(v == 0.0, QUIET_ON_SPOT_RADPS, QUIET_RADPS)
    return jnp.concatenate([v, jnp.where(jnp.abs(w) < band, 0.0, w)], axis=-1)
