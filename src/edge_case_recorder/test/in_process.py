"""The strict bucket without a socket, on a clock that only moves when somebody waits."""

import email.utils

from edge_case_recorder.strict_bucket.faults import Faults, Kind, befall
from edge_case_recorder.strict_bucket.rules import Asked, Rules
from edge_case_recorder.uploading.backoff import Backoff, Patience
from edge_case_recorder.uploading.carrier import Carrier, Uploader
from edge_case_recorder.uploading.gcs import GcsStore
from edge_case_recorder.uploading.pace import ChunkSize
from edge_case_recorder.uploading.replies import Reply
from edge_case_recorder.uploading.trouble import StoreError, Trouble
from edge_case_recorder.uploading.wall_clock import WallClock

NOON_S = 1_795_435_200.0      # Monday, 2026-11-23 12:00 UTC
_BLOCK = 16 << 10


class FakeClock:
    """Steady and true time; the machine's own clock may be told to differ."""

    def __init__(self):
        self.steady = 1000.0
        self.machine_ahead_s = 0.0

    def steady_s(self):
        return self.steady

    def utc_s(self):
        return NOON_S + self.steady - 1000.0

    def machine_s(self):
        return self.utc_s() + self.machine_ahead_s

    def sleep(self, seconds):
        assert seconds >= 0.0
        self.steady += seconds


class InProcess:
    """A transport to `rules` over a link of so many bytes/s; offline while `offline` is set.

    passed: (steady time, bytes) of each block of a body that went over the link.
    """

    endpoint = 'http://strict'

    def __init__(self, rules, clock, *, faults=None, rate=None, latency_s=0.0):
        self.rules, self.clock = rules, clock
        self.faults = faults or Faults()
        self.rate, self.latency_s = rate, latency_s
        self.offline = False
        self.requests = 0
        self.passed = []

    def renew(self):
        pass

    def send(self, request, body):
        self.requests += 1
        self.clock.sleep(self.latency_s)
        if self.offline:
            raise StoreError(Trouble.UNREACHABLE, 'no network')
        declared = len(body) if body is not None else len(request.before)
        fault = self.faults.meets(f'{request.method} {request.url}', declared)
        refusal = befall(fault, self.rules)
        cut = fault is not None and fault.kind is Kind.CUT
        data = self._over_the_link(request, body, min(fault.bytes, max(declared - 1, 0))
                                   if cut else declared)
        target = request.url.removeprefix(self.endpoint)
        asked = Asked(request.method, target,
                      {name.lower(): value for name, value in request.headers.items()}, data,
                      declared)
        answer = refusal or self.rules.handle(asked)
        if cut or (fault is not None and fault.kind is Kind.LOST_REPLY):
            raise StoreError(Trouble.UNREACHABLE, 'the link broke')
        headers = {name.lower(): value for name, value in answer.headers.items()}
        headers['date'] = email.utils.formatdate(self.clock.utc_s(), usegmt=True)
        return Reply(answer.status, headers, answer.body)

    def _over_the_link(self, request, body, wanted):
        if body is None:
            return request.before[:wanted]
        data = b''
        while len(data) < wanted:
            try:
                block = body.read(min(_BLOCK, wanted - len(data)))
            except OSError as error:
                raise StoreError(Trouble.UNREACHABLE, str(error)) from error
            data += block
            self.clock.sleep(len(block) / self.rate if self.rate else 0.0)
            self.passed.append((self.clock.steady, len(block)))
        return data


def a_store(transport, *, cap=None, chunks=None):
    """A bucket over a transport, with everything on its clock."""
    clock = transport.clock
    return GcsStore(transport.rules.bucket, 'fleet', transport=transport, cap=cap,
                    chunks=chunks or ChunkSize(), clock=WallClock(clock.steady_s, clock.machine_s),
                    steady_s=clock.steady_s, sleep=clock.sleep)


def an_uploader(spool, store, clock, *, patience=None, uniform=None, **more):
    backoff = Backoff(patience or Patience(), uniform) if uniform else Backoff(
        patience or Patience())
    return Uploader(Carrier(spool, store, backoff=backoff, steady_s=clock.steady_s, **more),
                    wait=clock.sleep)


def rules_of(bucket='cases'):
    return Rules(bucket)
