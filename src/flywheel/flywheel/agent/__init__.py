"""The robot's side of a release: fetch, verify, load beside, swap when idle, keep the old one.

No rclpy here: what it asks of the robot is the `Robot` protocol, which a node fulfils.
"""
