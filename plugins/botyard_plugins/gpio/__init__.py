"""What is wired to the pins of a single-board computer: switches, motors, emergency stops, ultrasonic sensors."""
