"""./dev bench policy: what the client costs, how late it is, who leads when, and how smoothly.

Each part says in its own module what it measures and how: policy_transport (overhead_ms, late_ms),
policy_seams (seam_step, seam_jerk, seam_error), policy_network and policy_real (sweep, sweep_real),
policy_fallback (fallback_periods), policy_hedging (hedging), policy_cpu (cpu_share_200hz). Two
pictures are written with SPINAL_REPORT=DIR. The short form takes about four minutes.

A part that cannot run here is null, and `missing` says why.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import policy_cpu
import policy_fallback
import policy_hedging
import policy_network
import policy_real
from policy_drive import target

# The policy in the cloud, the longest way, and the slowest inference of all targets.
TARGET = 'orin_nano'
_SEAMS = ('seam_step', 'seam_jerk', 'seam_error')


def run(*, long: bool) -> dict[str, Any]:
    """One key for each figure, null where its part could not run."""
    figures: dict[str, Any] = {'took_s': {}, 'missing': {}}
    parts: tuple[tuple[str, tuple[str, ...], Callable[[], dict[str, Any]]], ...] = (
        ('transport', ('overhead_ms', 'late_ms'), lambda: _module('policy_transport', long)),
        ('seams', _SEAMS, lambda: _module('policy_seams', long)),
        ('network', ('sweep',), lambda: _network(long)),
        ('real', ('fallback_periods', 'sweep_real'), lambda: _real(long)),
        ('hedging', ('hedging',), lambda: {'hedging': policy_hedging.run(long=long)}),
        ('cpu', ('cpu_share_200hz',), lambda: policy_cpu.run(long=long)))
    for name, keys, part in parts:
        print(f'   {name}', file=sys.stderr, flush=True)
        began = time.monotonic()
        figures |= dict.fromkeys(keys)
        try:
            figures |= part()
        except Exception as error:  # one part must not take the others' figures with it
            figures['missing'][name] = f'{type(error).__name__}: {error}'
            print(f'   {name}: {figures["missing"][name]}', file=sys.stderr, flush=True)
        figures['took_s'][name] = round(time.monotonic() - began, 1)
    return figures


def _module(name: str, long: bool) -> dict[str, Any]:
    found: dict[str, Any] = importlib.import_module(name).run(long=long)
    return found


def _network(long: bool) -> dict[str, Any]:
    chosen = target(TARGET)
    patient = policy_network.patient(chosen)
    rows = policy_network.sweep(chosen, long=long)
    waited = policy_network.sweep(patient, fallback=False, long=long)
    figures: dict[str, Any] = {
        'sweep': rows, 'sweep_patient': waited, 'sweep_settings': [vars(chosen), vars(patient)]}
    folder = os.environ.get('SPINAL_REPORT')
    if folder:
        import policy_sweep_chart
        seconds = policy_network.SECONDS_LONG if long else policy_network.SECONDS
        figures['sweep_chart'] = str(policy_sweep_chart.write(
            Path(folder), ((chosen, rows), (patient, waited)), seconds))
    return figures


def _real(long: bool) -> dict[str, Any]:
    chosen = target(TARGET)
    with ExitStack() as stack:
        rig = policy_real.Rig(stack)
        return {'fallback_periods': policy_fallback.run(rig, chosen, long=long),
                'sweep_real': policy_real.run(rig, chosen, long=long)}
