"""What Botyard costs: as ratios against a bare baseline in the same run, and with `botyard bench`'s virtual robots."""
