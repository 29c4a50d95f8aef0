"""The parameters of the reflex and of the monitor."""

from dataclasses import dataclass

from node_kit import parameter
from safety_reflex.reflex import Settings

_MS = 1_000_000


@dataclass(frozen=True)
class ReflexParameters:
    robot_file: str = parameter('', 'the robot\'s description (config/robots/<robot>.yaml)')
    fields_file: str = parameter('', 'what its protective fields are derived from')
    command_topic: str = parameter('policy/cmd_vel', 'the commander that the gate listens to')
    estop_topics: tuple[str, ...] = parameter((), 'one Bool topic an e-stop source; silent is true')
    frame_id: str = parameter('base_link', 'frame of the published velocity')
    tick_hz: float = parameter(50.0, 'how often it decides without a scan', minimum=20.0,
                               maximum=500.0)
    source_timeout_ms: float = parameter(100.0, 'a scan or odometry older than this is lost',
                                         minimum=10.0, maximum=1000.0)
    command_timeout_ms: float = parameter(250.0, 'a command older than this counts as zero',
                                          minimum=20.0, maximum=1000.0)
    clear_s: float = parameter(2.0, 'the field must be clear this long before it resumes',
                               minimum=2.0, maximum=60.0)
    neutral_s: float = parameter(0.2, 'neutral commands wanted after a reset', minimum=0.2,
                                 maximum=5.0)
    bad_data_latch_s: float = parameter(1.0, 'bad data that lasts longer latches', minimum=0.1,
                                        maximum=10.0)
    loop_gap_ms: float = parameter(250.0, 'a pause of its own loop longer than this latches',
                                   minimum=50.0, maximum=1000.0)
    max_invalid_share: float = parameter(0.05, 'largest believable share of invalid beams',
                                         minimum=0.0, maximum=0.5)
    max_nothing_share: float = parameter(0.8, 'largest believable share of beams with no echo',
                                         minimum=0.0, maximum=1.0)
    max_blocked_rad: float = parameter(0.1, 'widest believable run of invalid beams', minimum=0.0,
                                       maximum=1.0)
    frozen_scans: int = parameter(10, 'so many equal scans in a row are a frozen scanner',
                                  minimum=2, maximum=1000)
    realtime_priority: int = parameter(80, 'SCHED_FIFO priority; 0 asks for none', minimum=0,
                                       maximum=95)
    cpu: int = parameter(-1, 'the core to run on; -1 leaves it to the system', minimum=-1,
                         maximum=1023)
    require_realtime: bool = parameter(False, 'refuse to start without priority and memory lock')

    def settings(self) -> Settings:
        return Settings(
            source_timeout_ns=int(self.source_timeout_ms * _MS),
            command_timeout_ns=int(self.command_timeout_ms * _MS),
            clear_ns=int(self.clear_s * 1000 * _MS), neutral_ns=int(self.neutral_s * 1000 * _MS),
            bad_data_latch_ns=int(self.bad_data_latch_s * 1000 * _MS),
            loop_gap_ns=int(self.loop_gap_ms * _MS), max_invalid_share=self.max_invalid_share,
            max_nothing_share=self.max_nothing_share, max_blocked_rad=self.max_blocked_rad,
            frozen_scans=self.frozen_scans, command_source=self.command_topic)


@dataclass(frozen=True)
class MonitorParameters:
    robot_file: str = parameter('', 'the robot\'s description (config/robots/<robot>.yaml)')
    fields_file: str = parameter('', 'what its protective fields are derived from')
    frame_id: str = parameter('base_link', 'frame of the markers')
