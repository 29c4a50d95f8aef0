"""Defects of the rows of one episode, and of statistics: what both layouts have in common."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from . import stats
from .episodes import TIMESTAMP

STEP_S = 1e-4                   # LeRobot's tolerance of a step against 1 / fps
_DTYPES = {'float32': (np.float32,), 'float64': (np.float64,), 'int64': (np.int64,),
           'bool': (np.bool_,)}
Arrays = dict[str, NDArray[Any]]


def arrays(table: pa.Table, features: Mapping[str, Any], where: str) -> tuple[Arrays, list[str]]:
    """(columns as (n,) or (n, d), defects): missing, unknown, of another type or width."""
    wanted = {name: told for name, told in features.items() if told.get('dtype') != 'video'}
    defects = [f'{where}: column {name} is missing' for name in wanted
               if name not in table.column_names]
    defects += [f'{where}: column {name} is not a feature of info.json'
                for name in table.column_names if name not in wanted]
    found: Arrays = {}
    for name, told in wanted.items():
        if name not in table.column_names:
            continue
        array = _array(table.column(name))
        width = array.shape[1] if array is not None and array.ndim == 2 else 1
        if array is None or array.dtype.type not in _DTYPES.get(str(told.get('dtype')), ()):
            kind = 'rows of different kinds' if array is None else array.dtype
            defects.append(f'{where}: column {name} has {kind}, info.json says '
                           f'{told.get("dtype")}')
        elif list(told.get('shape', ())) != [width]:
            defects.append(f'{where}: column {name} has {width} values a row, info.json says '
                           f'{told.get("shape")}')
        else:
            found[name] = array
    return found, defects


def episode(columns: Arrays, number: int, first_row: int, length: int, fps: float,
            tasks: Iterable[int], where: str) -> list[str]:
    """Defects of one episode's columns. length: what meta says."""
    defects = []
    count = len(next(iter(columns.values()))) if columns else 0
    if count != length:
        defects.append(f'{where}: has {count} rows, meta says {length}')
    for name, array in columns.items():
        if array.dtype.kind == 'f' and not np.isfinite(array).all():
            row = int(np.flatnonzero(~np.isfinite(array).reshape(count, -1).all(axis=1))[0])
            defects.append(f'{where}: {name} is not finite in row {row}')
    expected = {'frame_index': np.arange(count), 'episode_index': np.full(count, number),
                'index': np.arange(first_row, first_row + count)}
    for name, right in expected.items():
        if name in columns and not np.array_equal(columns[name], right):
            row = int(np.flatnonzero(columns[name] != right)[0])
            defects.append(f'{where}: {name} is {columns[name][row]} in row {row}, '
                           f'{right[row]} is right')
    if TIMESTAMP in columns:
        defects += times(columns[TIMESTAMP], fps, f'{where}: timestamp')
    known = set(tasks)
    for name in columns:
        if name == 'task_index' or name.startswith('annotation.'):
            unknown = sorted(set(columns[name].tolist()) - known)
            if unknown:
                defects.append(f'{where}: {name} {unknown[0]} is no task')
    if 'next.done' in columns and columns['next.done'].tolist() != [
            row == count - 1 for row in range(count)]:
        defects.append(f'{where}: next.done is not true in the last row alone')
    return defects


def times(found: Any, fps: float, where: str) -> list[str]:
    """Defects of times that should begin at 0 and step by 1 / fps."""
    seen = np.asarray(found, np.float64)
    steps = np.abs(np.diff(seen) - 1.0 / fps)
    if len(seen) and not abs(seen[0]) <= STEP_S:
        return [f'{where} begins at {seen[0]:g} s, not at 0']
    if not (steps <= STEP_S).all():     # NaN too
        row = int(np.flatnonzero(~(steps <= STEP_S))[0])
        return [f'{where} steps by {seen[row + 1] - seen[row]:.6f} s after row {row}, '
                f'1/fps is {1.0 / fps:.6f} s']
    drift = np.abs(seen - np.arange(len(seen)) / fps)
    if len(seen) and drift.max() > STEP_S * max(1.0, np.sqrt(len(seen))):
        return [f'{where} has drifted by {drift.max():.6f} s']
    return []


def statistics(told: Any, features: Mapping[str, Any], values: Mapping[str, list[NDArray[Any]]],
               needed: Iterable[str], where: str) -> list[str]:
    """Defects of stats.json against the rows themselves."""
    if not isinstance(told, dict):
        return [f'{where}: is no mapping']
    defects = [f'{where}: {name} is missing' for name in needed if name not in told]
    defects += [f'{where}: {name} is not a feature of info.json' for name in told
                if name not in features]
    for name, parts in values.items():
        if not isinstance(told.get(name), dict) or not parts:
            continue
        with np.errstate(invalid='ignore'):     # what is not finite was named already
            right: dict[str, Any] = stats.of_v3(np.concatenate(parts))
        defects += [f'{where}: {name}.{which} is missing' for which in stats.NAMES
                    if which not in told[name]]
        defects += [f'{where}: {name}.{which} is not known' for which in told[name]
                    if which not in right]
        for which in (which for which in right if which in told[name]):
            if not _close(told[name][which], right[which]):
                defects.append(f'{where}: {name}.{which} is not what the rows give')
    return defects


def _close(told: Any, right: Any) -> bool:
    try:
        seen = np.asarray(told, np.float64)
    except (TypeError, ValueError):
        return False
    return seen.shape == np.shape(right) and bool(
        np.allclose(seen, right, rtol=1e-4, atol=1e-5))


def _array(column: pa.ChunkedArray) -> NDArray[Any] | None:
    """None where rows are null, or of different lengths."""
    if column.null_count:
        return None
    if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type) or \
            pa.types.is_large_list(column.type):
        joined = column.combine_chunks()
        flat = joined.flatten()
        lengths = {len(row) for row in joined}
        if len(lengths) != 1 or flat.null_count:
            return None
        return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(len(joined), lengths.pop())
    return np.asarray(column.to_numpy())
