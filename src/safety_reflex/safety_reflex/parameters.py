"""The parameters of the reflex and of the monitor."""

from dataclasses import dataclass

from node_kit import parameter
from safety_reflex.settings import Settings

_MS = 1_000_000


@dataclass(frozen=True)
class ReflexParameters:
    robot_file: str = parameter('', 'the robot\'s description (config/robots/<robot>.yaml)')
    fields_file: str = parameter('', 'what its protective fields are derived from')
    command_topic: str = parameter('policy/cmd_vel', 'the policy\'s commands')
    teleop_topic: str = parameter('teleop/cmd_vel', 'an operator\'s commands, sent only while '
                                  'the deadman is held')
    estop_topics: tuple[str, ...] = parameter((), 'one Bool topic an e-stop source; silent is true')
    require_enable: bool = parameter(True, 'latch without a fresh true on safety/enable')
    clock: str = parameter('steady', 'whose time ages are measured on; sim follows /clock',
                           choices=('steady', 'sim'))
    frame_id: str = parameter('base_link', 'frame of the published velocity')
    command_type: str = parameter('twist_stamped', 'the type of cmd_vel',
                                  choices=('twist_stamped', 'twist'))
    tick_hz: float = parameter(50.0, 'how often it decides without a scan', minimum=25.0,
                               maximum=500.0)
    source_timeout_ms: float = parameter(100.0, 'a scan, odometry or joint state older than this '
                                         'is lost', minimum=10.0, maximum=1000.0)
    command_timeout_ms: float = parameter(250.0, 'a command older than this counts as zero',
                                          minimum=20.0, maximum=1000.0)
    max_stamp_age_ms: float = parameter(250.0, 'a stamp farther behind the ROS clock is stale',
                                        minimum=10.0, maximum=10_000.0)
    max_stamp_ahead_ms: float = parameter(50.0, 'a stamp farther ahead of it is of the future',
                                          minimum=0.0, maximum=1000.0)
    clear_s: float = parameter(2.0, 'the field must be clear this long before it resumes',
                               minimum=2.0, maximum=60.0)
    latch_on_field: bool = parameter(False, 'an object in the field of a moving robot latches')
    neutral_s: float = parameter(0.2, 'neutral commands wanted after a reset and after '
                                 'teleoperation', minimum=0.2, maximum=5.0)
    escape_speed_mps: float = parameter(0.1, 'how fast an operator may creep out of a field that '
                                        'is occupied; 0 forbids it', minimum=0.0, maximum=0.25)
    bad_data_latch_s: float = parameter(1.0, 'bad data that lasts longer latches', minimum=0.1,
                                        maximum=10.0)
    loop_gap_ms: float = parameter(250.0, 'a pause of its own loop, or of a simulated clock, '
                                   'longer than this latches', minimum=50.0, maximum=1000.0)
    odom_lag_ms: float = parameter(500.0, 'how long the base may take to follow, before its '
                                   'odometry contradicts', minimum=50.0, maximum=5000.0)
    odom_tolerance_mps: float = parameter(0.2, 'how far measured and granted speed may differ',
                                          minimum=0.01, maximum=5.0)
    odom_tolerance_radps: float = parameter(0.5, 'the same of the turn rate', minimum=0.01,
                                            maximum=10.0)
    max_invalid_share: float = parameter(0.05, 'largest believable share of invalid beams',
                                         minimum=0.0, maximum=0.5)
    max_nothing_share: float = parameter(0.8, 'largest believable share of beams with no echo',
                                         minimum=0.0, maximum=1.0)
    max_blocked_rad: float = parameter(0.1, 'widest believable run of invalid beams', minimum=0.0,
                                       maximum=1.0)
    min_rate_share: float = parameter(0.5, 'a scanner slower than this share of its rate is not '
                                      'believed', minimum=0.1, maximum=1.0)
    frozen_scans: int = parameter(10, 'so many equal scans in a row are a frozen scanner',
                                  minimum=2, maximum=1000)
    realtime_priority: int = parameter(80, 'SCHED_FIFO priority; 0 asks for none', minimum=0,
                                       maximum=95)
    cpu: int = parameter(-1, 'the core to run on; -1 leaves it to the system', minimum=-1,
                         maximum=1023)
    without_realtime: str = parameter('cap', 'without priority or memory lock: go on, go no faster '
                                      'than capped_speed_mps, or refuse to start',
                                      choices=('go', 'cap', 'refuse'))
    capped_speed_mps: float = parameter(0.3, 'the speed of the outline under that cap',
                                        minimum=0.05, maximum=1.0)
    deadline_ms: float = parameter(5.0, 'a verdict that takes longer counts as a deadline miss',
                                   minimum=0.1, maximum=100.0)

    def settings(self) -> Settings:
        return Settings(
            source_timeout_ns=int(self.source_timeout_ms * _MS),
            command_timeout_ns=int(self.command_timeout_ms * _MS),
            clear_ns=int(self.clear_s * 1000 * _MS), neutral_ns=int(self.neutral_s * 1000 * _MS),
            bad_data_latch_ns=int(self.bad_data_latch_s * 1000 * _MS),
            loop_gap_ns=int(self.loop_gap_ms * _MS),
            max_stamp_age_ns=int(self.max_stamp_age_ms * _MS),
            max_stamp_ahead_ns=int(self.max_stamp_ahead_ms * _MS),
            odom_lag_ns=int(self.odom_lag_ms * _MS),
            odom_tolerance=(self.odom_tolerance_mps, self.odom_tolerance_radps),
            max_invalid_share=self.max_invalid_share, max_nothing_share=self.max_nothing_share,
            max_blocked_rad=self.max_blocked_rad, min_rate_share=self.min_rate_share,
            frozen_scans=self.frozen_scans, escape_speed_mps=self.escape_speed_mps,
            command_topic=self.command_topic, teleop_topic=self.teleop_topic,
            estop_topics=self.estop_topics, require_enable=self.require_enable,
            field_latches=self.latch_on_field, logical_time=self.clock == 'sim')


@dataclass(frozen=True)
class MonitorParameters:
    robot_file: str = parameter('', 'the robot\'s description (config/robots/<robot>.yaml)')
    fields_file: str = parameter('', 'what its protective fields are derived from')
    frame_id: str = parameter('base_link', 'frame of the markers')
    black_box_dir: str = parameter('~/.ros/black_box', 'folder of the black box, one bag a trip; '
                                   'empty writes none')
    black_box_topics: tuple[str, ...] = parameter(
        ('odom', 'joint_states', 'cmd_vel', 'joint_trajectory', 'policy/cmd_vel',
         'policy/joint_trajectory', 'teleop/cmd_vel', 'safety/enable', 'safety/heartbeat',
         'safety/estop/*'),
        'what it holds beside safety/state and the topics of the scanners and of muting; * stands '
        'for anything within one level')
    black_box_before_s: float = parameter(10.0, 'its time before a trip', minimum=1.0,
                                          maximum=120.0)
    black_box_after_s: float = parameter(1.0, 'its time after a trip', minimum=0.1, maximum=30.0)
    black_box_mb: float = parameter(32.0, 'its memory, half of it for scans', minimum=1.0,
                                    maximum=4096.0)
    black_box_keep: int = parameter(20, 'so many bags stay; the oldest goes', minimum=1,
                                    maximum=10_000)
