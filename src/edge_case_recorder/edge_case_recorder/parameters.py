"""The parameters of the recorder's node."""

from dataclasses import dataclass

from node_kit import ParameterError, parameter

_MB = 1_000_000


@dataclass(frozen=True)
class RecorderParameters:
    topics: tuple[str, ...] = parameter(
        ('scan*', 'odom', 'joint_states', 'camera/*/image_raw', 'camera/*/compressed', 'task',
         'goal_pose', 'policy/*', 'cmd_vel', 'joint_trajectory', 'teleop/cmd_vel', 'safety/*',
         'safety/estop/*', 'tf', 'tf_static', 'robot_description', 'diagnostics', '/clock'),
        'what is recorded: names, * stands for anything within one level; '
        'safety/state, policy/status and what the triggers read are always recorded')
    budgets: tuple[str, ...] = parameter(
        (), 'memory of single topics, as NAME=MB; the first pattern that fits counts')
    budget_mb: float = parameter(
        32.0, 'memory of each other topic, megabytes', minimum=0.01, maximum=16_000.0)
    rates: tuple[str, ...] = parameter(
        (), 'rate limits of single topics, as NAME=HZ: the rest is left out before it is stored, '
        'and counted as skipped; never of latched topics')
    before_s: float = parameter(
        5.0, 'window before a trigger', minimum=0.0, maximum=600.0)
    after_s: float = parameter(
        2.0, 'window after a trigger', minimum=0.0, maximum=600.0)
    triggers_file: str = parameter(
        '', 'rules: changes to the built-in ones, and own ones (config/recorder/triggers.yaml)')
    fallbacks: tuple[str, ...] = parameter(
        ('onnx',), 'names of policies that count as fallbacks when they lead')
    spool_dir: str = parameter(
        '', 'folder of the cases; it must be given, and belongs to one recorder')
    robot: str = parameter('amr', 'the robot\'s type, for the manifest')
    robot_id: str = parameter(
        '', 'the robot\'s name in the fleet (letters, digits, . _ -); the host\'s name if empty')
    versions: tuple[str, ...] = parameter(
        (), 'NAME=VERSION of the software, for the manifest')
    min_free_bytes: int = parameter(
        1_000_000_000, 'free space on the disk that is never touched', minimum=0,
        maximum=2**62)
    evict_unsent: bool = parameter(
        False, 'whether a full disk may cost cases that are not uploaded: the least important '
        'first, then the oldest')
    key_file: str = parameter(
        '', 'file of the site\'s key, mode 0600 or $CREDENTIALS_DIRECTORY/NAME: cases are sealed '
        'with it (AES-256-GCM); plain if empty')
    redaction: str = parameter(
        '', 'plug-in that hides parts of messages before they reach the disk: its name, or '
        'module:Class; none if empty')
    redaction_options: tuple[str, ...] = parameter(
        (), 'NAME=VALUE for the plug-in')
    compression: str = parameter(
        'zstd', 'of chunks in a bag', choices=('zstd', 'lz4', 'none'))
    max_open_cases: int = parameter(
        8, 'cases that may be written at once; further triggers are refused', minimum=1,
        maximum=64)
    flush_s: float = parameter(
        0.5, 'how much of an open case a crash may cost', minimum=0.05, maximum=10.0)
    lag_s: float = parameter(
        3.0, 'how far the writer may fall behind before a window loses messages', minimum=1.0,
        maximum=60.0)
    queue_depth: int = parameter(
        100, 'depth of each subscription', minimum=1, maximum=10_000)
    graph_hz: float = parameter(
        2.0, 'how often new publishers are looked for', minimum=0.2, maximum=10.0)


@dataclass(frozen=True)
class Budgets:
    """Bytes of each topic's ring: the first pattern that fits, else the default."""

    patterns: tuple[tuple[str, int], ...]
    default_bytes: int


def budgets(parameters: RecorderParameters) -> Budgets:
    """Raises ParameterError naming the entry."""
    found = _amounts('budgets', parameters.budgets, 'MB', 16_000)
    return Budgets(tuple((name, int(megabytes * _MB)) for name, megabytes in found),
                   int(parameters.budget_mb * _MB))


def rates(parameters: RecorderParameters) -> tuple[tuple[str, float], ...]:
    """Patterns and Hz; raises ParameterError naming the entry."""
    return _amounts('rates', parameters.rates, 'HZ', 10_000)


def versions(parameters: RecorderParameters) -> dict[str, str]:
    """Raises ParameterError naming the entry."""
    return dict(_pair('versions', entry) for entry in parameters.versions)


def redaction_options(parameters: RecorderParameters) -> dict[str, str]:
    """Raises ParameterError naming the entry; also where there is no plug-in to take them.

    Who gives options thinks that something is hidden: then nothing may be recorded as it is.
    """
    if parameters.redaction_options and not parameters.redaction:
        raise ParameterError('parameter redaction is empty, but redaction_options has '
                             f'{parameters.redaction_options[0]!r}: name the plug-in')
    return dict(_pair('redaction_options', entry) for entry in parameters.redaction_options)


def _amounts(parameter_name: str, entries: tuple[str, ...], unit: str,
             most: int) -> tuple[tuple[str, float], ...]:
    found = []
    for entry in entries:
        name, value = _pair(parameter_name, entry)
        try:
            amount = float(value)
        except ValueError:
            amount = -1.0
        if not 0.01 <= amount <= most:
            raise ParameterError(f'parameter {parameter_name}: {entry!r}: must be NAME={unit}, '
                                 f'0.01 to {most}')
        found.append((name, amount))
    return tuple(found)


def _pair(parameter_name: str, entry: str) -> tuple[str, str]:
    name, separator, value = entry.partition('=')
    if not separator or not name or not value or len(entry) > 256:
        raise ParameterError(f'parameter {parameter_name}: {entry!r}: must be NAME=VALUE')
    return name, value
