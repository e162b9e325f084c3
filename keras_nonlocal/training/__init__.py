"""Training: the recipes of the published networks, and runs that survive any interruption."""
