"""One drive of the robot's own software in a simulated world, in one process, on simulated time."""
