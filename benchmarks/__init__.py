"""What Botyard costs, as ratios against a bare baseline that is measured in the same run."""
