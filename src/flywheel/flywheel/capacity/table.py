"""Assumptions and needs as tables for a person, and as one dictionary for a program."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from flywheel.capacity.model import ASSUMPTION_NOTES, Assumptions, Needs


def size(value: float) -> str:
    """Bytes in the unit that leaves one to three digits before the point."""
    for unit in ('B', 'kB', 'MB', 'GB', 'TB'):
        if value < 1000.0:
            return f'{value:.3g} {unit}'
        value /= 1000.0
    return f'{value:.3g} PB'


def rows(needs: Needs) -> list[tuple[str, str, str]]:
    """Rows of (what, how much, how it is meant)."""
    n = needs
    return [
        ('requests/s, mean', f'{n.requests_per_s:,.0f}', 'to Triton, hedges included'),
        ('requests/s, peak', f'{n.peak_requests_per_s:,.0f}', 'what the GPUs are counted for'),
        ('GPUs', f'{n.gpus}', f'{n.gpus_exact:.1f} at the headroom, rounded up, and the spares'),
        ('GPUs, mean when scaled', f'{n.gpus_mean:.1f}', 'by the autoscaler over a day, at best'),
        ('up, mean', f'{8 * n.up_bytes_per_s / 1e6:,.0f} Mbit/s', 'requests, reports, cases'),
        ('up, peak', f'{8 * n.peak_up_bytes_per_s / 1e6:,.0f} Mbit/s', ''),
        ('down, mean', f'{8 * n.down_bytes_per_s / 1e6:,.0f} Mbit/s', 'replies, releases'),
        ('reports/s', f'{n.reports_per_s:,.0f}', 'to the control plane'),
        ('cases a day', size(n.case_bytes_per_day), ''),
        ('telemetry a day', size(n.status_bytes_per_day), 'as stored'),
        ('stored, STANDARD', size(n.stored_standard_bytes), 'once the buckets have filled'),
        ('stored, NEARLINE', size(n.stored_nearline_bytes), ''),
        ('stored, COLDLINE', size(n.stored_coldline_bytes), ''),
        ('GPUs a month', f'${n.usd_gpus_per_month:,.0f}',
         f'${n.usd_gpus_per_month_scaled:,.0f} when scaled'),
        ('storage a month', f'${n.usd_storage_per_month:,.0f}', ''),
        ('network a month', f'${n.usd_network_per_month:,.0f}', ''),
        ('database a month', f'${n.usd_database_per_month:,.0f}', ''),
        ('in all a month', f'${n.usd_per_month:,.0f}',
         f'${n.usd_per_robot_month:,.2f} a robot; training not counted'),
    ]


def show(assumptions: Assumptions, needs: Needs, console: Console) -> None:
    """Print what was assumed, then what it comes to."""
    given = Table(title='Assumed', title_justify='left')
    for heading in ('parameter', 'value', 'from'):
        given.add_column(heading, justify='right' if heading == 'value' else 'left')
    for name, value in asdict(assumptions).items():
        given.add_row(name, f'{value:,.10g}', ASSUMPTION_NOTES[name])
    console.print(given)
    found = Table(title='Needed', title_justify='left')
    for heading in ('what', 'how much', ''):
        found.add_column(heading, justify='right' if heading == 'how much' else 'left')
    for row in rows(needs):
        found.add_row(*row)
    console.print(found)


def as_json(assumptions: Assumptions, needs: Needs) -> dict[str, Any]:
    return {'schema_version': 1, 'assumptions': asdict(assumptions), 'needs': asdict(needs)}
