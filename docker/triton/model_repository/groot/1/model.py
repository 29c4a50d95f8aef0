"""Triton's Python backend over GR00T's policy class (Isaac-GR00T N1.6 and N1.7), or a stand-in.

Tensors are named as GR00T's flat interface names them. Their names and sizes are the checkpoint's,
read from its JSON files when the model is loaded, and compared then with what the policy really
takes and gives: config.pbtxt lists none, and a checkpoint for another robot needs no edit here but
of the parameters, which config.pbtxt explains.

The policy is any class with Gr00tPolicy's interface: `Class(embodiment_tag=, model_path=,
device=)`, `get_modality_config()`, `get_action(observation, options) -> (action, info)`.
standin.py is one.
"""

import importlib
import io
import json
import re
import sys
import traceback
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

_FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(_FOLDER))
import groot_checkpoint as checkpoint  # noqa: E402

_DEFAULT_CLASS = 'gr00t.policy.gr00t_policy.Gr00tPolicy'
# `jpeg.video.X` = HEIGHTxWIDTH: camera X comes as JPEG of that size, which spares the network.
_JPEG = 'jpeg.'
_NUMBER = re.compile(r'\d{1,3}(\.\d{1,6})?')
_PREFIX_CHOICES = ('auto', 'on', 'off')
# Pixels of the first, slow inference where the image size is free.
_WARM_UP_SIZE = 256


class _Refused(ValueError):
    """The request cannot be served as it is: INVALID_ARGUMENT, asking again is useless."""


class _Settings:
    """The parameters of config.pbtxt that this file reads."""

    def __init__(self, config):
        values = {key: value['string_value'] for key, value in config['parameters'].items()}
        self.policy_class = values.get('policy_class') or _DEFAULT_CLASS
        self.embodiment_tag = values.get('embodiment_tag', '')
        self.device = values.get('device', '')
        self.image_size = checkpoint.image_size(values.get('image_size', ''))
        # Cameras that come as JPEG: name of the tensor -> (height, width).
        self.jpeg = {key.removeprefix(_JPEG): checkpoint.image_size(size, key)
                     for key, size in values.items() if key.startswith(_JPEG) and size}
        # A path that is not absolute starts at this version's folder.
        self.model_path = _FOLDER / values.get('model_path', '')
        self.rtc_prefix = values.get('rtc_prefix') or 'auto'
        if self.rtc_prefix not in _PREFIX_CHOICES:
            raise ValueError(f'rtc_prefix = {self.rtc_prefix!r}: must be one of '
                             f'{", ".join(_PREFIX_CHOICES)}')
        rate = values.get('rtc_ramp_rate') or '5.0'
        self.rtc_ramp_rate = float(rate) if _NUMBER.fullmatch(rate) else 0.0
        if not self.rtc_ramp_rate:
            raise ValueError(f'rtc_ramp_rate = {rate!r}: must be a number above 0')

    def tensors(self):
        """The model's (inputs, outputs, modality), from the checkpoint's files."""
        modality = checkpoint.read(self.model_path, self.embodiment_tag)
        strangers = sorted(set(self.jpeg) - {f'video.{key}' for key in modality.video})
        if strangers:
            raise ValueError(f'parameter {_JPEG}{strangers[0]}: the checkpoint has no such camera')
        inputs = modality.inputs(self.image_size, self.takes_prefix(), self.jpeg)
        return inputs, modality.outputs(), modality

    def takes_prefix(self):
        """Whether the RTC inputs exist. NVIDIA's Gr00tPolicy drops its options, so it does not say
        that it takes them, and a request with a prefix is refused instead of quietly ignored."""
        if self.rtc_prefix != 'auto':
            return self.rtc_prefix == 'on'
        # Importing GR00T takes seconds and is not needed to know this.
        if self.policy_class == _DEFAULT_CLASS:
            return False
        return bool(getattr(self.load_class(), 'takes_rtc_prefix', False))

    def load_class(self):
        module, _, name = self.policy_class.rpartition('.')
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(
                f'policy_class = {self.policy_class!r} cannot be imported ({error}): install '
                'Isaac-GR00T into the Python of this server, or set policy_class to '
                'standin.StandinPolicy') from error


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(auto_complete_model_config):
        config = auto_complete_model_config.as_dict()
        try:
            inputs, outputs, _ = _Settings(config).tensors()
        except ValueError as error:
            raise pb_utils.TritonModelException(str(error)) from None
        # A load with a configuration override brings the tensors of the load before.
        config['input'].clear()
        config['output'].clear()
        for tensor in inputs:
            entry = {'name': tensor.name, 'data_type': tensor.data_type, 'dims': list(tensor.dims)}
            if tensor.optional:
                entry['optional'] = True
            auto_complete_model_config.add_input(entry)
        for tensor in outputs:
            auto_complete_model_config.add_output(
                {'name': tensor.name, 'data_type': tensor.data_type, 'dims': list(tensor.dims)})
        return auto_complete_model_config

    def initialize(self, args):
        try:
            settings = _Settings(json.loads(args['model_config']))
            self._inputs, self._outputs, self._modality = settings.tensors()
            self._ramp_rate = settings.rtc_ramp_rate
            self._jpeg = settings.jpeg
            self._decode = _decoder() if self._jpeg else None
            self._policy = _load(settings, args)
            _compare(self._policy.get_modality_config(), self._modality)
            # The first inference is the slow one, and shows the shapes that the policy really has.
            self._infer(self._warm_up(), None)
        except ValueError as error:
            raise pb_utils.TritonModelException(str(error)) from None
        except Exception as error:  # whatever a network may raise: where it came from is in the log
            pb_utils.Logger.log_error(traceback.format_exc())
            raise pb_utils.TritonModelException(
                f'the policy does not start: {type(error).__name__}: {error}') from None

    def execute(self, requests):
        return [self._reply(request) for request in requests]

    def _reply(self, request):
        try:
            tensors = {tensor.name: self._taken(request, tensor) for tensor in self._inputs}
            actions = self._infer(tensors, self._options(tensors))
        except Exception as error:
            code = (pb_utils.TritonError.INVALID_ARG if isinstance(error, _Refused)
                    else pb_utils.TritonError.INTERNAL)
            text = str(error) if isinstance(error, _Refused) else f'{type(error).__name__}: {error}'
            return pb_utils.InferenceResponse(
                output_tensors=[], error=pb_utils.TritonError(text, code))
        return pb_utils.InferenceResponse(
            output_tensors=[pb_utils.Tensor(name, rows) for name, rows in actions.items()])

    def _infer(self, tensors, options):
        """The action tensors; raises what the policy raises, ValueError when a shape is wrong."""
        modality = self._modality
        text = tensors[modality.languages[0]]
        actions, _ = self._policy.get_action({
            'video': {key: tensors[f'video.{key}'] for key in modality.video},
            'state': {key: tensors[f'state.{key}'] for key in modality.state},
            'language': {key: [[text]] for key in modality.languages},
        }, options)
        replies = {}
        for tensor in self._outputs:
            rows = np.ascontiguousarray(actions[tensor.name.removeprefix('action.')], np.float32)
            if not _fits(rows.shape, tensor.dims):
                raise ValueError(f'the policy gives {tensor.name} as {rows.shape}, its checkpoint '
                                 f'says {tensor.dims}')
            replies[tensor.name] = rows
        return replies

    def _options(self, tensors):
        """GR00T's RTC options, with the prefix itself in absolute units; None without a prefix.

        Row k of the prefix and row k of the chunk to come are for the same moment. The names are
        those of N1.7's action head; `rtc_prefix` is added to them, since a stateless policy cannot
        remember its last chunk.
        """
        length = tensors.get(checkpoint.PREFIX_LENGTH)
        names = [f'{checkpoint.PREFIX}{key}' for key in self._modality.action]
        given = [name for name in names if tensors.get(name) is not None]
        if length is None and not given:
            return None
        missing = [name for name in (*names, checkpoint.PREFIX_LENGTH) if tensors.get(name) is None]
        if missing:
            raise _Refused(f'{missing[0]} is missing: an RTC prefix is all of {", ".join(names)} '
                           f'and {checkpoint.PREFIX_LENGTH}, or nothing')
        rows = {tensors[name].shape[1] for name in names}
        overlap, horizon = min(rows), self._modality.horizon
        if len(rows) != 1 or not 1 <= overlap <= horizon:
            raise _Refused(f'{checkpoint.PREFIX}* have {sorted(rows)} rows: one number from 1 to '
                           f'{horizon} is needed')
        frozen = int(length[0])
        if not 0 <= frozen <= overlap:
            raise _Refused(f'{checkpoint.PREFIX_LENGTH} = {frozen}: must be 0 to the {overlap} '
                           'rows of the prefix')
        broken = [name for name in names if not np.isfinite(tensors[name]).all()]
        if broken:
            raise _Refused(f'{broken[0]} is not finite')
        return {'action_horizon': horizon, 'rtc_overlap_steps': overlap,
                'rtc_frozen_steps': frozen, 'rtc_ramp_rate': self._ramp_rate,
                'rtc_prefix': {key: tensors[f'{checkpoint.PREFIX}{key}']
                               for key in self._modality.action}}

    def _taken(self, request, tensor):
        """One input as an array, the instruction as text; None for an optional one left out."""
        found = pb_utils.get_input_tensor_by_name(request, tensor.name)
        if found is None:
            if tensor.optional:
                return None
            raise _Refused(f'{tensor.name} is missing')
        array = found.as_numpy()
        if not _fits(array.shape, tensor.dims):
            raise _Refused(f'{tensor.name} has shape {array.shape}, not {tensor.dims}')
        if tensor.name in self._jpeg:
            return np.stack([self._decode(tensor.name, data, self._jpeg[tensor.name])
                             for data in array[0]])[None]
        if tensor.data_type != 'TYPE_STRING':
            return array
        try:
            return array.flat[0].decode('utf-8')
        except UnicodeDecodeError as error:
            raise _Refused(f'{tensor.name} is not UTF-8: {error}') from error

    def _warm_up(self):
        """Grey pictures and the mean state of the checkpoint's data."""
        modality, tensors = self._modality, {}
        for tensor in self._inputs:
            kind, _, key = tensor.name.partition('.')
            if tensor.name == modality.languages[0]:
                tensors[tensor.name] = 'wait'
            elif kind == 'video':
                height, width = self._jpeg.get(tensor.name) or tensor.dims[2:4]
                if checkpoint.FREE in (height, width):
                    height = width = _WARM_UP_SIZE
                tensors[tensor.name] = np.full((1, modality.video_steps, height, width, 3), 127,
                                               np.uint8)
            elif kind == 'state':
                mean = modality.mean_state[key] or [0.0] * max(1, modality.state[key])
                tensors[tensor.name] = np.tile(np.array(mean, np.float32),
                                               (1, modality.state_steps, 1))
        return tensors


def _load(settings, args):
    """The policy on its device: the parameter, else the GPU that Triton gave this instance."""
    gpu = f'cuda:{args["model_instance_device_id"]}'
    device = settings.device or (gpu if args['model_instance_kind'] == 'GPU' else 'cpu')
    policy_class = settings.load_class()
    tag = settings.embodiment_tag
    if policy_class.__module__.startswith('gr00t.'):
        # The enumeration is what every release takes; text is taken by the later ones only.
        from gr00t.data.embodiment_tags import EmbodimentTag
        tag = EmbodimentTag(tag)
    return policy_class(embodiment_tag=tag, model_path=str(settings.model_path), device=device)


def _decoder():
    """(name, bytes, (height, width)) -> RGB uint8 (height, width, 3); raises _Refused."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ValueError(f'parameter {_JPEG}*: cameras as JPEG need Pillow in the Python of this '
                         f'server ({error})') from error

    def decode(name, data, size):
        try:
            with Image.open(io.BytesIO(data), formats=['JPEG']) as picture:
                # Known from the header: a huge picture is not unpacked.
                if picture.size != size[::-1]:
                    raise _Refused(f'{name} is a picture of {picture.height}x{picture.width}, not '
                                   f'{size[0]}x{size[1]}')
                return np.asarray(picture.convert('RGB'))
        except (UnidentifiedImageError, OSError) as error:
            raise _Refused(f'{name} is not a JPEG: {error}') from error

    return decode


def _fits(shape, dims):
    return len(shape) == len(dims) and all(
        size == dim or (dim == checkpoint.FREE and size > 0)
        for size, dim in zip(shape, dims, strict=True))


def _compare(configs, modality):
    """Raise ValueError when the policy's own modality is not the one of the checkpoint's files."""
    for kind, keys, steps in (('video', modality.video, modality.video_steps),
                              ('state', tuple(modality.state), modality.state_steps),
                              ('action', tuple(modality.action), modality.horizon),
                              ('language', modality.languages, 1)):
        found = tuple(configs[kind].modality_keys), len(configs[kind].delta_indices)
        if found != (keys, steps):
            raise ValueError(f'the policy has the {kind} keys and steps {found}, the files of its '
                             f'checkpoint {(keys, steps)}')
