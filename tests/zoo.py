"""What the zoo holds: found in the folders, so that something new is tested without an edit."""

import re
from pathlib import Path

from mmqkformer.models import ARCHITECTURES
from mmqkformer.models.archs import expand_arch
from mmqkformer.models.shrink import shrink

ROOT = Path(__file__).parents[1]
LEFT_OUT = {
    '_base_': 'what configs are made of, no configs',
    'detection': 'models of mmdet, tested in tests/test_dense',
    'segmentation': 'models of mmsegmentation, tested in tests/test_dense',
}
FOLDERS = {path.name for path in (ROOT / 'configs').iterdir() if path.is_dir()}
# A folder that is gone would be left out for no reason
assert set(LEFT_OUT) <= FOLDERS
FAMILIES = sorted(FOLDERS - set(LEFT_OUT))


def classifier_configs() -> list[str]:
    """Paths in the repository of the configs of all classifiers."""
    folders = [ROOT / 'configs' / family for family in FAMILIES]
    paths = [path for folder in folders for path in folder.rglob('*.py')]
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


def distinct_architectures(width: int = 32) -> list[str]:
    """Names of architectures that are different graphs when they are shrunk, widths aside."""
    graphs = {}
    for name in ARCHITECTURES:
        if '-' in name:
            graph = re.sub(r'\b([89]|\d{2,})\b', 'N', str(shrink(expand_arch(name), width)))
            graphs.setdefault(graph, name)
    return sorted(graphs.values())
