"""What a target chooses of the reflex, in the units that its modules use."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Times in nanoseconds, shares of one, SI units."""

    source_timeout_ns: int
    command_timeout_ns: int
    clear_ns: int
    neutral_ns: int
    bad_data_latch_ns: int
    loop_gap_ns: int
    max_stamp_age_ns: int
    max_stamp_ahead_ns: int
    odom_lag_ns: int
    odom_tolerance: tuple[float, float]
    max_invalid_share: float
    max_nothing_share: float
    max_blocked_rad: float
    min_rate_share: float
    frozen_scans: int
    escape_speed_mps: float
    command_topic: str
    teleop_topic: str
    estop_topics: tuple[str, ...]
    require_enable: bool
    field_latches: bool
    logical_time: bool
