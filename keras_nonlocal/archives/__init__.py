"""Files of weights to named arrays, whoever wrote them; nothing in a file is ever run."""
