"""What helps with developing Botyard and is not shipped."""
