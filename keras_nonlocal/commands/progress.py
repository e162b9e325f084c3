"""A line that tells how far a long command is, and how long it still takes."""

import contextlib
import sys

import rich.console
import rich.progress
import rich.text


@contextlib.contextmanager
def progress_bar(purpose, total):
    """Shows a bar with the rate and the time left on stderr, where that is a terminal.

    Args:
        purpose: one or two words before the bar.
        total: number of steps.

    Yields:
        A function without arguments to call after each step.
    """
    columns = (
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        RateColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    console = rich.console.Console(stderr=True)
    # Rich can be talked into drawing on a pipe, whose reader wants lines.
    with rich.progress.Progress(
        *columns, console=console, transient=True, disable=not sys.stderr.isatty()
    ) as progress:
        task = progress.add_task(purpose, total=total)
        yield lambda: progress.advance(task)


class RateColumn(rich.progress.ProgressColumn):
    """The steps a second, of a bar."""

    def render(self, task):
        return rich.text.Text(f"{task.finished_speed or task.speed or 0:.1f}/s")
