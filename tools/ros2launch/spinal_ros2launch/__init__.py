"""`ros2 launch` where the ROS at hand lacks it: a command extension over launch's own service."""
