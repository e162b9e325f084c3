"""Prepares a list of videos for training.

`convert` writes TFRecord shards, on this machine or in an array job, `beam` on Apache Beam, and
`manifest` keeps their folder. `inspect` and `contact_sheet` show what is in a list.
"""
