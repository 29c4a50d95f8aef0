"""The capacity calculation: assumptions in, needs out, no clock and no I/O.

Everything is a mean except where the name says peak. Units are in the names; GB is 10^9 bytes, a
month is 30.4375 days. Each assumption is a parameter, and `ASSUMPTION_NOTES` says where its default
comes from.
"""

import math
from dataclasses import dataclass, fields

SECONDS_PER_DAY = 86_400.0
DAYS_PER_MONTH = 30.4375
HOURS_PER_MONTH = DAYS_PER_MONTH * 24.0


@dataclass(frozen=True)
class Assumptions:
    """What is assumed of robots, server, storage and prices.

    Raises ValueError with the parameter, its value and the rule.
    """
    robots: int = 2000
    duty: float = 0.5
    peak_active: float = 0.8
    inference_rate_hz: float = 5.0
    cloud_share: float = 1.0
    hedge_ratio: float = 0.05
    request_bytes: float = 44_800.0
    reply_bytes: float = 900.0
    gpu_requests_per_s: float = 30.0
    gpu_headroom: float = 0.3
    gpu_spares: int = 1
    reports_per_s: float = 0.1
    report_bytes: float = 1_500.0
    status_bytes_stored: float = 180.0
    cases_per_robot_day: float = 2.0
    case_bytes: float = 25e6
    case_standard_days: float = 30.0
    case_nearline_days: float = 90.0
    case_coldline_days: float = 610.0
    status_standard_days: float = 30.0
    status_nearline_days: float = 370.0
    release_bytes: float = 8e9
    releases_per_month: float = 4.0
    robots_with_model_on_board: float = 0.0
    gpu_usd_per_hour: float = 4.5
    standard_usd_per_gb_month: float = 0.020
    nearline_usd_per_gb_month: float = 0.010
    coldline_usd_per_gb_month: float = 0.004
    ingress_usd_per_gb: float = 0.0
    egress_usd_per_gb: float = 0.085
    database_usd_per_month: float = 400.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f'{field.name} is {value}: it must be a finite number from 0 on')
        for name in ('duty', 'peak_active', 'cloud_share', 'hedge_ratio',
                     'robots_with_model_on_board'):
            if getattr(self, name) > 1:
                raise ValueError(f'{name} is {getattr(self, name)}: it is a share, from 0 to 1')
        if self.gpu_requests_per_s <= 0:
            raise ValueError(f'gpu_requests_per_s is {self.gpu_requests_per_s}: it must be above 0')
        if self.gpu_headroom >= 1:
            raise ValueError(f'gpu_headroom is {self.gpu_headroom}: it must be below 1')
        if self.peak_active < self.duty:
            raise ValueError(f'peak_active is {self.peak_active}: it must be {self.duty} (duty) or '
                             'more')


ASSUMPTION_NOTES: dict[str, str] = {
    'robots': 'robots in the fleet',
    'duty': 'share of a day that a robot runs under its policy',
    'peak_active': 'share of the fleet that runs at once in the busiest minute',
    'inference_rate_hz': "policy_client's inference_rate_hz (5 on orin_nano, 10 by default)",
    'cloud_share': 'share of inferences that go to the cloud (the rest: on board, local network)',
    'hedge_ratio': 'requests asked twice; policy_client allows at most 0.05',
    'request_bytes': 'two 256x256 cameras as JPEG q90 of 22 KB each, state and headers; '
                     '393,600 raw',
    'reply_bytes': 'one chunk of 16 rows, measured under 1 KB',
    'gpu_requests_per_s': 'of one GPU: 1000 ms / 27.9 ms for GR00T N1.7 on H100 or RTX PRO 6000 '
                          '(published), 16 % off for the server; never measured here',
    'gpu_headroom': 'share of a GPU left free, so that queues stay short',
    'gpu_spares': 'GPUs above the need, so that one may fail or be rolled (N+1)',
    'reports_per_s': 'reports of a robot to the control plane: one in 10 s',
    'report_bytes': 'one report over HTTPS, headers included',
    'status_bytes_stored': 'one report in the lake, JSON lines in gzip',
    'cases_per_robot_day': 'edge cases; a guess until the first month',
    'case_bytes': 'mean bag of 7 s with compressed cameras; tens of MB',
    'case_standard_days': 'days in STANDARD (overlays/gke/buckets.yaml)',
    'case_nearline_days': 'days in NEARLINE after that',
    'case_coldline_days': 'days in COLDLINE after that, then deleted',
    'status_standard_days': 'days of telemetry in STANDARD',
    'status_nearline_days': 'days of telemetry in NEARLINE after that, then deleted',
    'release_bytes': 'one release: checkpoint and one artifact per target',
    'releases_per_month': 'releases; every one is kept for ever',
    'robots_with_model_on_board': 'share of robots that download a release (thor)',
    'gpu_usd_per_hour': 'one GPU with its share of the node; your contract says it',
    'standard_usd_per_gb_month': 'list price, region',
    'nearline_usd_per_gb_month': 'list price, region; retrieval not counted',
    'coldline_usd_per_gb_month': 'list price, region; retrieval not counted',
    'ingress_usd_per_gb': 'into the cloud: free at list price',
    'egress_usd_per_gb': 'out of the cloud; less over an interconnect',
    'database_usd_per_month': 'a managed PostgreSQL with a standby',
}


@dataclass(frozen=True)
class Needs:
    """What the assumptions come to; means, unless the name says peak."""
    requests_per_s: float
    peak_requests_per_s: float
    gpus_exact: float
    gpus: int
    gpus_mean: float
    up_bytes_per_s: float
    peak_up_bytes_per_s: float
    down_bytes_per_s: float
    reports_per_s: float
    case_bytes_per_day: float
    status_bytes_per_day: float
    stored_standard_bytes: float
    stored_nearline_bytes: float
    stored_coldline_bytes: float
    usd_gpus_per_month: float
    usd_gpus_per_month_scaled: float
    usd_storage_per_month: float
    usd_network_per_month: float
    usd_database_per_month: float
    usd_per_month: float
    usd_per_robot_month: float


def needs(a: Assumptions, *, months_of_releases: float = 12.0) -> Needs:
    """What a fleet needs once its buckets have filled, after the longest lifecycle.

    Args:
        a: the assumptions.
        months_of_releases: releases are never deleted: their storage is that of so many.
    """
    active_mean, active_peak = a.robots * a.duty, a.robots * a.peak_active
    per_robot = a.inference_rate_hz * a.cloud_share * (1.0 + a.hedge_ratio)
    mean, peak = active_mean * per_robot, active_peak * per_robot
    usable = a.gpu_requests_per_s * (1.0 - a.gpu_headroom)
    exact = peak / usable
    gpus = math.ceil(exact) + a.gpu_spares if exact > 0 else 0
    gpus_mean = min(float(gpus), mean / usable + a.gpu_spares) if exact > 0 else 0.0

    reports = a.robots * a.reports_per_s
    case_bytes_day = a.robots * a.cases_per_robot_day * a.case_bytes
    status_bytes_day = reports * SECONDS_PER_DAY * a.status_bytes_stored
    case_up = case_bytes_day / SECONDS_PER_DAY
    steady_up = reports * a.report_bytes + case_up
    downloads_day = (a.robots * a.robots_with_model_on_board * a.release_bytes
                     * a.releases_per_month / DAYS_PER_MONTH)
    down = mean * a.reply_bytes + downloads_day / SECONDS_PER_DAY

    standard = (case_bytes_day * a.case_standard_days + status_bytes_day * a.status_standard_days
                + a.release_bytes * a.releases_per_month * months_of_releases)
    nearline = (case_bytes_day * a.case_nearline_days
                + status_bytes_day * a.status_nearline_days)
    coldline = case_bytes_day * a.case_coldline_days

    usd_gpus = gpus * a.gpu_usd_per_hour * HOURS_PER_MONTH
    usd_storage = (standard * a.standard_usd_per_gb_month + nearline * a.nearline_usd_per_gb_month
                   + coldline * a.coldline_usd_per_gb_month) / 1e9
    month = SECONDS_PER_DAY * DAYS_PER_MONTH / 1e9
    up = mean * a.request_bytes + steady_up
    usd_network = month * (up * a.ingress_usd_per_gb + down * a.egress_usd_per_gb)
    total = usd_gpus + usd_storage + usd_network + a.database_usd_per_month
    return Needs(
        requests_per_s=mean, peak_requests_per_s=peak, gpus_exact=exact, gpus=gpus,
        gpus_mean=gpus_mean, up_bytes_per_s=up,
        peak_up_bytes_per_s=peak * a.request_bytes + steady_up, down_bytes_per_s=down,
        reports_per_s=reports, case_bytes_per_day=case_bytes_day,
        status_bytes_per_day=status_bytes_day, stored_standard_bytes=standard,
        stored_nearline_bytes=nearline, stored_coldline_bytes=coldline,
        usd_gpus_per_month=usd_gpus,
        usd_gpus_per_month_scaled=gpus_mean * a.gpu_usd_per_hour * HOURS_PER_MONTH,
        usd_storage_per_month=usd_storage, usd_network_per_month=usd_network,
        usd_database_per_month=a.database_usd_per_month, usd_per_month=total,
        usd_per_robot_month=total / a.robots if a.robots else 0.0)
