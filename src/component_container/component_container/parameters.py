"""The container's parameters: one table for the code, the README and its test."""

from dataclasses import dataclass

from node_kit import parameter

EXECUTORS = ('events', 'single', 'multi')
ON_EXCEPTION = ('report', 'unload', 'exit')


@dataclass(frozen=True)
class Parameters:
    executor: str = parameter(
        'events', 'which rclpy executor runs the loaded nodes', choices=EXECUTORS)
    thread_num: int = parameter(
        0, 'threads of the multi executor; 0 means one a processor core', minimum=0, maximum=256)
    on_exception: str = parameter(
        'unload', 'what becomes of a node whose callback raises', choices=ON_EXCEPTION)
    diagnostics_period_s: float = parameter(
        1.0, 'period of the status on the topic diagnostics', minimum=0.1, maximum=60.0)
    busy_timeout_s: float = parameter(
        5.0, 'how long one callback may run before it is reported, and a load or unload refused',
        minimum=0.1, maximum=600.0)
    shutdown_timeout_s: float = parameter(
        6.0, 'from SIGINT or SIGTERM to a forced exit, should a callback not return',
        minimum=0.1, maximum=60.0)
