"""What a network and a cloud do to an uploader, on demand."""

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from edge_case_recorder.strict_bucket.rules import QUANTUM, Answer, Rules, error


class Kind(StrEnum):
    CUT = 'cut'                  # the link breaks after `bytes` of the body
    STALL = 'stall'              # nothing is read or said for `seconds`, then as CUT
    LOST_REPLY = 'lost_reply'    # it is done, and nobody hears of it
    STATUS = 'status'            # refused with `status`, `reason`, `retry_after`
    EXPIRE = 'expire'            # every session is gone
    KEEP_LESS = 'keep_less'      # a chunk is acknowledged without its last `bytes`


@dataclass
class Fault:
    """One fault. on: a word of the request's line (`PUT`, `upload_id`, ..); times: how often."""

    kind: Kind
    on: str = ''
    times: int = 1
    bytes: int = 0
    seconds: float = 0.0
    status: int = 503
    reason: str = 'backendError'
    retry_after: str = ''

    def answer(self) -> Answer:
        """The refusal of a STATUS fault."""
        refusal = error(self.status, self.reason, 'as was ordered')
        headers = {'Retry-After': self.retry_after} if self.retry_after else {}
        return Answer(refusal.status, {**refusal.headers, **headers}, refusal.body)


@dataclass
class Faults:
    """What is ordered, and what happens by chance. Thread-safe.

    share: of the requests meet a fault by chance. revoked: every request is refused with 401.
    full: every upload is refused with 403 quotaExceeded. token: the only one that is good, if any.
    """

    share: float = 0.0
    seed: int = 0
    revoked: bool = False
    full: bool = False
    token: str = ''
    ordered: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._lock = threading.Lock()

    def order(self, *faults: Fault) -> None:
        with self._lock:
            self.ordered.extend(faults)

    def meets(self, line: str, declared: int, bearer: str = '') -> Fault | None:
        """The fault that this request meets.

        line: method and target; declared: its body's size; bearer: the token that it carries.
        """
        with self._lock:
            if self.revoked or (self.token and bearer != self.token):
                return Fault(Kind.STATUS, status=401, reason='authError')
            if self.full and 'upload' in line:
                return Fault(Kind.STATUS, status=403, reason='quotaExceeded')
            for fault in self.ordered:
                if fault.on in line:
                    fault.times -= 1
                    if fault.times <= 0:
                        self.ordered.remove(fault)
                    return fault
            return self._by_chance(declared) if self._chance.random() < self.share else None

    def _by_chance(self, declared: int) -> Fault:
        pick = self._chance.randrange(10)
        if pick < 4:
            return Fault(Kind.CUT, bytes=self._chance.randint(0, max(declared - 1, 0)))
        if pick < 7:
            return Fault(Kind.LOST_REPLY)
        if pick < 8:
            return Fault(Kind.KEEP_LESS, bytes=self._chance.randint(1, 3) * QUANTUM)
        return Fault(Kind.STATUS, status=self._chance.choice((408, 429, 500, 502, 503, 504)))


def befall(fault: Fault | None, rules: Rules) -> Answer | None:
    """What a fault does before the request is handled; its answer if it is refused at once."""
    if fault is None:
        return None
    if fault.kind is Kind.EXPIRE:
        rules.expire_sessions()
    elif fault.kind is Kind.KEEP_LESS:
        rules.keep_less = max(fault.bytes // QUANTUM, 1)
    return fault.answer() if fault.kind is Kind.STATUS else None


def read_fault(content: Mapping[str, Any]) -> Fault:
    """A fault out of JSON; raises ValueError or TypeError."""
    return Fault(**{**content, 'kind': Kind(content['kind'])})
