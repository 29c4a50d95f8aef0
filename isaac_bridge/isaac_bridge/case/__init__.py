"""A scenario made from the bag of an edge case: what the robot saw, as a world that can be run."""
