"""Defects of what meta/ says of itself: totals, numbers, GR00T's modality.json."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from .check_files import Defect

_PARTS = {'state': 'observation.state', 'action': 'action'}


def numbers(rows: list[Any], key: str, where: str) -> dict[int, Any]:
    """Rows by their number under `key`, which must go from 0 without a gap; raises Defect."""
    if not all(isinstance(row, dict) and isinstance(row.get(key), int) for row in rows):
        raise Defect(f'{where}: a row has no {key}')
    if [row[key] for row in rows] != list(range(len(rows))):
        raise Defect(f'{where}: {key} does not go from 0 in steps of 1')
    return {row[key]: row for row in rows}


def floats(features: Mapping[str, Any]) -> list[str]:
    """Features that need statistics."""
    return [name for name, told in features.items()
            if str(told.get('dtype')).startswith('float')]


def totals(info: Mapping[str, Any], right: Mapping[str, int]) -> list[str]:
    return [f'meta/info.json: {key} is {info[key]}, {count} is right'
            for key, count in right.items() if key in info and info[key] != count]


def modality(told: Any, features: Mapping[str, Any]) -> list[str]:
    """Defects of modality.json: half-open slices that fit the vectors, keys that exist."""
    where = 'meta/modality.json'
    if not isinstance(told, dict):
        return [f'{where}: is no mapping']
    defects = [f'{where}: {part} is missing' for part in ('state', 'action', 'video')
               if not isinstance(told.get(part), dict)]
    defects += [f'{where}: {part} is not known' for part in told
                if part not in ('state', 'action', 'video', 'annotation')]
    if defects:
        return defects
    for part, vector in _PARTS.items():
        for name, one in told[part].items():
            defects += _slice(one, f'{where}: {part}.{name}', vector, features)
        covered = sorted((one['start'], one['end']) for one in told[part].values()
                         if isinstance(one, dict) and not one.get('original_key')
                         and isinstance(one.get('start'), int) and isinstance(one.get('end'), int))
        for (_, end), (start, _) in pairwise(covered):
            if start < end:
                defects.append(f'{where}: two slices of {part} overlap at {start}')
    for part, prefix in (('video', 'observation.images.'), ('annotation', 'annotation.')):
        for name, one in (told.get(part) or {}).items():
            key = (one or {}).get('original_key') or prefix + name
            if key not in features:
                defects.append(f'{where}: {part}.{name} is {key}, which is no feature')
    return defects


def _slice(one: Any, where: str, vector: str, features: Mapping[str, Any]) -> list[str]:
    start, end = ((one or {}).get(key) for key in ('start', 'end'))
    vector = (one or {}).get('original_key') or vector
    width = (features.get(vector, {}).get('shape') or [0])[0]
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end <= width:
        return [f'{where} is [{start}, {end}) of a vector of {width}']
    return []
