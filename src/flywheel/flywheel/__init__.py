"""From an edge case to a better model on every robot: data sets, training, gates, rollouts.

No rclpy.
"""
