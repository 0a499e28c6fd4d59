"""Architectures by name: each expands to the list of stages that ``QKFormer`` is built from."""

import inspect
from collections.abc import Mapping, Sequence

from mmengine.registry import MODELS

_IMAGENET = dict(
    depths=[1, 2, 7],
    mlp_ratios=[4, 4, 4],
    attentions=['QKTokenAttention', 'QKTokenAttention', 'SpikingSelfAttention'],
    pool='first',
)


def _imagenet(dims: int, num_heads: int) -> dict:
    return dict(
        _IMAGENET,
        embed_dims=[dims // 4, dims // 2, dims],
        num_heads=[num_heads] * 3,
        stem=dict(
            channels=[dims // 8, dims // 4, dims // 4], pools=[True, True, False], shortcut_from=1
        ),
    )


# The three families of the paper (its Tables 2 and 3).
ARCHITECTURES: dict[str, dict] = {
    'hst-10-384': _imagenet(384, 6),
    'hst-10-512': _imagenet(512, 8),
    'hst-10-768': _imagenet(768, 12),
    'hst-4-384': dict(
        embed_dims=[96, 192, 384],
        depths=[1, 1, 2],
        num_heads=[8, 8, 8],
        mlp_ratios=[4, 4, 4],
        attentions=['QKTokenAttention', 'QKTokenAttention', 'SpikingSelfAttention'],
        stem=dict(channels=[48, 96], pools=[False, False], shortcut_from=1),
        pool='last',
    ),
    'hst-2-256': dict(
        embed_dims=[128, 256],
        depths=[1, 1],
        num_heads=[16, 16],
        mlp_ratios=[1, 1],
        attentions=['QKTokenAttention', 'SpikingSelfAttention'],
        stem=dict(channels=[16, 32, 64, 128], pools=[False, True, True, True], shortcut_from=2),
        pool='last',
    ),
}
_STAGE_KEYS = ('embed_dims', 'depths', 'num_heads', 'mlp_ratios', 'attentions')
_KEYS = (*_STAGE_KEYS, 'stem', 'pool')


def resolve_arch(arch: str | dict) -> dict:
    """Returns the full description of an architecture.

    Args:
        arch (str | dict): A name of :data:`ARCHITECTURES`, or a dict of ``embed_dims``, ``depths``,
            ``num_heads``, ``mlp_ratios`` and ``attentions`` (one entry a stage), ``stem``
            (arguments of ``PEDSStem``) and ``pool`` (of ``PEDS``). A dict with ``base`` starts
            from that name and overrides some of the keys.

    Raises:
        ValueError: Unknown name or key, a missing key, lists of different lengths, or widths that
            are not divisible by their heads.
    """
    if isinstance(arch, str):
        arch = dict(base=arch)
    if not isinstance(arch, Mapping):
        raise ValueError(f'arch={arch!r}: expected a name, of {sorted(ARCHITECTURES)}, or a dict')
    arch = dict(arch)
    base = arch.pop('base', None)
    if base is not None and base not in ARCHITECTURES:
        raise ValueError(f'arch={base!r} is unknown: expected one of {sorted(ARCHITECTURES)}')
    unknown = sorted(set(arch) - set(_KEYS))
    if unknown:
        raise ValueError(f'arch has unknown keys {unknown}: expected some of {list(_KEYS)}')
    arch = {**ARCHITECTURES.get(base, {}), **arch}
    missing = [key for key in _KEYS if key not in arch]
    if missing:
        raise ValueError(f'arch lacks {missing}: give them, or start from arch.base')
    for key in _STAGE_KEYS:
        if not isinstance(arch[key], (list, tuple)):
            raise ValueError(f'arch.{key}={arch[key]!r}: expected a list, one entry for each stage')
    stages = len(arch['embed_dims'])
    for key in _STAGE_KEYS:
        if len(arch[key]) != stages:
            raise ValueError(
                f'arch.{key}={arch[key]!r}: expected {stages} entries, one for each of '
                f'embed_dims={arch["embed_dims"]!r}'
            )
    for i, (dims, heads) in enumerate(zip(arch['embed_dims'], arch['num_heads'])):
        if heads < 1 or dims % heads:
            raise ValueError(f'embed_dims[{i}]={dims} is not divisible by num_heads[{i}]={heads}')
    return arch


def _attention_config(attention: str | dict, num_heads: int) -> dict:
    """A dict stays as it is; a name gets the stage's heads if the class takes any."""
    if not isinstance(attention, str):
        return dict(attention)
    cls = MODELS.get(attention)
    if cls is None:
        raise ValueError(f'attentions: {attention!r} is not a registered attention')
    parameters = inspect.signature(cls).parameters
    return dict(type=attention, **(dict(num_heads=num_heads) if 'num_heads' in parameters else {}))


def expand_arch(arch: str | dict) -> list[dict]:
    """Expands an architecture to the list of stages that it is a name for."""
    arch = resolve_arch(arch)
    attentions: Sequence[str | dict] = arch['attentions']
    return [
        dict(
            embed=dict(type='PEDSStem', **arch['stem'])
            if i == 0
            else dict(type='PEDS', pool=arch['pool']),
            block=dict(
                attention=_attention_config(attentions[i], arch['num_heads'][i]),
                mlp=dict(type='SpikingMLP', ratio=arch['mlp_ratios'][i]),
            ),
            channels=arch['embed_dims'][i],
            depth=arch['depths'][i],
        )
        for i in range(len(arch['embed_dims']))
    ]
