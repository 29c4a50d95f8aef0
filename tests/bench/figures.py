"""What every benchmark writes: distributions, and the machine they were taken on."""

import datetime
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
_MOST_SHOWN = 16


def distribution(values: Sequence[float]) -> dict[str, float | int | None]:
    """p50, p99, p999, max, n; a percentile p is null where n is below 10 / (1 - p)."""
    found = np.asarray(values, float)

    def at(share: float) -> float | None:
        enough = len(found) >= 10 / (1 - share) - 1e-6
        return round(float(np.quantile(found, share)), 1) if enough else None

    return {'p50': at(0.5), 'p99': at(0.99), 'p999': at(0.999),
            'max': round(float(found.max()), 1) if len(found) else None, 'n': len(found)}


def header() -> dict[str, Any]:
    """Commit, start and machine, as every file carries them."""
    commit = subprocess.run(['git', 'describe', '--always', '--dirty'], capture_output=True,
                            text=True, check=False, cwd=ROOT).stdout.strip()
    return {
        'commit': commit,
        'started': datetime.datetime.now(datetime.UTC).isoformat('T', 'seconds'),
        'machine': {'cpu': _cpu(), 'cores': os.cpu_count(), 'kernel': platform.release(),
                    'realtime': os.geteuid() == 0
                    or resource.getrlimit(resource.RLIMIT_RTPRIO)[0] > 0},
        'versions': {'python': platform.python_version(), 'numpy': version('numpy'),
                     'rmw': os.environ.get('RMW_IMPLEMENTATION', '')},
    }


def _cpu() -> str:
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            return line.split(':', 1)[1].strip()
    return platform.machine()


def show(name: str, figures: Mapping[str, Any]) -> None:
    """Rows as a table, the rest as lines."""
    # A pipe has no width of its own; a row of figures needs this much.
    console = Console(width=None if sys.stdout.isatty() else 160)
    rows = figures.get('rows', [])
    if rows:
        table = Table(title=name, box=None, pad_edge=False)
        for key in rows[0]:
            table.add_column(key, justify='right')
        for row in rows:
            table.add_row(*(_short(value) for value in row.values()))
        console.print(table)
    for key, value in figures.items():
        if key not in ('rows', 'machine', 'versions', 'commit', 'started'):
            console.print(f'{key}: {_short(value)}', highlight=False)


def _short(value: Any) -> str:
    if isinstance(value, list) and len(value) > _MOST_SHOWN:
        return f'{len(value)} rows, in the JSON file'
    if isinstance(value, Mapping) and 'p50' in value:
        return '/'.join('-' if value[key] is None else f'{value[key]:.0f}'
                        for key in ('p50', 'p99', 'max'))
    return '-' if value is None else str(value)
