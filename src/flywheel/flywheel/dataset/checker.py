"""Every defect of a data set in LeRobot v2 (GR00T) or v3.0, one sentence each; none is `[]`.

It takes nobody's word: rows are counted, videos decoded, statistics computed anew.
"""

from pathlib import Path

from . import check_v2, check_v3
from .check_files import Defect, read_json


def check(path: Path) -> list[str]:
    """The defects of the data set in a folder; never raises for what is in it."""
    try:
        if not path.is_dir():
            return [f'{path}: is no folder']
        info = read_json(path / 'meta/info.json', path)
        version = info.get('codebase_version') if isinstance(info, dict) else None
        if version in ('v2.0', 'v2.1'):
            return check_v2.check(path, info)
        if version == 'v3.0':
            return check_v3.check(path, info)
        return [f'meta/info.json: codebase_version {version!r} is not v2.0, v2.1 or v3.0']
    except Defect as defect:
        return [str(defect)]
