"""The ROS 2 front end of a world, the same over every engine: it knows only `World`."""
