"""What the uploader of a spool said last, for whoever looks at the spool (uploading/status.py)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STATUS = '.uploader/status.json'


def read_status(spool: Path) -> Mapping[str, Any]:
    """What the uploader of a spool said last; empty when it never did."""
    try:
        content = json.loads((spool / STATUS).read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
