"""What a target chooses of the reflex, in the units that its modules use."""

from dataclasses import dataclass

# Buttons and mutings speak at 10 Hz, the enable at 20 Hz or more; two and a half periods of
# silence end it.
ESTOP_SILENCE_NS, ENABLE_SILENCE_NS = 250_000_000, 125_000_000
# So long a bad command is remembered, and so long it takes to look at every protected topic.
FAULT_HOLD_NS, LOOK_NS = 500_000_000, 250_000_000

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
