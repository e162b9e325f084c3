"""What a finished folder of shards says about itself: `manifest.json`, written last."""

import json
import os

from keras_nonlocal import files
from keras_nonlocal.data.record_lists import FORMAT, MANIFEST, UNFINISHED


def write_manifest(plan, shards, directory):
    """Writes the manifest of a folder in which all shards are finished.

    It holds no times and no names of machines: two preparations by one plan are equal, byte by
    byte, and `diff -r` tells whether two folders hold the same.

    Args:
        plan: a `Plan`.
        shards: a `Shard` for each of its shards, in their order.
        directory: folder of the shards.

    Returns:
        The manifest, a dictionary: `format`, `settings` of the plan, `classes`, `multi_label`,
        `videos`, `frames` and `bytes` (all counted), `videos_per_class`, `failures` (`path` and
        `reason` each), and `shards`: by name of the file `bytes`, `sha256` and `records`.
    """
    records = [record for shard in shards for record in shard.records]
    per_class = [0] * len(plan.videos.class_names)
    for record in records:
        for label in record["labels"]:
            per_class[label] += 1
    manifest = {
        "format": FORMAT,
        "settings": plan.settings,
        "classes": list(plan.videos.class_names),
        "multi_label": plan.videos.multi_label,
        "videos": len(records),
        "frames": sum(record["frames"] for record in records),
        "bytes": sum(shard.bytes for shard in shards),
        "videos_per_class": per_class,
        "failures": [
            {"path": failure["path"], "reason": failure["reason"]}
            for shard in shards
            for failure in shard.failures
        ],
        "shards": {
            shard.name: {"bytes": shard.bytes, "sha256": shard.sha256, "records": shard.records}
            for shard in shards
        },
    }
    # One line a key: the counts can be read, and the rest does not fill the screen.
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(manifest[key])}" for key in manifest)
    path = os.path.join(directory, MANIFEST)
    files.write_whole(path, f"{{\n{lines}\n}}\n", os.path.join(directory, UNFINISHED))
    return manifest
