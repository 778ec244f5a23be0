"""Hub and simulated robots together. The one package that imports both sides, since composing them is its job."""
