"""Why the robot is slowed or stopped: the fixed list, and what each reason does."""

from enum import IntEnum, StrEnum


class Effect(IntEnum):
    """What a reason does while it is active; the larger wins."""

    NONE = 0
    SLOW = 1
    STOP = 2    # resumes by itself when clear for long enough
    LATCH = 3   # stays until an operator resets


class Reason(StrEnum):
    START_UP = 'start_up'
    AWAITING_NEUTRAL = 'awaiting_neutral'
    ESCAPING = 'escaping'
    MUTED = 'muted'
    SPEED_CAPPED = 'speed_capped'
    WARNING_FIELD = 'warning_field'
    APPROACH_FIELD = 'approach_field'
    PROTECTIVE_FIELD = 'protective_field'
    COMMAND_STALE = 'command_stale'
    COMMAND_NOT_FINITE = 'command_not_finite'
    COMMAND_OVER_LIMIT = 'command_over_limit'
    COMMAND_STAMP = 'command_stamp'
    COMMAND_JOINTS = 'command_joints'
    COMMAND_MALFORMED = 'command_malformed'
    SCAN_LOST = 'scan_lost'
    SCAN_SLOW = 'scan_slow'
    SCAN_MALFORMED = 'scan_malformed'
    SCAN_GEOMETRY = 'scan_geometry'
    SCAN_STAMP = 'scan_stamp'
    SCAN_INVALID = 'scan_invalid'
    SCAN_EMPTY = 'scan_empty'
    SCAN_FROZEN = 'scan_frozen'
    SECTOR_BLOCKED = 'sector_blocked'
    ODOM_LOST = 'odom_lost'
    ODOM_MALFORMED = 'odom_malformed'
    ODOM_NOT_FINITE = 'odom_not_finite'
    ODOM_STAMP = 'odom_stamp'
    ODOM_CONTRADICTS = 'odom_contradicts'
    JOINTS_LOST = 'joints_lost'
    JOINTS_MALFORMED = 'joints_malformed'
    JOINTS_NOT_FINITE = 'joints_not_finite'
    JOINTS_STAMP = 'joints_stamp'
    JOINTS_CONTRADICT = 'joints_contradict'
    CLOCK_FROZEN = 'clock_frozen'
    CLOCK_JUMPED = 'clock_jumped'
    ESTOP = 'estop'
    ESTOP_LOST = 'estop_lost'
    ENABLE_LOST = 'enable_lost'
    SECOND_PUBLISHER = 'second_publisher'
    PUBLISHER_REPLACED = 'publisher_replaced'
    LOOP_GAP = 'loop_gap'


# A reason that is not listed stops, and latches when it lasts longer than bad_data_latch_s.
EFFECTS = {
    Reason.COMMAND_STALE: Effect.NONE,
    Reason.AWAITING_NEUTRAL: Effect.NONE,
    Reason.ESCAPING: Effect.NONE,
    Reason.MUTED: Effect.SLOW,
    Reason.SPEED_CAPPED: Effect.SLOW,
    Reason.WARNING_FIELD: Effect.SLOW,
    Reason.APPROACH_FIELD: Effect.SLOW,
    Reason.PROTECTIVE_FIELD: Effect.STOP,
    Reason.START_UP: Effect.LATCH,
    # It ends with the stop that it causes: without a latch the robot would stop and go for ever.
    Reason.ODOM_CONTRADICTS: Effect.LATCH,
    Reason.JOINTS_CONTRADICT: Effect.LATCH,
    Reason.CLOCK_FROZEN: Effect.LATCH,
    Reason.CLOCK_JUMPED: Effect.LATCH,
    Reason.ESTOP: Effect.LATCH,
    Reason.ESTOP_LOST: Effect.LATCH,
    Reason.ENABLE_LOST: Effect.LATCH,
    Reason.SECOND_PUBLISHER: Effect.LATCH,
    Reason.PUBLISHER_REPLACED: Effect.LATCH,
    Reason.LOOP_GAP: Effect.LATCH,
}
# Only an object in the field may stop the robot for as long as it likes without a latch.
NEVER_LATCHES_WITH_TIME = frozenset({Reason.PROTECTIVE_FIELD})


def effect(reason: Reason) -> Effect:
    return EFFECTS.get(reason, Effect.STOP)
