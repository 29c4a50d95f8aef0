"""A TCP proxy on loopback that does what networks do: late, lossy, silent, reset, slow, garbled.

    with FaultProxy(8001) as proxy:          # a process of its own; clients connect to proxy.port
        proxy.set(up=Faults(delay_ms=50), down=Faults(loss=0.1))
        proxy.silence()                      # the connections of now swallow everything

`up` is from client to server. Faults are set while it runs and hold for what arrives from then on.

Loss is what TCP makes of it: nothing is missing, it comes later. Of a burst each segment of 1448
bytes is lost with that probability; a lost one that three more follow is sent again after a round
trip (fast retransmit, RFC 5681), any other, and one that is lost again, after an RTO that doubles
(RFC 6298; 200 ms at first, as Linux has it). What is behind waits. Congestion control is not
modelled: a real connection at 10 % loss is slower than this one. At a loss of 1 nothing passes, and
what was sent comes at the first retransmission after the loss ends.

Its own cost, by the benchmark's `proxy_ms`: 0.4 ms at p50 for a request of 394 KB and its reply,
for two more copies over loopback and two more turns of a process; 0.1 ms for a hundred bytes.
Delays come up to 1 ms late, as the event loop counts in milliseconds.
"""

import argparse
import asyncio
import json
import random
import socket
import struct
import subprocess
import sys
from collections import deque
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self

SEGMENT_BYTES = 1448
RTO_S, MOST_RTO_S = 0.2, 60.0
_PIECE_S = 0.02              # a trickle comes in pieces of this long
_READ_BYTES = 256 * 1024
_MOST_WAITING_BYTES = 16 * 1024 * 1024  # on the way, before the sender is made to wait
_READY_S = 20.0


@dataclass(frozen=True)
class Faults:
    """Of one direction.

    Attributes:
        delay_ms, jitter_ms: each burst comes that late, plus 0 to jitter_ms; the order is kept.
        loss: probability that a segment is lost; 1 lets nothing pass.
        bytes_per_s: of a trickle; 0 is no limit.
        garbage: share of bytes that are replaced.
    """
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    bytes_per_s: float = 0.0
    garbage: float = 0.0


class FaultProxy:
    """The proxy as a process, for a `with`; it ends with its parent. Each call returns when what
    it asks for is in force."""

    def __init__(self, target_port: int, seed: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(target_port), '--seed', str(seed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self.port = int(self._answer()['port'])

    def set(self, up: Faults | None = None, down: Faults | None = None) -> None:
        """The faults of each direction from now on; none where none is given."""
        self._ask('set', up=asdict(up or Faults()), down=asdict(down or Faults()))

    def half_open(self, on: bool = True) -> None:
        """Whether new connections are accepted and never answered."""
        self._ask('half_open', on=on)

    def silence(self) -> None:
        """The connections of now swallow everything, as after a lost NAT entry, for good."""
        self._ask('silence')

    def reset(self) -> None:
        """RST to both ends of each connection."""
        self._ask('reset')

    def refuse(self, on: bool = True) -> None:
        """Whether nobody listens; the connections of now are reset."""
        self._ask('refuse', on=on)

    def connections(self) -> dict[str, int]:
        """`made` so far, and `open` now: those whose client has not ended them."""
        return self._ask('connections')

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _ask(self, name: str, **arguments: Any) -> dict[str, int]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, arguments]).encode() + b'\n')
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, int]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError('the fault proxy ended')
        return json.loads(line)  # type: ignore[no-any-return]


class _Direction:
    """Bytes from one socket to the other, through the faults of the moment."""

    def __init__(self, proxy: '_Proxy', way: str, source: asyncio.StreamReader,
                 sink: asyncio.StreamWriter) -> None:
        self._proxy, self._way, self._source, self._sink = proxy, way, source, sink
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()
        self.ended = False  # its source sends no more
        self.silent = False

    async def run(self) -> None:
        sending = asyncio.create_task(self._send())
        try:
            while data := await self._source.read(_READ_BYTES):
                if self.silent:
                    continue
                self._waiting.append((self._proxy.now(), data))
                self._bytes += len(data)
                self._changed.set()
                while self._bytes > _MOST_WAITING_BYTES:
                    self._changed.clear()
                    await self._changed.wait()
            self.ended = True
            self._changed.set()
            await sending
        finally:
            sending.cancel()

    async def _send(self) -> None:
        last = 0.0
        while True:
            while not self._waiting:
                if self.ended:
                    self._sink.write_eof()
                    return
                self._changed.clear()
                await self._changed.wait()
            arrived, data = self._waiting.popleft()
            due = await self._due(arrived, len(data))
            last = max(last, due)
            if last > self._proxy.now():
                await asyncio.sleep(last - self._proxy.now())
            if not self.silent:
                await self._write(data)
            self._bytes -= len(data)
            self._changed.set()

    async def _due(self, arrived: float, size: int) -> float:
        """When the last segment of a burst is there, on the loop's clock."""
        faults, chance = self._faults(), self._proxy.random
        late = faults.delay_ms / 1e3 + chance.random() * faults.jitter_ms / 1e3
        rto = max(RTO_S, 4 * late)
        if faults.loss >= 1.0:
            await self._proxy.until(lambda: self._faults().loss < 1.0)
            tried = rto
            while arrived + tried < self._proxy.now():
                tried += min(MOST_RTO_S, tried + rto)
            return arrived + tried
        if not faults.loss:
            return arrived + late
        segments = -(-size // SEGMENT_BYTES)
        return arrived + late + max(
            _lost_s(chance, faults.loss, segments - 1 - index >= 3, 2 * late, rto)
            for index in range(segments))

    async def _write(self, data: bytes) -> None:
        faults, chance = self._faults(), self._proxy.random
        if faults.garbage:
            data = bytes(chance.randrange(256) if chance.random() < faults.garbage else byte
                         for byte in data)
        while data and self._faults().bytes_per_s and not self.silent:
            rate = self._faults().bytes_per_s
            size = max(1, int(rate * _PIECE_S))
            await asyncio.sleep(len(data[:size]) / rate)
            self._sink.write(data[:size])
            data = data[size:]
        if not self.silent:
            self._sink.write(data)
            await self._sink.drain()

    def _faults(self) -> Faults:
        return self._proxy.faults[self._way]


def _lost_s(chance: random.Random, loss: float, followed: bool, rtt_s: float,
            rto_s: float) -> float:
    """How much later a segment comes for being lost, perhaps several times."""
    late, wait = 0.0, rtt_s if followed else rto_s
    while chance.random() < loss:
        late += wait
        wait = rto_s if wait < rto_s else min(2 * wait, MOST_RTO_S)
    return late


class _Proxy:
    """The process's side: one event loop."""

    def __init__(self, target_port: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.faults = {'up': Faults(), 'down': Faults()}
        self._target_port = target_port
        self._half_open = False
        self._made = 0
        self._open: dict[int, tuple[list[asyncio.StreamWriter], list[_Direction]]] = {}
        self._changes = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._port = 0

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def until(self, condition: Any) -> None:
        async with self._changes:
            await self._changes.wait_for(condition)

    async def run(self) -> None:
        await self._listen()
        print(json.dumps({'port': self._port}), flush=True)
        commands = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
        while line := await commands.readline():
            name, arguments = json.loads(line)
            found = await getattr(self, f'on_{name}')(**arguments)
            print(json.dumps(found or {}), flush=True)

    async def on_set(self, up: dict[str, float], down: dict[str, float]) -> None:
        async with self._changes:
            self.faults = {'up': Faults(**up), 'down': Faults(**down)}
            self._changes.notify_all()

    async def on_half_open(self, on: bool) -> None:
        self._half_open = on

    async def on_silence(self) -> None:
        for _, directions in self._open.values():
            for direction in directions:
                direction.silent = True

    async def on_reset(self) -> None:
        for ends, _ in list(self._open.values()):
            for end in ends:
                _abort(end)

    async def on_refuse(self, on: bool) -> None:
        if on and self._server:
            self._server.close()
            self._server = None
            await self.on_reset()
        elif not on and not self._server:
            await self._listen()

    async def on_connections(self) -> dict[str, int]:
        ended = sum(each.ended for _, ways in self._open.values() for each in ways[:1])
        return {'made': self._made, 'open': len(self._open) - ended}

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, '127.0.0.1', self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._made += 1
        number, ends = self._made, [writer]
        self._open[number] = ends, []
        try:
            if self._half_open:
                while await reader.read(_READ_BYTES):
                    pass
                return
            far_reader, far_writer = await asyncio.open_connection('127.0.0.1', self._target_port)
            ends.append(far_writer)
            directions = [_Direction(self, 'up', reader, far_writer),
                          _Direction(self, 'down', far_reader, writer)]
            self._open[number] = ends, directions
            for end in ends:
                end.transport.get_extra_info('socket').setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            running = [asyncio.create_task(each.run()) for each in directions]
            try:
                # Either end that is gone takes the other with it, as a reset would.
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    each.exception()
            finally:
                for each in running:
                    each.cancel()
                await asyncio.gather(*running, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # nobody listens behind us, or we end: the client sees its connection end
        finally:
            for end in ends:
                _abort(end)
            del self._open[number]


def _abort(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST: close() with SO_LINGER 0."""
    end = writer.transport.get_extra_info('socket')
    if end is not None and end.fileno() >= 0:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    writer.transport.abort()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('target_port', type=int)
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()

    async def serve() -> None:
        await _Proxy(options.target_port, options.seed).run()

    asyncio.run(serve())


if __name__ == '__main__':
    main()
