"""Small networks with the graph of large ones, for tests and trials."""

import math
from collections.abc import Mapping, Sequence

from mmengine.registry import MODELS

from ..checks import check_int
from .archs import expand_arch

# Of channels: heads, and stems of an eighth of the width, have to be possible
_STEP = 8


def shrink(stages: Sequence[Mapping], width: int, depth: int = 1) -> list[dict]:
    """Scales stages down: the same parts in the same order, narrow, with few blocks.

    All channels shrink by the factor that brings the last stage's to ``width``, and are rounded to
    multiples of 8; those of an image's few channels stay. Heads become as many as divide the
    channels, at most what they were, with four channels each at least; groups of so many channels
    become smaller where they do not divide the stage's.

    Args:
        stages (Sequence[Mapping]): Stages of :class:`~mmqkformer.models.SpikingBackbone`.
        width (int): Channels of the last stage, at least 8.
        depth (int): Blocks of a stage that has at least as many. Defaults to 1.

    Returns:
        list[dict]: The stages; ``stages`` itself stays as it is.

    Raises:
        ValueError: ``width`` or ``depth`` is out of range.
    """
    check_int('width', width, _STEP)
    check_int('depth', depth, 1)
    factor = width / stages[-1]['channels']

    def narrow(channels: int) -> int:
        return max(_STEP, round(channels * factor / _STEP) * _STEP)

    def rebuild(value: object, channels: int, key: str = '') -> object:
        if isinstance(value, Mapping):
            return {name: rebuild(item, channels, name) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [rebuild(item, channels, key) for item in value]
        if key in ('channels', 'groups') and isinstance(value, int) and value > 1:
            return narrow(value)
        if key == 'num_heads':
            fitting = (h for h in range(2, value + 1) if channels % h == 0 and channels >= 4 * h)
            return max(fitting, default=1)
        if key == 'group_size':
            return math.gcd(value, channels)
        return value

    return [
        {**rebuild(stage, narrow(stage['channels'])), 'depth': min(stage['depth'], depth)}
        for stage in stages
    ]


def shrink_classifier(model: Mapping, width: int, depth: int = 1) -> dict:
    """The config of a classifier with a small network: :func:`shrink` for its stages.

    Args:
        model (Mapping): Config of an ``ImageClassifier`` with a backbone of this package.
        width (int): Channels of the last stage, at least 8.
        depth (int): Blocks of a stage that has at least as many. Defaults to 1.

    Returns:
        dict: The config; ``model`` itself stays as it is.

    Raises:
        ValueError: ``width`` or ``depth`` is out of range.
    """
    backbone = dict(model['backbone'])
    stages, arch = backbone.pop('stages', None), backbone.pop('arch', None)
    if stages is None:
        stages = expand_arch(arch, MODELS.get(backbone['type']).family)
    backbone['stages'] = shrink(stages, width, depth)
    head = dict(model['head'], in_channels=backbone['stages'][-1]['channels'])
    return dict(model, backbone=backbone, head=head)
