"""The committed ONNX file, as its users meet it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.amr_policy import expert, language, wire
from flywheel.amr_policy.onnx_policy import OnnxPolicy

ROOT = Path(__file__).resolve().parents[3]
MODEL = ROOT / wire.MODEL
GO = language.tokenise('drive to the goal')
RAMP = wire.ROW_S * np.arange(1, wire.HORIZON + 1)[:, None] * np.array(
    [wire.ACCELERATION_MPS2, wire.TURN_ACCELERATION_RADPS2])
number = st.floats(-50, 50, width=32)


@pytest.fixture(scope='module')
def policy():
    return OnnxPolicy(MODEL)


def test_names_shapes_and_types_are_the_contract(policy):
    side = wire.IMAGE_SIDE
    tensors = {t.name: (t.type, t.shape)
               for t in (*policy.session.get_inputs(), *policy.session.get_outputs())}
    assert tensors == {
        'video.front': ('tensor(uint8)', [1, 1, side, side, 3]),
        'state.velocity': ('tensor(float)', [1, 1, 2]),
        'state.goal': ('tensor(float)', [1, 1, 2]),
        'annotation.human.task_description': ('tensor(int64)', [1, 16]),
        'action.base_velocity': ('tensor(float)', [1, 16, 2])}


def test_file_is_small_and_is_the_one_the_report_speaks_of():
    data = MODEL.read_bytes()
    assert len(data) < 1_000_000
    report = json.loads((ROOT / wire.REPORT / 'metrics.json').read_text(encoding='utf-8'))
    assert report['model']['sha256'] == hashlib.sha256(data).hexdigest()


def test_file_carries_the_vocabulary_it_was_trained_with(policy):
    properties = policy.session.get_modelmeta().custom_metadata_map
    assert tuple(properties['vocabulary'].split('\n')) == language.VOCABULARY


@given(velocity=st.tuples(number, number), goal=st.tuples(number, number),
       tokens=st.lists(st.integers(-(2**40), 2**40), min_size=16, max_size=16),
       image=st.sampled_from((None, 0, 1, 2)))
@settings(max_examples=150, deadline=None)
def test_no_input_leads_over_the_limits(policy, velocity, goal, tokens, image):
    picture = None if image is None else np.random.default_rng(image).integers(
        0, 256, (wire.IMAGE_SIDE, wire.IMAGE_SIDE, 3), dtype=np.uint8)
    rows = policy(picture, np.array(velocity), np.array(goal), np.array(tokens))
    assert np.isfinite(rows).all()
    assert rows[:, 0].min() >= 0.0
    assert rows[:, 0].max() <= 0.9
    assert np.abs(rows[:, 1]).max() <= 1.2 + 1e-6


@given(velocity=st.tuples(st.floats(0, 0.9), st.floats(-1.2, 1.2)),
       goal=st.tuples(st.floats(-10, 10), st.floats(-10, 10)))
@settings(max_examples=100, deadline=None)
def test_chunk_starts_at_the_measured_velocity(policy, velocity, goal):
    rows = policy(None, np.array(velocity), np.array(goal), GO)
    quiet = np.array([0.02, 0.1])           # small outputs are none
    assert (np.abs(rows - velocity) <= RAMP + quiet + 1e-5).all()


def test_same_input_same_bytes(policy):
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    one, two = (maker(picture, [0.5, 0.1], [7, 1], GO) for maker in (policy, OnnxPolicy(MODEL)))
    assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize(('text', 'speed'), [
    *language.INSTRUCTIONS.items(),
    ('please go to the target', 0.8), ('proceed carefully towards the station', 0.4),
    ('stop', 0.0), ("don't drive to the goal", 0.0), ('stay here please', 0.0)])
def test_an_instruction_settles_at_its_speed(policy, text, speed):
    v = 0.6
    for _ in range(40):
        v = float(policy(None, [v, 0.0], [10.0, 0.0], language.tokenise(text))[1, 0])
    assert v == pytest.approx(speed, abs=0.05)


@pytest.mark.parametrize('tokens', [np.zeros(16), np.full(16, language.UNKNOWN),
                                    np.arange(1000, 1016)])
def test_no_instruction_or_nonsense_stands(policy, tokens):
    assert not policy(None, [0.0, 0.0], [10.0, 0.0], tokens.astype(np.int64)).any()


def test_it_resembles_the_expert_it_learned_from(policy):
    """Without a picture, over fresh situations: mean difference in the first second."""
    from flywheel.amr_policy import samples
    drawn = samples.masked(400, np.random.default_rng(99))
    ours = np.array([policy(None, v, g, t) for v, g, t in
                     zip(drawn.velocity, drawn.goal, drawn.tokens, strict=True)])
    error = np.abs(ours - drawn.chunk)[:, :10].mean(axis=(0, 1))
    assert error[0] < 0.02
    assert error[1] < 0.05


def test_at_the_goal_it_stands(policy):
    for bearing in np.linspace(-np.pi, np.pi, 17):
        near = 0.03 * np.array([np.cos(bearing), np.sin(bearing)])
        assert not policy(None, [0.0, 0.0], near, GO).any()
    assert policy(None, [0.0, 0.0], [0.5, 0.0], GO)[3, 0] > expert.CREEP_MPS


@pytest.mark.parametrize('distance', [0.5, 1.0, 3.0, 10.0])
def test_from_rest_it_never_stands_before_a_goal(policy, distance):
    """At no bearing do left and right cancel out: it drives, or turns in earnest."""
    for bearing in np.linspace(-np.pi, np.pi, 721):
        goal = distance * np.array([np.cos(bearing), np.sin(bearing)])
        row = policy(None, [0.0, 0.0], goal, GO)[1]
        assert row[0] > 0.05 or abs(row[1]) > 0.15, f'bearing {bearing:.3f}'
