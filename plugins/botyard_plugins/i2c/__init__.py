"""Chips on an I²C bus: current and voltage, inertial, weather, and servo outputs."""
