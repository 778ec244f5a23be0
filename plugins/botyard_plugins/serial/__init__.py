"""Devices on a serial port: lines of text, and GPS receivers that speak NMEA 0183."""
