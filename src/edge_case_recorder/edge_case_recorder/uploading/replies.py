"""What a reply of Cloud Storage means, by its published status codes.

https://cloud.google.com/storage/docs/json_api/v1/status-codes
https://cloud.google.com/storage/docs/retry-strategy
"""

import datetime
import email.utils
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_case_recorder.uploading.trouble import ObjectInfo, StoreError, Trouble

_SLOW_DOWN = ('rateLimitExceeded', 'userRateLimitExceeded')
_FULL = ('quotaExceeded', 'storageQuotaExceeded', 'dailyLimitExceeded', 'accountDisabled',
         'billingNotEnabled')
_LONGEST_RETRY_AFTER_S = 3600.0


@dataclass(frozen=True)
class Reply:
    """One reply; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b''


def trouble_of(reply: Reply, where: str) -> StoreError:
    """The trouble that an unwelcome status stands for. where: the object, for the message."""
    reason, text = _reason(reply)
    message = f'{where}: the server says {reply.status} {text}'.rstrip()
    status = reply.status
    if status in (408, 429) or (status == 403 and reason in _SLOW_DOWN):
        return StoreError(Trouble.UNREACHABLE, message, retry_after_s(reply))
    if status == 507 or (status == 403 and reason in _FULL):
        return StoreError(Trouble.FULL, message, retry_after_s(reply))
    if status >= 500:
        return StoreError(Trouble.UNREACHABLE, message, retry_after_s(reply))
    if status in (401, 403):
        return StoreError(Trouble.CREDENTIALS, message)
    if status == 404:
        return StoreError(Trouble.NO_BUCKET, message)
    return StoreError(Trouble.REFUSED, message)


def object_info(reply: Reply) -> ObjectInfo | None:
    """The object's size and checksum out of its metadata; None when the reply has none."""
    content = _json(reply)
    try:
        return ObjectInfo(int(content['size']), str(content['crc32c']))
    except (KeyError, TypeError, ValueError):
        return None


def retry_after_s(reply: Reply) -> float:
    """The Retry-After of a reply (RFC 9110, 10.2.3) in seconds, 0 without one, an hour at most.

    A date counts from the reply's own Date: this machine's clock may be wrong.
    """
    given = reply.headers.get('retry-after', '')
    if given.strip().isdecimal():
        seconds = float(given)
    else:
        until, sent = http_date(given), http_date(reply.headers.get('date', ''))
        seconds = until - sent if until is not None and sent is not None else 0.0
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_S)


def http_date(text: str) -> float | None:
    """An HTTP date as seconds since 1970, None if it is none."""
    try:
        date = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=datetime.UTC)).timestamp()


def _reason(reply: Reply) -> tuple[str, str]:
    """The machine-readable reason and the sentence of an error, as far as it has them."""
    error = _json(reply).get('error')
    if not isinstance(error, dict):
        return '', reply.body[:200].decode(errors='replace').strip()
    errors = error.get('errors')
    first = errors[0] if isinstance(errors, list) and errors else {}
    reason = first.get('reason', '') if isinstance(first, dict) else ''
    return str(reason), f'{reason} {error.get("message", "")}'.strip()[:300]


def _json(reply: Reply) -> dict[str, Any]:
    try:
        content = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
