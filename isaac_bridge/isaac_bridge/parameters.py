"""Parameters of the world node."""

import dataclasses

from node_kit import parameter


@dataclasses.dataclass(frozen=True)
class Parameters:
    scenario_file: str = parameter('', 'the scenario, a YAML file of config/scenarios; required')
    robot_file: str = parameter('', 'the robot, a YAML file of config/robots; required')
    engine: str = parameter('mujoco', 'what simulates', choices=('mujoco', 'physx', 'isaac'))
    seed: int = parameter(0, 'of people and noise', minimum=0, maximum=2**31 - 1)
    mode: str = parameter(
        'free', 'free: on the steady clock; lockstep: each scan waits for its answers',
        choices=('free', 'lockstep'))
    initial_state: str = parameter(
        'playing', 'of the simulation, until somebody sets it',
        choices=('playing', 'paused', 'stopped'))
    real_time_factor: float = parameter(
        1.0, 'free: simulated over real time, if the computer keeps up', minimum=0.05,
        maximum=20.0)
    lockstep_real_time_factor: float = parameter(
        0.0, 'lockstep: no faster than this; 0: as fast as the answers come', minimum=0.0,
        maximum=1000.0)
    answers: tuple[str, ...] = parameter(
        ('cmd_vel',), 'lockstep: what must answer a scan: cmd_vel, joint_trajectory, or a topic '
        "and its type ('policy/cmd_vel geometry_msgs/msg/TwistStamped')")
    answer_timeout_s: float = parameter(
        1.0, 'lockstep: how long, on the steady clock, a scan waits for them', minimum=0.01,
        maximum=60.0)
    on_silence: str = parameter(
        'go_on', 'lockstep: what the world does then; the base stops by itself when it goes on',
        choices=('go_on', 'pause'))
    requests_wait: bool = parameter(
        False, 'lockstep: steps by request wait for answers too')
    camera: str = parameter(
        'auto', 'auto: if it can be rendered here; on: or refuse to start',
        choices=('auto', 'on', 'off'))
    lidar_noise_m: float = parameter(
        -1.0, 'one sigma of the ranges; negative: as the robot file says',
        minimum=-1.0, maximum=1.0)
    odometry_error: float = parameter(
        0.0, "one sigma of each wheel's radius, relative; 0: exact odometry",
        minimum=0.0, maximum=0.2)
    require_enable: bool = parameter(
        False, 'the base moves only while safety/enable is true and fresh')
    enable_timeout_s: float = parameter(
        0.15, 'simulated time for which one enable holds', minimum=0.01, maximum=5.0)
    stamp: str = parameter(
        'world', "world: simulated time; system: the computer's, for tools that know no /clock",
        choices=('world', 'system'))
    publish_clock: bool = parameter(True, 'publish /clock (with stamp = world)')
