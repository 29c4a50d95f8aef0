"""An arm on a virtual clock: joints that follow at once, a camera, GR00T's model for it."""

import numpy as np
import test_pilot
from builtin_interfaces.msg import Time
from embodiment_scene import ROBOTS, groot_model, joint_values, picture, size
from policy_scene import MS
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from test_pilot import CLOUD, HOLD, ONNX, STAMPS, World

from policy_client import messages
from policy_client.handshake import ModelDescription

ARM = ROBOTS['so100']
CAMERA, JOINTS, COMMAND = ARM.video[0].topic, 'joint_states', ARM.commands[0].topic


class ArmWorld(World):
    """World's own loop for another robot; it is made while test_pilot.AMR is replaced by ARM."""

    def __init__(self):
        assert test_pilot.AMR is ARM
        super().__init__(routes=(CLOUD, HOLD))
        self.description: ModelDescription = groot_model(ARM, prefix=False)
        self.models = {CLOUD: self.description, ONNX: None, HOLD: self.models[HOLD]}
        self.answers[CLOUD] = self._answer
        self.heard, self.odom = [], None
        self.positions = joint_values(ARM)

    def go(self):
        self._hear('task', String(data='fold the towel'), None)
        return self

    def say(self, topic, message):
        """Called ten times a second with the camera."""
        if self.steps and not np.isnan(self.steps[-1][1].action).any():
            self.positions = dict(zip((part.drives for part in ARM.columns),
                                      self.steps[-1][1].action.tolist(), strict=True))
        stamp = Time(sec=self.now_ns // 10**9, nanosec=self.now_ns % 10**9)
        names = sorted(self.positions, reverse=True)
        joints = JointState(name=names, position=[self.positions[name] for name in names])
        height, width = size(ARM)
        image = Image(height=height, width=width, encoding='rgb8', step=3 * width,
                      data=picture(height, width, self.now_ns // (100 * MS)).tobytes())
        for place, found in ((JOINTS, joints), (CAMERA, image)):
            found.header.stamp = stamp
            self._hear(place, found, self.now_ns)

    def recorded(self):
        """(log time, topic, message) of commands and of what the arm was told."""
        sent = [(at + STAMPS, COMMAND, messages.command(
            ARM, ARM.commands[0], step.action, messages.stamp_of(at + STAMPS), 33 * MS))
            for at, step in self.steps]
        return [*((at + STAMPS, topic, message) for at, topic, message in self.heard),
                *(entry for entry in sent if entry[2] is not None)]

    def _hear(self, topic, message, stamp_ns):
        self.heard.append((self.now_ns, topic, message))
        if self.pilot.heard(topic, test_pilot.Sample(message, self.now_ns, stamp_ns)):
            self.do(self.pilot.plan(self.now))

    def _answer(self):
        """Joints go to and fro by a third of their range, in the data set's percent."""
        phase = self.now_ns / 1e9 + np.arange(100) / 30
        actions = {}
        for tensor in self.description.outputs:
            _, horizon, width = tensor.shape
            wave = 30 * np.sin(phase[:horizon, None] + np.arange(width)) + 40
            actions[tensor.name] = wave[None].astype(np.float32)
        return 20, {'actions': actions, 'version': '1'}
