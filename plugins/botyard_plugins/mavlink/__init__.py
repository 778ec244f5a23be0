"""PX4 and ArduPilot vehicles by MAVLink."""
