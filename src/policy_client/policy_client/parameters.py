"""ROS parameters of policy_client."""

from dataclasses import dataclass

from node_kit import ParameterError, parameter
from policy_client.policies import gr00t_endpoint, triton_endpoint
from policy_client.policies.endpoint_options import without_options
from policy_client.routing import HOLD

ONNX = 'onnx'


@dataclass(frozen=True)
class Parameters:
    embodiment_file: str = parameter('', 'the embodiment, YAML (config/embodiments/)')
    vocabulary_file: str = parameter('', 'the vocabulary; empty: vocabulary.txt beside it')
    endpoints: tuple[str, ...] = parameter(
        (), 'servers, best first, each `name=grpc://host:port` for Triton or '
        '`name=zmq://host:port` for GR00T\'s own')
    model_name: str = parameter('amr', 'the model on those servers')
    model_version: str = parameter('', 'the version this robot is pinned to; empty: the newest')
    fallback_onnx: str = parameter('', 'the ONNX file on board, used when no endpoint leads')
    onnx_threads: int = parameter(1, 'threads of the ONNX file', minimum=1, maximum=64)
    clock: str = parameter('steady', 'what ages and chunks count in: the machine\'s steady clock, '
                           'or the world\'s (with use_sim_time)', choices=('steady', 'sim'))
    lockstep: bool = parameter(False, 'with clock = sim: ticks come with lockstep_topic, replies '
                               'take drawn delays, and the same seed gives the same drive')
    lockstep_topic: str = parameter('odom', 'what tells of a new instant, by its stamp')
    lockstep_delay_ms: tuple[float, ...] = parameter(
        (20.0, 40.0), 'median and 95th percentile of a server\'s delay in lock-step')
    lockstep_seed: int = parameter(0, 'of these delays', minimum=0, maximum=2**31 - 1)
    inference_rate_hz: float = parameter(10.0, 'how often a chunk is asked for', minimum=0.5,
                                         maximum=50.0)
    output_rate_hz: float = parameter(30.0, 'how often a command goes out', minimum=10.0,
                                      maximum=500.0)
    deadline_ms: float = parameter(80.0, 'after which a reply is given up and the next route is '
                                   'asked', minimum=10.0, maximum=5000.0)
    max_age_ms: float = parameter(1000.0, 'oldest observation that an action may run on',
                                  minimum=50.0, maximum=10000.0)
    hedge: bool = parameter(False, 'ask a second time, of at most 5 % of the requests, what takes '
                            'longer than 95 % of them do')
    blend_ms: float = parameter(150.0, 'shortest fading from one chunk to the next; the limits of '
                                'rate, acceleration and jerk make it longer', minimum=0.0,
                                maximum=2000.0)
    limit_tolerance: float = parameter(0.05, 'share of a limit within which a value is clipped; '
                                       'beyond it the chunk is refused', minimum=0.0, maximum=0.5)
    goal_tolerance_m: float = parameter(0.3, 'the goal counts as reached within this distance',
                                        minimum=0.01, maximum=10.0)
    safety_timeout_ms: float = parameter(500.0, 'silence of safety/state after which the policy is '
                                         'neutral', minimum=150.0, maximum=10000.0)
    failures_to_open: int = parameter(2, 'bad replies in a row that take the lead from a route',
                                      minimum=1, maximum=100)
    probes_to_close: int = parameter(3, 'good probes in a row that give it back', minimum=1,
                                     maximum=100)
    probe_interval_ms: float = parameter(250.0, 'between the probes of a route that does not lead; '
                                         'up to four times as long while they fail', minimum=20.0,
                                         maximum=60000.0)


def check(parameters: Parameters) -> None:
    """Raises ParameterError for values that do not fit each other."""
    if parameters.deadline_ms >= parameters.max_age_ms:
        raise ParameterError(
            f'parameter deadline_ms = {parameters.deadline_ms:g}: must be below max_age_ms '
            f'({parameters.max_age_ms:g}), or a slow reply is never late and never fresh')
    if parameters.lockstep and parameters.clock != 'sim':
        raise ParameterError('parameter lockstep: needs clock = sim')
    delays = parameters.lockstep_delay_ms
    if len(delays) != 2 or not 0.0 < delays[0] <= delays[1]:
        raise ParameterError(f'parameter lockstep_delay_ms = {list(delays)}: must be [p50, p95], '
                             'both above 0, the second not below the first')


def endpoints(parameters: Parameters) -> dict[str, str]:
    """Route name -> URL of the endpoints, best first; raises ParameterError.

    Options behind a `?` are listed in policies/triton_endpoint.py and gr00t_endpoint.py; the error
    repeats none of them.
    """
    found: dict[str, str] = {}
    for entry in parameters.endpoints:
        name, equals, url = entry.partition('=')
        try:
            if not equals or not name.replace('_', '').replace('-', '').isalnum():
                raise ValueError('must be name=grpc://host:port or name=zmq://host:port')
            gr00t = url.startswith('zmq:')
            (gr00t_endpoint if gr00t else triton_endpoint).parse(url)
        except ValueError as error:
            shown = without_options(entry)
            raise ParameterError(f'parameter endpoints: {shown!r}: {error}') from None
        route = f'{"gr00t" if gr00t else "triton"}:{name}'
        if name in (ONNX, HOLD, *(known.partition(':')[2] for known in found)):
            raise ParameterError(f'parameter endpoints: the name {name!r} is taken')
        found[route] = url
    return found
