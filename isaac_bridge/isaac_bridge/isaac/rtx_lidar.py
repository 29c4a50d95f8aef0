"""A robot's lidar as the attributes of an OmniLidar prim. Pure.

Names and types are of the USD schema OmniSensorGenericLidarCoreAPI, against which the static gate
checks them. One emitter turns in the scanner's plane and fires `beams` times a turn.
"""

import math
from typing import Any

from ..robot import Lidar

SCHEMA = 'OmniSensorGenericLidarCoreAPI'
EMITTER_SCHEMA = 'OmniSensorGenericLidarCoreEmitterStateAPI'
EMITTER = 's001'
_FULL_TURN_RAD = 2 * math.pi


def attributes(lidar: Lidar) -> dict[str, Any]:
    """Raises ValueError for a lidar that this model cannot be: not a full turn, an odd rate."""
    turn = lidar.angle_increment_rad * lidar.beams
    if abs(turn - _FULL_TURN_RAD) > lidar.angle_increment_rad:
        raise ValueError(f'the lidar {lidar.name} sees {math.degrees(turn):.1f} degrees; as an RTX '
                         'lidar it has to turn fully: leave rtx off')
    rate = round(lidar.rate_hz)
    if rate != lidar.rate_hz:
        raise ValueError(f'the lidar {lidar.name} turns {lidar.rate_hz} times a second; an RTX '
                         'lidar turns a whole number of times: leave rtx off')
    core = 'omni:sensor:Core'
    emitter = f'{core}:emitterState:{EMITTER}'
    return {
        'omni:sensor:tickRate': float(rate),
        f'{core}:scanType': 'ROTARY',
        f'{core}:rotationDirection': 'CCW',
        f'{core}:scanRateBaseHz': rate,
        f'{core}:patternFiringRateHz': rate * lidar.beams,
        f'{core}:nearRangeM': lidar.range_min_m,
        f'{core}:farRangeM': lidar.range_max_m,
        f'{core}:startAzimuthOffsetDeg': math.degrees(lidar.angle_min_rad) % 360.0,
        f'{core}:validStartAzimuthDeg': 0.0,
        f'{core}:validEndAzimuthDeg': 360.0,
        f'{core}:rangeAccuracyM': lidar.noise_m,
        f'{core}:numberOfEmitters': 1,
        f'{core}:numberOfChannels': 1,
        f'{core}:maxReturns': 1,
        # All beams of a turn leave at one instant: a scan then shows the world of its stamp.
        f'{core}:instantLidar': True,
        f'{core}:accumulateOutputs': True,
        f'{emitter}:azimuthDeg': [0.0],
        f'{emitter}:elevationDeg': [0.0],
        f'{emitter}:fireTimeNs': [0],
        f'{emitter}:channelId': [1],
    }
