"""The driver `sim`: a differential-drive robot that exists only here."""
