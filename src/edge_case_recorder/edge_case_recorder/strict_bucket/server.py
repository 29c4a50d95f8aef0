"""The strict bucket over HTTP on the loopback.

    python -m edge_case_recorder.strict_bucket.server [--share 0.3] [--rate BYTES_PER_S]

Faults are ordered by `POST /faults` with a JSON list of `faults.Fault`, or through `faults` by who
started it in its own process.
"""

import argparse
import contextlib
import json
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from edge_case_recorder.strict_bucket.faults import Fault, Faults, Kind, befall, read_fault
from edge_case_recorder.strict_bucket.rules import Answer, Asked, Rules

_BLOCK = 16 << 10
_IDLE_S = 120.0


class StrictBucket:
    """A server in threads of this process; `rules` holds what it has, under `lock`.

    rate_bytes_s: of the link towards it, None for as fast as it goes.
    seen: the steady time, the request's line and the status of each reply; 0 for none.
    bytes_at: the steady time and size of each block of a body that came in.
    """

    def __init__(self, bucket: str = 'cases', *, faults: Faults | None = None,
                 rate_bytes_s: float | None = None, port: int = 0) -> None:
        self.faults = faults or Faults()
        self.rate_bytes_s = rate_bytes_s
        self.lock = threading.Lock()
        self.seen: list[tuple[float, str, int]] = []
        self.bytes_at: list[tuple[float, int]] = []
        self.closing = threading.Event()
        self.severed = 0
        strict = self

        class Handler(_Handler):
            bucket = strict
        self._server = ThreadingHTTPServer(('127.0.0.1', port), Handler)
        self._server.daemon_threads = True
        self.endpoint = f'http://127.0.0.1:{self._server.server_address[1]}'
        self.rules = Rules(bucket, self.endpoint)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,),
                                        daemon=True)

    @property
    def uri(self) -> str:
        return f'gs://{self.rules.bucket}'

    @property
    def environment(self) -> dict[str, str]:
        """What a client's environment needs."""
        return {'STORAGE_EMULATOR_HOST': self.endpoint}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def heard(self) -> int:
        """Grows with everything that comes in."""
        return len(self.seen) + len(self.bytes_at)

    def sever(self) -> None:
        """A power cut at the other end: what is on its way over any connection never arrives."""
        self.severed += 1

    def wait(self) -> None:
        """Until the process is interrupted."""
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    bucket: StrictBucket
    protocol_version = 'HTTP/1.1'
    timeout = _IDLE_S
    # Headers and body of a reply leave together.
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with contextlib.suppress(OSError):      # clients are killed here
            super().handle()

    def do_GET(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, *_: object) -> None:
        """`seen` has it."""

    def _serve(self) -> None:
        strict = self.bucket
        declared = int(self.headers.get('content-length', 0))
        line = f'{self.command} {self.path}'
        if self.path == '/faults':
            self._order(self._read(declared, None))
            return
        with strict.lock:
            fault = strict.faults.meets(
                line, declared, self.headers.get('authorization', '').removeprefix('Bearer '))
            refusal = befall(fault, strict.rules)
        body = self._read(declared, fault)
        asked = Asked(self.command, self.path,
                      {name.lower(): value for name, value in self.headers.items()}, body, declared)
        with strict.lock:
            answer = refusal or strict.rules.handle(asked)
            unheard = len(body) < declared or \
                (fault is not None and fault.kind in (Kind.CUT, Kind.STALL, Kind.LOST_REPLY))
            strict.seen.append((time.monotonic(), line, 0 if unheard else answer.status))
        if unheard:
            self.close_connection = True
            return
        self._answer(answer)

    def _read(self, declared: int, fault: Fault | None) -> bytes:
        """What arrives of the body, as fast as the link allows."""
        strict, taken = self.bucket, bytearray()
        wanted = declared
        if fault is not None and fault.kind in (Kind.CUT, Kind.STALL):
            wanted = min(fault.bytes, max(declared - 1, 0))
        began, severed = time.monotonic(), strict.severed
        while len(taken) < wanted and strict.severed == severed:
            try:
                block = self.rfile.read1(min(_BLOCK, wanted - len(taken)))
            except OSError:
                break
            if not block:
                break
            taken += block
            strict.bytes_at.append((time.monotonic(), len(block)))
            if strict.rate_bytes_s:
                late_s = len(taken) / strict.rate_bytes_s - (time.monotonic() - began)
                strict.closing.wait(max(late_s, 0.0))
        if fault is not None and fault.kind is Kind.STALL:
            strict.closing.wait(fault.seconds)
        return bytes(taken)

    def _order(self, body: bytes) -> None:
        try:
            self.bucket.faults.order(*(read_fault(each) for each in json.loads(body)))
        except (ValueError, TypeError, KeyError) as problem:
            self._answer(Answer(400, {}, str(problem).encode()))
            return
        self._answer(Answer(204))

    def _answer(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header('Content-Length', str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve in the foreground until interrupted."""
    parser = argparse.ArgumentParser(prog='python -m edge_case_recorder.strict_bucket.server',
                                     description='A strict bucket in memory, with faults.')
    parser.add_argument('--bucket', default='cases')
    parser.add_argument('--port', type=int, default=0, help='0 (the default) takes a free one')
    parser.add_argument('--rate', type=float, metavar='BYTES_PER_S', help='of the link')
    parser.add_argument('--share', type=float, default=0.0, help='of requests that meet a fault')
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        with StrictBucket(options.bucket, faults=Faults(options.share, options.seed),
                          rate_bytes_s=options.rate, port=options.port) as server:
            print(f'{server.uri} is served: export STORAGE_EMULATOR_HOST={server.endpoint}',
                  flush=True)
            server.wait()
    except OSError as problem:
        print(f'strict_bucket: {problem}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
