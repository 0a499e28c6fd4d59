"""Figures as files."""

from pathlib import Path

from matplotlib.figure import Figure

from ..files import written_whole


def save_figure(figure: Figure, path: str | Path, dpi: int = 120) -> None:
    """Writes a figure, whole or not at all.

    Args:
        figure (Figure): The figure.
        path (str | Path): File to write; its suffix tells the format, none means PNG.
        dpi (int): Dots per inch. Defaults to 120.
    """
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=dpi, format=Path(path).suffix.lstrip('.') or 'png')
