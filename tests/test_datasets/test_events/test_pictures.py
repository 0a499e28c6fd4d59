"""Pictures of events beside the events, which need no PyTorch."""

import ast
from pathlib import Path

import numpy as np
import pytest
from event_streams import random_events
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from mmqkformer.datasets import events
from mmqkformer.datasets.events.pictures import (
    draw_rates,
    figure_image,
    polarity_image,
    saturation_of,
    save_animation,
)


def imported(path):
    """Full names of what a file imports, of its own package without the package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield '.' * node.level + (node.module or '')


@pytest.mark.parametrize('path', Path(events.__path__[0]).glob('*.py'), ids=lambda path: path.name)
def test_events_need_no_torch(path):
    below = ('...files', '...checks')
    for name in imported(path):
        assert name.split('.')[0] not in ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmpretrain')
        assert not name.startswith('..') or name in below, name


def test_polarities_are_red_and_blue():
    frame = np.zeros((2, 1, 3))
    frame[1, 0, 0] = frame[0, 0, 1] = 4
    (on, off, none), *_ = polarity_image(frame)
    assert on[0] > 0.7 > on[2]
    assert off[2] > 0.6 > off[0]
    assert np.array_equal(none, [1, 1, 1])
    assert saturation_of(frame) == 4
    assert saturation_of(np.zeros((2, 1, 3))) == 1


def test_rates_hold_every_event():
    stream = random_events(900, (12, 9), seed=0)
    axis = Figure().subplots()
    draw_rates(axis, stream, borders=[0, 100], bins=10)
    on, off, *borders = axis.get_lines()
    assert len(borders) == 2
    width = np.diff(on.get_xdata()[:2])
    assert (on.get_ydata().sum() + off.get_ydata().sum()) * width == pytest.approx(900)


def test_animations_have_an_image_a_frame(tmp_path):
    figures = [Figure(figsize=(1, 1)) for _ in range(3)]
    for i, figure in enumerate(figures):
        FigureCanvasAgg(figure)
        figure.text(0.2 * i, 0.5, 'x')
    save_animation([figure_image(figure) for figure in figures], tmp_path / 'a.gif', frame_ms=50)
    with Image.open(tmp_path / 'a.gif') as animation:
        assert animation.n_frames == 3
