"""What a notebook shows of an object: a few facts and a table, escaped; and a whole report in a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

LONGEST = 200  # characters of a fact or a cell
MOST_LINES = 40  # of a table
FRAME_PIXELS = 720


def summary(
    title: str,
    facts: Mapping[str, Any] | None = None,
    headings: Sequence[str] = (),
    lines: Sequence[Sequence[Any]] = (),
    note: str = "",
) -> str:
    """A piece of a page, a few kilobytes at most; all that it is given is text, never HTML.

    Parameters
    ----------
    title
        What the object is.
    facts
        Shown as name and value; those that are ``None`` or empty are left out.
    headings, lines
        A table; beyond ``MOST_LINES`` lines it says how many there are.
    note
        A sentence below.
    """
    parts = [f"<b>{_text(title)}</b>"]
    known = {name: value for name, value in (facts or {}).items() if value not in (None, "")}
    if known:
        cells = (f"<tr><td>{_text(name)}</td><td>{_text(value)}</td></tr>" for name, value in known.items())
        parts.append(f"<table>{''.join(cells)}</table>")
    if lines:
        head = "".join(f"<th>{_text(heading)}</th>" for heading in headings)
        rows = ("".join(f"<td>{_text(cell)}</td>" for cell in line) for line in lines[:MOST_LINES])
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        if len(lines) > MOST_LINES:
            parts.append(f"<p>{len(lines):,} lines, of which the first {MOST_LINES} are shown</p>")
    if note:
        parts.append(f"<p>{_text(note)}</p>")
    return f'<div class="hwloop">{"".join(parts)}</div>'


def framed(page: str) -> str:
    """A whole page in a frame of its own, so that its style and the notebook's leave each other alone."""
    return (
        f'<iframe srcdoc="{escape(page)}" sandbox width="100%" height="{FRAME_PIXELS}" '
        'style="border: 1px solid #e3e7ec" title="report"></iframe>'
    )


def _text(value: Any) -> str:
    text = str(value)
    return escape(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")
