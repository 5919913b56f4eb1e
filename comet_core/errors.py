"""The one exception that users are meant to see."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input, told in one sentence: what is wrong, where, and what to do about it.

    Notebooks show the sentence alone: IPython asks an exception for `_render_traceback_` before it
    formats a traceback, and a reader with a mistyped path has no use for forty frames of ours.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]
