"""What ./dev does before and around ROS: environments, the build, and the verbs.

Standard library only: this runs before anything is installed.
"""
