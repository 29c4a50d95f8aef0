"""The fault proxy before an echo: what comes, when at the earliest, and what never does."""

import socket
import threading
import time

import pytest
from fault_proxy import RTO_S, FaultProxy, Faults


@pytest.fixture
def echo():
    """The port of a server that sends back what it gets."""
    listener = socket.create_server(('127.0.0.1', 0))

    def serve(connection):
        try:
            while data := connection.recv(1 << 16):
                connection.sendall(data)
        except OSError:
            pass  # reset: the test wanted that

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


@pytest.fixture
def proxy(echo):
    with FaultProxy(echo) as proxy:
        yield proxy


@pytest.fixture
def connection(proxy):
    with socket.create_connection(('127.0.0.1', proxy.port)) as connection:
        connection.settimeout(20.0)
        assert echoed(connection, b'warm') == b'warm'
        yield connection


def echoed(connection, data):
    threading.Thread(target=connection.sendall, args=(data,), daemon=True).start()
    found = b''
    while len(found) < len(data):
        part = connection.recv(1 << 16)
        if not part:
            raise ConnectionResetError
        found += part
    return found


def duration_s(connection, data):
    began = time.monotonic()
    assert echoed(connection, data) == data
    return time.monotonic() - began


def silent(connection):
    connection.settimeout(0.3)
    connection.sendall(b'lost?')
    with pytest.raises(TimeoutError):
        connection.recv(10)
    connection.settimeout(20.0)


@pytest.mark.parametrize('faults', [
    Faults(), Faults(delay_ms=5, jitter_ms=20), Faults(loss=0.02)], ids=repr)
def test_bytes_come_whole_and_in_order(proxy, connection, faults):
    proxy.set(faults, faults)
    data = bytes(range(256)) * 1000
    for _ in range(5):
        assert echoed(connection, data) == data


def test_delay_and_trickle_take_their_time(proxy, connection):
    proxy.set(Faults(delay_ms=50), Faults(delay_ms=70))
    assert duration_s(connection, b'x') >= 0.12
    proxy.set(down=Faults(bytes_per_s=10_000))
    assert duration_s(connection, bytes(2000)) >= 0.2


def test_what_is_lost_comes_after_a_retransmission(proxy, connection):
    proxy.set(down=Faults(loss=0.5))
    took = [duration_s(connection, b'x') for _ in range(12)]
    late = [each for each in took if each >= RTO_S]
    assert 0 < len(late) < len(took)


def test_at_full_loss_nothing_passes_and_all_comes_when_it_ends(proxy, connection):
    proxy.set(up=Faults(loss=1.0))
    silent(connection)
    proxy.set()
    assert connection.recv(10) == b'lost?'


def test_silence_is_for_good_and_for_the_connections_of_now(proxy, connection):
    proxy.silence()
    silent(connection)
    with socket.create_connection(('127.0.0.1', proxy.port)) as other:
        assert echoed(other, b'other') == b'other'


def test_half_open_accepts_and_never_answers(proxy, connection):
    proxy.half_open()
    with socket.create_connection(('127.0.0.1', proxy.port)) as other:
        silent(other)
        assert echoed(connection, b'old') == b'old'
        assert proxy.connections() == {'made': 2, 'open': 2}


@pytest.mark.parametrize('how', ['reset', 'refuse'])
def test_a_reset_is_one(proxy, connection, how):
    getattr(proxy, how)()
    with pytest.raises(ConnectionResetError):
        connection.recv(10)
    if how == 'refuse':
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(('127.0.0.1', proxy.port))
        proxy.refuse(False)
    with socket.create_connection(('127.0.0.1', proxy.port)) as other:
        assert echoed(other, b'other') == b'other'


def test_garbage_has_the_length_of_what_it_replaces(proxy, connection):
    proxy.set(down=Faults(garbage=0.5))
    sent = bytes(10_000)
    replaced = sum(byte != 0 for byte in echoed(connection, sent))
    assert 0.4 < replaced / len(sent) < 0.6
