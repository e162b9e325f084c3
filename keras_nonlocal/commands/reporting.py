"""What commands that have scores print and write of them."""

import os

from keras_nonlocal import evaluation
from keras_nonlocal.commands import arguments, calls, printing
from keras_nonlocal.evaluation.report import check_matplotlib

_NAMES = {
    "mean_class_accuracy": "class mean",
    "mean_average_precision": "mAP",
    "mean_average_precision_unlabelled_last": "mAP, empty last",
}
# Lines of a list that are printed; the report has all.
_LINES = 20


def add_report_arguments(parser):
    """Adds the options of what is printed and written."""
    report = parser.add_argument_group("report")
    report.add_argument(
        "--out", metavar="FOLDER", help="to write report.html, tables and scores.npz into"
    )
    report.add_argument("--title", help="of the page; what was tested if left out")
    report.add_argument(
        "--top",
        type=arguments.count,
        nargs="+",
        default=[1, 5],
        metavar="K",
        help="right if among the K likeliest; 1 5",
    )
    report.add_argument(
        "--count-unreadable-as-wrong",
        action="store_true",
        help="instead of leaving videos out that cannot be read",
    )
    report.add_argument(
        "--overwrite", action="store_true", help="begin anew in place of the scores in FOLDER"
    )


def check_report_arguments(chosen):
    """Finds what would fail at the end before the network is at work."""
    if chosen.out:
        check_matplotlib()
        if os.path.exists(chosen.out) and not os.path.isdir(chosen.out):
            raise NotADirectoryError(f"--out must be a folder. Received: {chosen.out}, a file.")


def write_python(chosen):
    """Python that makes of `scores` what `print_and_write` does.

    Args:
        chosen: the parsed arguments.
    """
    given = _report_options(chosen)
    if chosen.out:
        folder = calls.write_call("", chosen.out)[1:-1]
        options = calls.write_call("", title=chosen.title, **given)[1:]
        return f"print(knl.evaluation.write_report({folder}, scores, {options})"
    options = calls.write_call("", **given)[1:]
    return f"print(knl.evaluation.summarize(scores{', ' if given else ''}{options})"


def _report_options(chosen):
    """The arguments of `summarize` that were given."""
    options = {}
    if chosen.top != [1, 5]:
        options["top"] = chosen.top
    if chosen.count_unreadable_as_wrong:
        options["unreadable"] = "count_as_wrong"
    return options


def print_and_write(chosen, scores, facts):
    """Prints the numbers and the videos that were not read, and writes the report.

    Args:
        chosen: the parsed arguments.
        scores: the `Scores`.
        facts: pairs of heading and text to print before the numbers.
    """
    options = _report_options(chosen)
    if chosen.out:
        numbers = evaluation.write_report(chosen.out, scores, title=chosen.title, **options)
    else:
        numbers = evaluation.summarize(scores, **options)
    counted = f"{numbers['counted']:,} of {numbers['videos']:,}"
    if numbers["unreadable"]:
        fate = "counted as wrong" if chosen.count_unreadable_as_wrong else "left out"
        counted += f"; {numbers['unreadable']:,} could not be read and are {fate}"
    pairs = [("videos", counted), *facts]
    for key, value in numbers.items():
        if key not in ("videos", "unreadable", "counted"):
            pairs.append((_NAMES.get(key, key.replace("_", "-")), f"{value:.2%}"))
    width = max(12, *(len(heading) + 2 for heading, _ in pairs))
    for heading, text in pairs:
        print(f"  {heading:<{width}}{printing.printable(text)}")
    for reason in list(scores.unreadable.values())[:_LINES]:
        printing.complain("warning", reason)
    if len(scores.unreadable) > _LINES:
        more = f"{len(scores.unreadable) - _LINES} more videos could not be read."
        printing.complain("warning", more)
    if chosen.out:
        print()
        print(printing.printable(f"Wrote {os.path.join(chosen.out, 'report.html')}"))
