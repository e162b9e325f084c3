"""The labels of the records of a TFRecord file, whoever wrote it."""

import dataclasses

from keras_nonlocal.video import framing
from keras_nonlocal.video.sequence_examples import (
    HEAD,
    LABELS,
    MICROSECONDS,
    NAMES,
    parse_context,
    parse_example,
    read_context,
    values_of,
)


@dataclasses.dataclass(frozen=True)
class Labels:
    """What a record says about its video's classes.

    Args:
        numbers: class numbers; empty where there are names alone.
        names: names of the classes, as many as numbers; empty where there are numbers alone.
        events: triples of a class number, a start and an end in seconds.
    """

    numbers: tuple
    names: tuple
    events: tuple = ()


def scan_labels(path):
    """Reads the labels of all records of a TFRecord file, and not their frames.

    Args:
        path: of the file.

    Yields:
        Pairs of a record's offset and its `Labels`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated or of another kind, or a record has no labels.
    """
    for offset, head in framing.scan_records(path, HEAD):
        context, _ = parse_context(head)
        if context is None:
            context, _, _ = read_context(path, offset)
        if context is None:
            context = parse_example(path, offset).context
        yield offset, _read_labels(path, offset, context)


def _read_labels(path, offset, context):
    numbers = tuple(int(number) for number in values_of(context, LABELS))
    texts = next((values for name in NAMES if (values := values_of(context, name))), ())
    names = tuple(text.decode("utf-8", "replace") for text in texts if isinstance(text, bytes))
    if LABELS not in context.feature and not names:
        reason = f"it has no labels, {LABELS!r} or {NAMES[0]!r}"
        raise framing.damaged(path, offset, reason, "Give records of video classification.")
    if any(number < 0 for number in numbers):
        reason = f"{LABELS!r} holds {min(numbers)}, which is no class"
        raise framing.damaged(path, offset, reason, "Leave out records without a class.")
    # One text for several labels is a sentence, not their names.
    if numbers and len(names) != len(numbers):
        names = ()
    return Labels(numbers, names, _read_events(context))


def _read_events(context):
    numbers = values_of(context, "segment/label/index")
    starts = values_of(context, "segment/start/timestamp")
    ends = values_of(context, "segment/end/timestamp")
    if not len(numbers) == len(starts) == len(ends):
        return ()
    return tuple(
        (int(number), start / MICROSECONDS, end / MICROSECONDS)
        for number, start, end in zip(numbers, starts, ends, strict=True)
    )
