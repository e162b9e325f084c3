"""The video networks of the paper, and non-local blocks for any other."""
