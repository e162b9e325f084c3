"""`keras-nonlocal inspect`: summarizes a dataset and lists unreadable videos."""

import dataclasses
import json
import os

import numpy as np

from keras_nonlocal.commands import arguments, printing, sources
from keras_nonlocal.commands.progress import progress_bar
from keras_nonlocal.data import ClipSpec
from keras_nonlocal.exporting import destination
from keras_nonlocal.prepare import contact_sheet
from keras_nonlocal.prepare.inspect import (
    class_names,
    count_classes,
    spread_of,
    survey_videos,
    write_list,
)

# Lines of a list that are printed; --json has all.
_LINES = 20
# Names of the smallest classes.
_FEWEST = 5


def add_arguments(parser):
    """Adds the arguments of `inspect`."""
    parser.description = (
        "Opens every video, prints a summary, and names those that cannot be read; exits with 1 if "
        "there are any. --sheet draws clips as the model will see them in training."
    )
    sources.add_source_arguments(parser)
    parser.add_argument(
        "--clip",
        default="8x8",
        metavar="FRAMESxSTRIDE",
        help="of the model's clips (default: 8x8)",
    )
    parser.add_argument(
        "--crop",
        type=arguments.count,
        default=224,
        metavar="PIXELS",
        help="of the model's clips (default: 224)",
    )
    parser.add_argument(
        "--sample", type=arguments.count, metavar="N", help="open N videos only, drawn at random"
    )
    parser.add_argument(
        "--deep", action="store_true", help="decode every frame, to find damage inside files"
    )
    parser.add_argument(
        "--sheet", metavar="PNG", help="picture of clips to write, one row each (needs Pillow)"
    )
    parser.add_argument(
        "--rows",
        type=arguments.count,
        default=12,
        metavar="N",
        help="clips in the picture (default: 12)",
    )
    parser.add_argument(
        "--seed", type=arguments.seed, default=0, help="of the sample and the clips (default: 0)"
    )
    parser.add_argument(
        "--write-list", metavar="CSV", help="list to write of the videos that can be read"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument(
        "--workers",
        type=arguments.count,
        help="videos to open at a time (default: the number of cores)",
    )
    parser.add_argument("--json", action="store_true", help="print everything, for other programs")


def run(chosen):
    """Opens the videos, and prints and writes what was asked for; 1 if one is unreadable."""
    clip = ClipSpec.parse(chosen.clip)
    _check_outputs(chosen)
    videos = sources.read_source(chosen)
    if chosen.write_list and videos.multi_label:
        raise ValueError(
            f"--write-list writes one class per video. Received: {chosen.source}, whose videos may "
            "have several. Remove the unreadable ones from the file that lists them."
        )
    looked_at = _draw_sample(videos, chosen)
    with progress_bar("videos", len(looked_at)) as advance:
        survey = survey_videos(looked_at, chosen.workers, chosen.deep, advance)
    clips = []
    if chosen.sheet:
        rows = contact_sheet.spread_over_classes(
            looked_at, survey.readable, chosen.rows, chosen.seed
        )
        clips, faults = contact_sheet.draw_clips(looked_at, rows, clip, chosen.crop, chosen.seed)
        survey = survey.with_faults(faults)

    facts = _facts(chosen.source, videos, survey, clip)
    if chosen.json:
        print(json.dumps(facts, indent=1))
    else:
        _print_facts(facts)
    _write_outputs(chosen, survey, clips, clip)
    return 1 if survey.broken else 0


def _check_outputs(chosen):
    """Finds what would fail at the end before the videos are looked at."""
    if chosen.sheet and not chosen.sheet.endswith(".png"):
        raise ValueError(f"--sheet must end in .png. Received: {chosen.sheet}.")
    if chosen.write_list and not chosen.write_list.endswith(".csv"):
        raise ValueError(f"--write-list must end in .csv. Received: {chosen.write_list}.")
    if chosen.write_list and chosen.sample:
        raise ValueError("--write-list needs all videos. Leave out --sample.")
    for path in filter(None, (chosen.sheet, chosen.write_list)):
        if os.path.isdir(path) or (os.path.exists(path) and not chosen.overwrite):
            raise FileExistsError(f"{path} exists already. Add --overwrite, or write elsewhere.")
    if chosen.sheet:
        contact_sheet.check_pillow()


def _draw_sample(videos, chosen):
    if not chosen.sample or chosen.sample >= len(videos):
        return videos
    generator = np.random.default_rng(chosen.seed)
    return videos.select(np.sort(generator.choice(len(videos), chosen.sample, replace=False)))


def _facts(source, videos, survey, clip):
    """Returns everything, as it is printed by --json."""
    counts = count_classes(videos)
    looked_at = survey.videos
    return {
        "source": str(source),
        "listed": len(videos),
        "looked_at": len(looked_at),
        "classes": dict(zip(videos.class_names, counts, strict=True)),
        "videos_per_class": spread_of(counts),
        "fewest": [
            name
            for name, count in zip(videos.class_names, counts, strict=True)
            if count == min(counts)
        ],
        "frames": survey.spread("frames"),
        "duration": survey.spread("duration"),
        "fps": survey.spread("fps"),
        "sizes": [
            {"height": height, "width": width, "videos": count}
            for (height, width), count in survey.sizes.items()
        ],
        "codecs": survey.codecs,
        "clip": str(clip),
        "shorter_than_clip": [looked_at.paths[n] for n in survey.shorter_than(clip)],
        "non_square": [
            {"path": looked_at.paths[n], "pixel_aspect": survey.infos[n].pixel_aspect}
            for n in survey.non_square
        ],
        "skipped": videos.skipped,
        "broken": [{"path": path, "reason": reason} for path, reason in survey.broken],
        "readable": [
            {
                "path": looked_at.paths[number],
                "classes": class_names(looked_at, number),
                **dataclasses.asdict(survey.infos[number]),
            }
            for number in survey.readable
        ],
    }


def _print_facts(facts):
    broken, short, classes = facts["broken"], facts["shorter_than_clip"], facts["classes"]
    listed = f"{facts['listed']:,} of {len(classes):,} classes"
    if facts["looked_at"] < facts["listed"]:
        listed += f", {facts['looked_at']:,} of them opened"
    pairs = [("videos", listed), ("unreadable", f"{len(broken):,}" if broken else "none")]
    if short:
        text = f"{len(short):,} for a clip of {facts['clip']}, which repeats frames of them"
        pairs.append(("too short", text))
    if stretched := facts["non_square"]:
        text = f"{len(stretched):,} have pixels that are not square; frames are not stretched"
        pairs.append(("not square", text))
    if skipped := facts["skipped"]:
        pairs.append(("skipped", _describe_skipped(skipped)))
    if len(set(classes.values())) > 1:
        pairs.append(("uneven", _describe_balance(facts)))
    print(printing.printable(facts["source"]))
    printing.print_pairs(pairs)

    headings = {
        "videos_per_class": "videos per class",
        "frames": "frames",
        "duration": "seconds",
        "fps": "frames per second",
    }
    rows = [("", "least", "median", "most", "")]
    for key, heading in headings.items():
        spread = facts[key]
        numbers = (_number(spread[each]) for each in ("minimum", "median", "maximum"))
        unknown = f"unknown of {spread['unknown']:,}" if spread["unknown"] else ""
        rows.append((heading, *numbers, unknown))
    _print_table(rows)
    sizes = {f"{size['height']}x{size['width']}": size["videos"] for size in facts["sizes"]}
    _print_counts("height x width", sizes)
    _print_counts("codec", facts["codecs"])
    _print_counts("class", dict(sorted(classes.items(), key=lambda item: -item[1])))
    _print_lines("too short", short)
    _print_lines(
        "not square: width / height of a pixel",
        [f"{each['pixel_aspect']:.3f}  {each['path']}" for each in stretched],
    )
    _print_lines("skipped", [path for paths in skipped.values() for path in paths])
    # A reason holds the path of its video.
    _print_lines("unreadable", [fault["reason"] for fault in broken])


def _describe_skipped(skipped):
    counts = [f"{len(paths):,} ({reason})" for reason, paths in skipped.items()]
    return f"{', '.join(counts)}; to read a file, name it in a list"


def _describe_balance(facts):
    counts, names = facts["videos_per_class"], facts["fewest"]
    fewest = ", ".join(map(printing.printable, names[:_FEWEST]))
    if len(names) > _FEWEST:
        fewest += f" and {len(names) - _FEWEST:,} more"
    text = f"largest : smallest class = {counts['maximum']:,} : {counts['minimum']:,} videos"
    return f"{text}; fewest: {fewest}"


def _print_counts(heading, counts):
    if counts:
        rows = [(printing.printable(str(name)), f"{count:,}") for name, count in counts.items()]
        _print_table([(heading, "videos"), *rows[:_LINES]])
        _print_rest(rows)


def _print_lines(heading, lines):
    if lines:
        print(f"\n  {heading}")
        for line in lines[:_LINES]:
            print(f"  {printing.printable(line)}")
        _print_rest(lines)


def _print_rest(lines):
    if len(lines) > _LINES:
        print(f"  and {len(lines) - _LINES:,} more; --json has all")


def _print_table(rows):
    """Prints rows in columns below an empty line: names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for name, *numbers in rows:
        cells = [f"{n:>{width}}" for n, width in zip(numbers, widths[1:], strict=True)]
        print("  ".join(["", f"{name:<{widths[0]}}", *cells]).rstrip())


def _number(number):
    return "" if number is None else f"{number:,.2f}".rstrip("0").rstrip(".")


def _write_outputs(chosen, survey, clips, clip):
    written = []
    if clips:
        title = f"{len(clips)} clips of {clip} at {chosen.crop} pixels, as drawn in training"
        picture = contact_sheet.draw_contact_sheet(survey.videos, clips, title)
        with destination.written_beside(chosen.sheet) as path:
            path.write_bytes(picture)
        written.append(f"Wrote {chosen.sheet}, {len(clips)} clips")
    elif chosen.sheet:
        printing.complain("warning", f"{chosen.sheet} is not written, since no video can be read.")
    if chosen.write_list:
        with destination.written_beside(chosen.write_list) as path:
            same_classes = write_list(path, survey.videos.select(survey.readable))
        written.append(f"Wrote {chosen.write_list}, {len(survey.readable):,} videos")
        if not same_classes:
            printing.complain(
                "warning",
                f"{chosen.write_list} numbers the classes anew: by the alphabet, "
                "without those that have no video. Pass `read_list` class_names=[...].",
            )
    if written and not chosen.json:
        print("", *map(printing.printable, written), sep="\n")
