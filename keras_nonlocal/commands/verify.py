"""`keras-nonlocal verify`: what is in files of weights, and the calls that load them."""

import os

from keras_nonlocal.checkpoints import attempts, description, inspection, registry
from keras_nonlocal.commands import calls, printing

_CHOICES = {
    "clip": 'such as "8x8"',
    "mode": '"embedded_gaussian" or "dot_product"',
    "pool2": "True or False",
}


def add_arguments(parser):
    """Says what can follow `verify`."""
    parser.add_argument("files", nargs="+", metavar="FILE")


def run(chosen):
    """Prints what is in each file; 1 if one of them does not load."""
    loads = [_verify_file(path) for path in chosen.files]
    return 0 if all(loads) else 1


def _verify_file(path):
    """Prints what is in a file; gives whether it loads."""
    print(printing.printable(path))
    record = registry.find_file(path)
    try:
        if record and os.path.isfile(path):
            printing.print_pairs(description.describe_record(path, record))
        findings = inspection.inspect_file(path)
        printing.print_pairs(description.describe_file(findings))
        found = list(attempts.attempt(findings))
    # A file that lies may end NumPy and Keras in any way; the other files are still to come.
    except Exception as fault:
        printing.complain("error", fault)
        return False
    loading = [(function, options) for function, options, fault in found if fault is None]
    for function, options in loading:
        if function == "knl.inflate_weights":
            call = calls.write_call(function, path).replace("(", "(model, ", 1)
            lines = [("loads", f"model = {calls.write_call('knl.NLI3D', **options)}"), ("", call)]
        else:
            lines = [("loads", f"model = {calls.write_call(function, path, **options)}")]
        printing.print_pairs(lines)
    open_ones = {key for _, options in loading for key, value in options.items() if value is ...}
    if open_ones:
        note = "; ".join(f"{key} {_CHOICES[key]}" for key in _CHOICES if key in open_ones)
        printing.print_pairs([("note", f"put in what the file does not tell: {note}")])
    if len(loading) > 1:
        known = f": {record.source}, if it is {record.name}" if record else ""
        note = f"these give different numbers; take whose file it is{known}"
        printing.print_pairs([("note", note)])
    if not loading:
        printing.complain("error", found[0][-1])
    return bool(loading)
