"""The one page of a report: HTML that needs no other file and no network."""

import base64
import html

_ROWS = 20
_STYLE = """\
body{margin:2.5rem auto;max-width:60rem;padding:0 1.25rem;
font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff}
h1{font-size:1.6rem;margin:0 0 .25rem}h2{font-size:1.15rem;margin:2.2rem 0 .5rem}
p{margin:.4rem 0}.soft{color:#666}.warn{border-left:4px solid #c60;padding:.3rem .8rem;
background:#fff6ec}.numbers{display:flex;flex-wrap:wrap;gap:.75rem;margin:1.2rem 0}
.numbers div{border:1px solid #ddd;border-radius:6px;padding:.6rem 1rem;min-width:8rem}
.numbers b{display:block;font-size:1.6rem;line-height:1.2}
table{border-collapse:collapse;width:100%}th,td{padding:.28rem .6rem;text-align:left;
border-bottom:1px solid #eee;vertical-align:top;overflow-wrap:anywhere}
th{border-bottom:1px solid #bbb;font-weight:600}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.bar{display:inline-block;height:.7em;background:#3b78b5;margin-right:.5em}
.scroll{overflow:auto;max-height:90vh}.pairs td:first-child{width:13rem}
summary{cursor:pointer;color:#3b78b5;margin:.6rem 0}
"""
_HEADINGS = {
    "class": "Class",
    "videos": "Videos",
    "predicted": "Predicted",
    "right": "Right",
    "recall": "Accuracy (recall)",
    "precision": "Precision",
    "f1": "F1",
    "average_precision": "Average precision",
    "probability": "Probability",
    "path": "Video",
    "reason": "Reason",
    "settings": "Settings",
    "versions": "Versions",
    "made_of": "Checksums",
}
_SHARES = ("recall", "precision", "f1", "average_precision", "probability")
_NUMBERS = ("videos", "predicted", "right", *_SHARES)


def write_page(facts, picture=None):
    """Writes the page.

    Args:
        facts: dictionary of `report.gather_facts`.
        picture: bytes of the PNG of the confusion matrix, or `None`.

    Returns:
        HTML. Names of videos and classes are escaped.
    """
    several = "confused" not in facts
    parts = [
        f"<h1>{_text(facts['title'])}</h1>",
        f'<p class="soft">{_text(_count_videos(facts))}</p>',
        _write_numbers(facts["numbers"]),
    ]
    if facts["unreadable"]:
        parts.append(f'<p class="warn">{_text(_tell_unreadable(facts))}</p>')
    if not several:
        parts += [
            _section("Most confused", "What videos show, and what they were taken for."),
            _table(facts["confused"], {"predicted": "Taken for"}, names=("class", "predicted"))
            if facts["confused"]
            else "<p>No video was taken for another class.</p>",
        ]
    key = "average_precision" if several else "recall"
    known = [row for row in facts["classes"] if row[key] is not None]
    worst = sorted(known, key=lambda row: row[key])[:_ROWS]
    parts += [_section("Worst classes"), _table(worst, bar=key)]
    if len(facts["classes"]) > len(worst):
        table = _table(facts["classes"], bar=key)
        parts.append(
            f"<details><summary>All {len(facts['classes'])} classes</summary>{table}</details>"
        )
    if not several:
        parts.append(_section("Mistakes", "Those of which the network was surest."))
        rows = [{k: v for k, v in row.items() if k != "right"} for row in facts["mistakes"]]
        heading = {"predicted": "Taken for"}
        table = _table(rows, heading, names=("class", "predicted"))
        parts.append(table if rows else "<p>There are none.</p>")
    if picture is not None:
        data = base64.b64encode(picture).decode()
        parts += [
            _section("Confusion matrix"),
            f'<div class="scroll"><img alt="Confusion matrix" src="data:image/png;base64,{data}">'
            "</div>",
        ]
    if facts["unreadable"]:
        parts += [_section("Videos that could not be read"), _table(facts["unreadable"])]
    for key in ("settings", "versions", "made_of"):
        if facts[key]:
            parts += [_section(_HEADINGS[key]), _write_pairs(facts[key])]
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_text(facts['title'])}</title>\n<style>\n{_STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def _count_videos(facts):
    numbers = facts["numbers"]
    classes = len(facts["classes"])
    return f"Over {numbers['counted']:,} of {numbers['videos']:,} videos, {classes:,} classes"


def _tell_unreadable(facts):
    count, listed = facts["numbers"]["unreadable"], facts["numbers"]["videos"]
    fate = {
        "leave_out": "left out of every number here",
        "count_as_wrong": "counted as wrong in every number here",
    }[facts["unreadable_videos_are"]]
    return f"{count:,} of {listed:,} videos could not be read and are {fate}; listed below."


def _write_numbers(numbers):
    names = {
        "mean_class_accuracy": "mean class accuracy",
        "mean_average_precision": "mean average precision",
        "mean_average_precision_unlabelled_last": "the same, videos of no class last",
    }
    cells = [
        f"<div><b>{_share(value)}</b>{_text(names.get(key, key.replace('_', '-')))}</div>"
        for key, value in numbers.items()
        if key not in ("videos", "unreadable", "counted")
    ]
    return f'<div class="numbers">{"".join(cells)}</div>'


def _section(heading, sentence=""):
    below = f'<p class="soft">{_text(sentence)}</p>' if sentence else ""
    return f"<h2>{_text(heading)}</h2>{below}"


def _table(rows, headings=None, names=(), bar=None):
    """A table of dictionaries; a share may have a bar beside it."""
    headings = {**_HEADINGS, **(headings or {})}
    keys = list(rows[0]) if rows else []
    numbers = [key for key in keys if key in _NUMBERS and key not in names]
    kinds = {key: ' class="n"' if key in numbers and key != bar else "" for key in keys}
    head = "".join(f"<th{kinds[key]}>{_text(headings.get(key, key))}</th>" for key in keys)
    lines = []
    for row in rows:
        cells = []
        for key in keys:
            cell = _share(row[key]) if key in _SHARES else _text(row[key])
            if key == bar and row[key] is not None:
                cell = f'<span class="bar" style="width:{6 * row[key]:.2f}em"></span>{cell}'
            cells.append(f"<td{kinds[key]}>{cell}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    body = "\n".join(lines)
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>"


def _write_pairs(pairs):
    rows = (
        f"<tr><td>{_text(key)}</td><td>{_text(value)}</td></tr>" for key, value in pairs.items()
    )
    return f'<table class="pairs"><tbody>{"".join(rows)}</tbody></table>'


def _share(value):
    return "–" if value is None else f"{value:.1%}"


def _text(value):
    return html.escape(str(value))
