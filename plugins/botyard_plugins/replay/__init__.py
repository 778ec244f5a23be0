"""The driver `replay`: a recorded file, played as if it were the robot."""
