"""A page of HTML that needs nothing else: charts in light and dark, tables, pictures over time."""

import base64
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image

from ..files import write_atomically

# Text, lines and grid of both, on the page's own background
THEMES = dict(light=('#1d2430', '#c9ced6'), dark=('#e6e9ee', '#454d5a'))
COLORS = ('#3b7dd8', '#e07b39', '#2f9e6e', '#b05cc6', '#c9a227', '#d1495b', '#5c9ead', '#8a8f98')
PICTURE_SIDE = 168  # pixels, at least


@dataclass(frozen=True)
class Text:
    """A paragraph; ``warning`` sets it apart."""

    text: str
    warning: bool = False
    kind: str = 'text'


@dataclass(frozen=True)
class Tiles:
    """Key figures, each a name, a value and what it means."""

    tiles: Sequence[tuple[str, str, str]]
    kind: str = 'tiles'


@dataclass(frozen=True)
class Table:
    """Rows of cells beneath a header; ``folded`` under its caption until it is opened.

    Cells are numbers, but of the first column; with ``words`` none is.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ''
    folded: bool = False
    words: bool = False
    kind: str = 'table'


@dataclass(frozen=True)
class Chart:
    """A drawing of matplotlib, once for a light and once for a dark page, as text of SVG."""

    light: str
    dark: str
    alt: str
    width: float
    kind: str = 'chart'

    @classmethod
    def of(
        cls, draw: Callable[[Figure], object], alt: str, size: tuple[float, float] = (5.2, 3.0)
    ) -> 'Chart':
        """Draws in both themes.

        Args:
            draw (Callable): Draws into the figure that it is given.
            alt (str): What is to be seen, for who cannot see it.
            size (tuple[float, float]): Width and height, inches; one wider than 6.5 is moved
                sideways on a phone. Defaults to (5.2, 3.0).
        """
        light, dark = (_svg(draw, size, *THEMES[name]) for name in ('light', 'dark'))
        return cls(light, dark, alt, size[0])


@dataclass(frozen=True)
class Films:
    """Pictures over time, which one slider moves.

    Attributes:
        films (Sequence[tuple[str, Sequence[str]]]): Captions, and a picture for each step.
        steps (int): Number of steps T.
    """

    films: Sequence[tuple[str, Sequence[str]]]
    steps: int
    kind: str = 'films'


@dataclass
class Section:
    """A heading and what is below it."""

    title: str
    parts: list = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """The name by which the page's index refers to it."""
        return re.sub(r'\W+', '-', self.title.lower()).strip('-')


def picture(rgb: np.ndarray) -> str:
    """The address of a picture that holds it.

    Args:
        rgb (np.ndarray): ``[H, W, 3]``, unsigned bytes. Small ones are enlarged by whole numbers,
            so that their pixels stay squares.
    """
    image = Image.fromarray(rgb)
    factor = -(-PICTURE_SIDE // max(image.size))
    if factor > 1:
        image = image.resize(
            (image.width * factor, image.height * factor), Image.Resampling.NEAREST
        )
    file = io.BytesIO()
    image.save(file, 'PNG', optimize=True)
    return _address('image/png', file.getvalue())


def write_page(path: str | Path, title: str, subtitle: str, sections: Sequence[Section]) -> None:
    """Writes the page, whole or not at all.

    Args:
        path (str | Path): File to write.
        title (str): Heading.
        subtitle (str): A line below it.
        sections (Sequence[Section]): The rest, in order.
    """
    templates = Environment(
        loader=PackageLoader('mmqkformer.report', ''),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Names of layers break behind their dots
    templates.filters['breakable'] = lambda text: text.replace('.', '.\u200b')
    html = templates.get_template('page.html').render(
        title=title, subtitle=subtitle, sections=sections
    )
    write_atomically(html.encode(), path)


def _svg(draw: Callable, size: tuple[float, float], text: str, grid: str) -> str:
    colors = dict.fromkeys(
        ('text.color', 'axes.labelcolor', 'axes.edgecolor', 'xtick.color', 'ytick.color'), text
    )
    style = {
        **colors,
        'axes.prop_cycle': mpl.cycler(color=COLORS),
        'axes.facecolor': 'none',
        'axes.axisbelow': True,
        'axes.spines.top': False,
        'axes.spines.right': False,
        'figure.facecolor': 'none',
        'font.size': 9,
        'grid.color': grid,
        'grid.linewidth': 0.5,
        'legend.framealpha': 0,
        'legend.labelcolor': text,
        'savefig.facecolor': 'none',
        'svg.fonttype': 'path',
        'svg.hashsalt': 'mmqkformer',
    }
    file = io.BytesIO()
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout='constrained')
        draw(figure)
        figure.savefig(file, format='svg', metadata=dict(Date=None))
    return _address('image/svg+xml', file.getvalue())


def _address(kind: str, content: bytes) -> str:
    return f'data:{kind};base64,{base64.b64encode(content).decode()}'
