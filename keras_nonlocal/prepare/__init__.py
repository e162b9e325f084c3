"""What is done to a list of videos before training.

A look at it: `survey`, `contact_sheet`, `list_writing`. And its conversion to TFRecord shards, in a
run that may be killed at any moment: `plan` decides which video goes where, `shards` makes one
shard of it, `conversion` all of them on this machine, `workplace` keeps their folder.
"""
