"""A container for composable rclpy nodes that serves composition_interfaces."""
