"""GR00T's server over real sockets: a stand-in with its wire interface, as a process of its own."""

import contextlib
import logging
import socket
import threading
import time

import gr00t_server
import numpy as np
import pytest
import zmq
from gr00t_server import LANGUAGE, Standin
from policy_scene import VOCABULARY, changed

from policy_client.embodiment_file import parse
from policy_client.handshake import HandshakeError, compare
from policy_client.policies import gr00t_wire as wire
from policy_client.policies.base import Failure, PolicyUnavailable, Request
from policy_client.policies.gr00t import Gr00tPolicy
from policy_client.policies.gr00t_endpoint import Endpoint, read_token
from policy_client.policies.gr00t_endpoint import parse as parse_url
from policy_client.policies.gr00t_handshake import hold
from policy_client.policies.gr00t_link import Link, LinkError
from policy_client.reply import ChunkRejected, checked

MS = 1_000_000
# How much later than its deadline an answer may come on a busy machine.
MARGIN_NS = 1000 * MS
# As the stand-in has it: the server resolves the relative actions.
SPOKEN = {f'language__{LANGUAGE}__form': 'text', 'action__base_velocity__meaning': 'resolved'}
AMR = parse(changed(**SPOKEN))
ACTION = 'action.base_velocity'
both = pytest.mark.parametrize('arguments', [
    ('--encoding', 'npy'), ('--encoding', 'msgpack_numpy'),
    ('--encoding', 'npy', '--layout', 'flat'), ('--encoding', 'msgpack_numpy', '--layout', 'flat')],
    ids=lambda arguments: '-'.join(arguments[1::2]))


@pytest.fixture
def make():
    """Start servers and policies that end with the test."""
    opened = []

    def server(*arguments, port=0):
        opened.append(Standin(*arguments, port=port))
        return opened[-1]

    def policy(url, robot=AMR, **options):
        options = {'image': '32x48'} | options
        made = Gr00tPolicy(f'{url}?' + '&'.join(f'{a}={b}' for a, b in options.items()), robot)
        opened.append(made)
        return made

    server.policy = policy
    yield server
    for each in reversed(opened):
        (each.kill if isinstance(each, Standin) else each.close)()


@pytest.fixture
def standin(make):
    return make()


@pytest.fixture
def policy(make, standin):
    policy = make.policy(standin.url)
    policy.handshake(10.0)
    return policy


def inputs(goal=(0.5, 0.25), height=32, width=48):
    random = np.random.default_rng(0)
    return {'video.front': random.integers(0, 256, (1, 1, height, width, 3), np.uint8),
            'state.velocity': np.zeros((1, 1, 2), np.float32),
            'state.goal': np.array([[goal]], np.float32),
            LANGUAGE: np.array([[b'drive to the goal']], dtype=np.object_)}


def ask(policy, goal=(0.5, 0.25), timeout_ms=5000, request_id='r'):
    return policy.infer(Request(request_id, inputs(goal), timeout_ms * MS)).result(30.0)


def listening():
    """A TCP port where somebody listens who does not speak ZMQ."""
    listener = socket.create_server(('127.0.0.1', 0))
    return listener, f'zmq://127.0.0.1:{listener.getsockname()[1]}'


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as taken:
        return taken.getsockname()[1]


@both
def test_a_handshake_and_a_chunk_in_each_encoding_and_layout(make, arguments):
    server = make(*arguments)
    policy = make.policy(server.url)
    model = policy.handshake(10.0)
    signature = compare(AMR, VOCABULARY, model, parameters_required=False)
    assert (signature.version, signature.horizon, signature.tokens) == ('unknown', 16, 0)
    assert signature.images == {'video.front': (32, 48)}
    assert model.parameters['encoding'] == arguments[1]
    assert model.parameters['layout'] == (arguments[3] if len(arguments) > 2 else 'nested')
    assert model.parameters[f'{ACTION}.meaning'] == 'resolved'
    assert 'version' in model.parameters['unknown']
    reply = ask(policy, (0.7, -0.3), request_id='c/1/2')
    assert (reply.request_id, reply.version, reply.failure) == ('c/1/2', 'unknown', None)
    wanted = np.tile(np.array([0.7, -0.3], np.float32), (1, 16, 1))
    assert reply.actions[ACTION].tobytes() == wanted.tobytes()
    assert checked(reply.actions, AMR, signature.horizon, 0.05).shape == (16, 2)


def test_h_comes_from_the_server(make):
    model = make.policy(make('--horizon', '40').url).handshake(10.0)
    assert compare(AMR, VOCABULARY, model, parameters_required=False).horizon == 40


@both
def test_a_chunk_in_the_other_memory_order_comes_in_the_right_one(make, arguments):
    server = make(*arguments)
    policy = make.policy(server.url)
    policy.handshake(10.0)
    server.drill('columns')
    np.testing.assert_array_equal(ask(policy).actions[ACTION],
                                  np.arange(32, dtype=np.float32).reshape(1, 16, 2))


@pytest.mark.parametrize(('arguments', 'robot', 'reason'), [
    (('--action', 'arm'), AMR, 'action.arm: the model sends it and amr has nothing that it drives'),
    (('--frames', '2'), AMR, 'video.front: the model wants 2 steps an observation'),
    ((), parse(changed()), 'the model has BYTES, the embodiment INT64'),
    ((), parse(changed(**SPOKEN, video=None)),
     'video.front: the model wants it and amr has no topic for it'),
])
def test_what_does_not_fit_is_named_key_by_key(make, arguments, robot, reason):
    policy = make.policy(make(*arguments).url, robot)
    with pytest.raises(HandshakeError, match=reason):
        compare(robot, VOCABULARY, policy.handshake(10.0), parameters_required=False)


def test_a_pinned_version_is_not_believed_of_a_server_that_says_none(policy):
    with pytest.raises(HandshakeError, match='the model is unknown, this robot is pinned to 3'):
        compare(AMR, VOCABULARY, policy.handshake(10.0), parameters_required=False, version='3')


def test_a_state_of_another_size_is_refused_at_the_handshake(make, standin):
    """The server does not say D of a state: only the all-zero observation shows it."""
    components = changed()['state']['velocity']['components'][:1]
    robot = parse(changed(**SPOKEN, state__velocity__components=components))
    with pytest.raises(PolicyUnavailable, match=r'all-zero observation is refused.*broadcast'):
        make.policy(standin.url, robot).handshake(10.0)


@pytest.mark.parametrize(('said', 'ours', 'found'), [
    ('RELATIVE', 'resolved', 'resolved'), ('ABSOLUTE', 'absolute', 'absolute'),
    ('DELTA', 'dataset', 'dataset'), ('RELATIVE', 'dataset', 'resolved'),
    # A server that changes nothing sends deltas where the data set has them.
    ('ABSOLUTE', 'dataset', 'dataset'), ('ABSOLUTE', 'resolved', 'absolute'),
    (None, 'dataset', 'unknown')])
def test_what_a_server_says_of_its_actions_becomes_a_meaning(said, ours, found):
    robot = parse(changed(**SPOKEN | {'action__base_velocity__meaning': ours},
                          action__base_velocity__scale=1.0))
    configs = [{'rep': said}] if said else None
    answers = {'ping': {'status': 'ok'}, 'get_modality_config': {
        name: {'modality_keys': [key], 'delta_indices': [0], 'action_configs': configs}
        for name, key in (('video', 'other'), ('state', 'goal'), ('language', LANGUAGE),
                          ('action', 'base_velocity'))}}
    model, _ = hold(lambda endpoint, data, encoding: answers[endpoint], robot,
                    parse_url('zmq://127.0.0.1:5555?image=32x48'))
    assert model.parameters[f'{ACTION}.meaning'] == found


def test_a_layout_that_was_chosen_is_kept_to(make, standin):
    with pytest.raises(PolicyUnavailable, match=r"refused \(flat, npy: Observation must contain"):
        make.policy(standin.url, layout='flat').handshake(10.0)
    with pytest.raises(PolicyUnavailable, match='nested, msgpack_numpy'):
        make.policy(standin.url, encoding='msgpack_numpy', layout='nested').handshake(10.0)


def test_a_reset_is_taken(policy, standin):
    policy.reset(10.0)
    assert standin.seen().reset == 1


# Deadlines


def test_a_hung_server_is_named_within_the_deadline(policy, standin):
    assert ask(policy).failure is None
    standin.pause()
    for timeout_ms in (30, 80, 200):
        reply = ask(policy, timeout_ms=timeout_ms)
        assert reply.failure is Failure.DEADLINE
        assert reply.detail in ('no answer in time', 'connected, but no ZMQ greeting came: it '
                                'hangs, or is no such server')
        assert reply.elapsed_ns <= timeout_ms * MS + MARGIN_NS
    standin.resume()
    assert ask(policy).failure is None


def test_a_late_answer_is_never_taken_for_the_next_one(policy, standin):
    """Positronic PR 459."""
    for _ in range(5):
        standin.drill('slow', '0.15')
        assert ask(policy, (0.1, 0.1), timeout_ms=60).failure is Failure.DEADLINE
        reply = ask(policy, (0.9, 0.9))
        assert reply.failure is None
        np.testing.assert_array_equal(reply.actions[ACTION], np.full((1, 16, 2), 0.9, np.float32))


def test_a_naive_client_takes_the_late_answer(standin):
    """The fault itself: a socket that is kept after its timeout has the old answer next."""
    standin.drill('slow', '0.7')
    with zmq.Context() as context, context.socket(zmq.REQ) as naive:
        naive.linger = 0
        naive.connect(f'tcp://127.0.0.1:{standin.port}')

        def get_action(goal, timeout_ms):
            data = wire.observation(inputs(goal), wire.NESTED)
            with contextlib.suppress(zmq.ZMQError):  # EFSM: it still waits for the last answer
                naive.send(wire.request('get_action', data), zmq.NOBLOCK)
            if not naive.poll(timeout_ms):
                return None
            found, _ = wire.actions(wire.answer(naive.recv()))
            return found[ACTION][0, 0, 0]

        assert get_action((0.1, 0.1), 60) is None
        assert get_action((0.9, 0.9), 10_000) == np.float32(0.1)


def test_a_hung_server_does_not_find_a_heap_of_inferences(policy, standin):
    """The real server computes every request, also those whose client has gone (triton 7532)."""
    assert ask(policy).failure is None
    before = standin.seen().get_action
    standin.drill('slow', '1.5')
    for _ in range(6):
        assert ask(policy, timeout_ms=60).failure is Failure.DEADLINE
    assert ask(policy).failure is None
    assert standin.seen().get_action == before + 2


def test_requests_side_by_side_have_their_own_deadlines_and_answers(policy, standin):
    standin.drill('slow', '0.4')
    first = policy.infer(Request('slow', inputs((0.1, 0.1)), 5000 * MS))
    second = policy.infer(Request('short', inputs((0.2, 0.2)), 60 * MS)).result(10.0)
    assert second.failure is Failure.DEADLINE
    assert second.elapsed_ns <= 60 * MS + MARGIN_NS
    assert first.result(10.0).actions[ACTION][0, 0, 0] == np.float32(0.1)


def test_more_than_a_few_requests_at_once_are_refused(policy, standin):
    standin.pause()
    waiting = [policy.infer(Request(f'{number}', inputs(), 300 * MS)) for number in range(6)]
    failures = [future.result(10.0).failure for future in waiting]
    assert failures == [Failure.DEADLINE] * 4 + [Failure.QUEUE_FULL] * 2


def test_handshakes_end_in_time_too(make, standin):
    standin.pause()
    started = time.monotonic_ns()
    with pytest.raises(PolicyUnavailable, match='deadline: connected, but no ZMQ greeting came'):
        make.policy(standin.url).handshake(0.2)
    assert time.monotonic_ns() - started <= 200 * MS + MARGIN_NS


# Broken connections


def test_nobody_there_is_named_at_once(make):
    policy = make.policy(f'zmq://127.0.0.1:{free_port()}')
    with pytest.raises(PolicyUnavailable, match='unreachable: nobody listens there'):
        policy.handshake(30.0)


def test_without_a_handshake_nothing_is_sent(make, standin):
    reply = ask(make.policy(standin.url))
    assert reply.failure is Failure.INVALID
    assert 'no handshake' in reply.detail
    assert standin.seen().get_action == 0


def test_a_server_that_dies_while_it_works_is_named_before_the_deadline(policy, standin):
    standin.drill('die')
    reply = ask(policy, timeout_ms=30_000)
    assert reply.failure is Failure.UNREACHABLE
    assert reply.elapsed_ns < 30_000 * MS
    assert 'broke before the answer' in reply.detail


def test_a_server_that_was_started_again_needs_a_handshake_again(make, policy, standin):
    assert ask(policy).failure is None
    standin.kill()
    make(port=standin.port)
    reply = ask(policy)
    assert (reply.failure, reply.detail) == (
        Failure.UNREACHABLE, 'the connection broke since the last answer')
    assert ask(policy).failure is Failure.INVALID
    policy.handshake(10.0)
    assert ask(policy).failure is None


def test_another_model_behind_the_same_address_is_refused(make, policy, standin):
    standin.pause()
    assert ask(policy, timeout_ms=40).failure is Failure.DEADLINE
    standin.kill()
    make('--horizon', '8', port=standin.port)
    reply = ask(policy)
    assert reply.failure is Failure.INVALID
    assert 'modality configuration is not the one of the handshake' in reply.detail


def test_what_does_not_speak_zmq_is_named(make):
    listener, url = listening()
    with listener:
        with pytest.raises(PolicyUnavailable, match='deadline: connected, but no ZMQ greeting'):
            make.policy(url).handshake(0.2)

        def answer():
            peer, _ = listener.accept()
            with peer:
                peer.recv(10)
                peer.sendall(b'\xff' + bytes(8) + b'\x7f\x09' + bytes(60))

        listener.settimeout(10.0)
        listener.accept()[0].close()  # of the handshake above
        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(PolicyUnavailable, match='unreachable: what listens there does not'):
            make.policy(url).handshake(10.0)
        thread.join(10.0)


# Replies that are none


@pytest.mark.parametrize(('drill', 'argument', 'failure', 'reason'), [
    ('garbage', '', Failure.BAD_REPLY, 'the answer is not msgpack'),
    ('huge', str(2 * wire.MAX_REPLY_BYTES), Failure.BAD_REPLY, 'bytes, 1048576 are allowed'),
    ('huge', str(9 * wire.MAX_REPLY_BYTES), Failure.UNREACHABLE, 'more than 8388608 bytes'),
    ('parts', '', Failure.BAD_REPLY, 'has 2 parts'),
    ('other_key', '', Failure.BAD_REPLY, 'it brings action.base_velocity, action.gripper'),
    ('legacy_error', '', Failure.MODEL_ERROR, 'without a reason'),
    ('error', 'CUDA error: an illegal memory access', Failure.MODEL_ERROR, 'CUDA error'),
    ('error', "Video key 'front' must be in observation", Failure.INVALID, 'must be in'),
])
def test_a_bad_answer_is_one_sentence_and_the_next_one_is_good(
        policy, standin, drill, argument, failure, reason):
    standin.drill(drill, argument)
    reply = ask(policy)
    assert (reply.failure, reply.actions) == (failure, {})
    assert reason in reply.detail
    assert '\n' not in reply.detail
    if failure.final:
        policy.handshake(10.0)
    assert ask(policy).failure is None


@both
def test_pickled_objects_are_refused_and_not_looked_at(make, arguments, tmp_path):
    server = make(*arguments)
    policy = make.policy(server.url)
    policy.handshake(10.0)
    server.drill('objects', str(tmp_path / 'unpickled'))
    reply = ask(policy)
    assert reply.failure is Failure.BAD_REPLY
    assert not (tmp_path / 'unpickled').exists()


def test_inputs_that_cannot_be_written_are_named(policy):
    bad = inputs() | {'state.goal': np.array([[[None, None]]], dtype=object)}
    reply = policy.infer(Request('r', bad, 1000 * MS)).result(10.0)
    assert reply.failure is Failure.INVALID
    assert 'array of object has no place' in reply.detail


def test_a_refused_chunk_does_not_pass_the_check(policy, standin):
    reply = ask(policy, (np.nan, 0.0))
    with pytest.raises(ChunkRejected, match='not_finite'):
        checked(reply.actions, AMR, 16, 0.05)


# Tokens

TOKEN = 'tok-7f3a9c'


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / 'token'
    path.write_text(f'{TOKEN}\n')
    return path


def test_a_token_opens_the_server_and_is_nowhere_to_be_read(make, token_file, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    server = make('--token', TOKEN)
    policy = make.policy(server.url, token_file=token_file)
    policy.handshake(10.0)
    assert ask(policy).failure is None
    server.drill('error', f'unexpected argument api_token={TOKEN}')
    reply = ask(policy)
    assert reply.detail == 'the server answered: unexpected argument api_token=***'
    server.kill()
    shown = [repr(policy), repr(reply), repr(ask(policy))]
    with pytest.raises(PolicyUnavailable) as unavailable:
        policy.handshake(1.0)
    shown += [repr(unavailable.value), caplog.text, *capfd.readouterr()]
    assert TOKEN not in ''.join(shown)


def test_without_the_token_the_refusal_is_named(make, token_file):
    server = make('--token', TOKEN)
    with pytest.raises(PolicyUnavailable, match='Unauthorized'):
        make.policy(server.url).handshake(10.0)
    policy = make.policy(server.url, token_file=token_file)
    token_file.write_text('another')
    with pytest.raises(PolicyUnavailable, match='Unauthorized'):
        policy.handshake(10.0)
    token_file.write_text(TOKEN)  # renewed
    policy.handshake(10.0)
    assert ask(policy).failure is None


def test_a_token_that_is_not_there_is_named_before_anything_is_sent(
        make, standin, token_file, monkeypatch):
    token_file.write_bytes(b'\xff')
    for options, reason in (({'token_file': token_file}, 'is not UTF-8'),
                            ({'token_file': '/none'}, 'token_file /none: No such file'),
                            ({'token_env': 'SPINAL_TEST_TOKEN'}, 'token_env SPINAL_TEST_TOKEN')):
        with pytest.raises(PolicyUnavailable, match=reason):
            make.policy(standin.url, **options).handshake(10.0)
    monkeypatch.setenv('SPINAL_TEST_TOKEN', TOKEN)
    assert read_token(Endpoint('h:1', token_env='SPINAL_TEST_TOKEN')) == TOKEN
    assert not hasattr(standin.seen(), 'ping')


# Closing, and how an endpoint is written


def test_close_ends_what_is_in_flight(make, standin):
    policy = make.policy(standin.url)
    policy.handshake(10.0)
    standin.pause()
    waiting = policy.infer(Request('r', inputs(), 60_000 * MS))
    policy.close()
    reply = waiting.result(10.0)
    assert (reply.failure, reply.detail) == (Failure.CANCELLED, 'closed')
    assert ask(policy).failure is Failure.CANCELLED
    with pytest.raises(PolicyUnavailable, match='closed'):
        policy.handshake(1.0)
    assert policy._context.closed


def test_a_url_says_where_and_how():
    assert parse_url('zmq://10.0.0.2:5555') == Endpoint('10.0.0.2:5555')
    assert parse_url('zmq://127.0.0.1:1?image=180x320&layout=flat&encoding=npy&token_env=T') == (
        Endpoint('127.0.0.1:1', 'npy', 'flat', (180, 320), '', 'T'))
    assert parse_url('zmq://gpu:1?token_file=/a%20b&token_in_clear=true').token_file == '/a b'


@pytest.mark.parametrize(('url', 'reason'), [
    ('tcp://h:5555', 'form'), ('zmq://h', 'form'), ('zmq://h:5555/x', 'form'),
    ('zmq://h:65536', 'form'), ('zmq://h:0', 'form'), ('zmq://me:secret@h:1', 'form'),
    ('zmq://h:1?encoding=pickle', 'encoding must be one of auto, npy, msgpack_numpy'),
    ('zmq://h:1?layout=deep', 'layout must be'), ('zmq://h:1?image=0x9', 'HEIGHTxWIDTH'),
    ('zmq://h:1?image=9999x9', 'HEIGHTxWIDTH'), ('zmq://h:1?x=1', "'x' is not one of"),
    ('zmq://h:1?layout', 'has no value'), ('zmq://h:1?layout=flat&layout=flat', 'given twice'),
    ('zmq://h:1?token=secret', 'a token is never part of a parameter'),
    ('zmq://h:1?token_file=secret', 'absolute path'), ('zmq://h:1?token_env=a-b', 'the name of'),
    ('zmq://h:1?token_file=/secret&token_env=T', 'cannot both'),
    ('zmq://h:1?token_file=/secret', 'unencrypted'),
    ('zmq://10.0.0.2:1?token_env=T', 'unencrypted'),
])
def test_a_wrong_url_is_one_sentence_without_secrets(url, reason):
    with pytest.raises(ValueError, match=reason) as wrong:
        Gr00tPolicy(url, AMR)
    assert 'secret' not in str(wrong.value)


def test_an_address_that_is_none_is_unreachable():
    with zmq.Context() as context, pytest.raises(LinkError, match='Invalid argument') as error:
        Link(context, '*:5555')
    assert error.value.failure is Failure.UNREACHABLE


def test_messages_of_the_stock_client_and_ours_are_answered_alike(policy, standin):
    """The stand-in serves a client that writes with np.save and msgpack's own hooks."""
    data = wire.observation(inputs(), wire.NESTED)
    stock = gr00t_server.pack({'endpoint': 'get_action', 'data': data}, 'npy')
    assert stock == wire.request('get_action', data)
    with zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.linger = 0
        client.connect(f'tcp://127.0.0.1:{standin.port}')
        client.send(stock)
        assert client.poll(10_000)
        actions, _ = gr00t_server.unpack(client.recv(), 'npy')
    np.testing.assert_array_equal(actions['base_velocity'], ask(policy).actions[ACTION])
