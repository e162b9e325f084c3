"""What there is to watch: lists of videos, and the files that hold them."""
