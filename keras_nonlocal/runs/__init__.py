"""What a training keeps: its folder, whole checkpoints, curves, what callbacks remember."""
