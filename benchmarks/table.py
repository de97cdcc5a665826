"""A small table on the terminal, shared by the benchmarks."""

from collections.abc import Sequence


def print_table(title: str, header: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    """Print right-aligned columns under a title; the first column is left-aligned."""
    cells = [[str(cell) for cell in line] for line in [header, *lines]]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    print(title)
    for line in cells:
        first, *rest = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join([first, *rest]))
