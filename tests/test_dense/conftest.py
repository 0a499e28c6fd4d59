"""A small set of digits on canvases, written by the tool, and mmengine's scopes."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKE = ROOT / 'tools' / 'dataset_converters' / 'make_digits_coco.py'


@pytest.fixture(scope='session')
def make_digits():
    """Run ``make_digits_coco.py`` in this process."""

    def make(*args):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, 'argv', [str(MAKE), *map(str, args)])
            runpy.run_path(str(MAKE), run_name='__main__')

    return make


@pytest.fixture(scope='session')
def digits_coco(make_digits, tmp_path_factory):
    """A folder of 8 training, 2 validation and 2 test images of 96 x 128 pixels."""
    root = tmp_path_factory.mktemp('digits_coco')
    make_digits(root, '--images', 8, 2, 2, '--size', 96, 128)
    return root
