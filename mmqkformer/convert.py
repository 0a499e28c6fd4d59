"""Weights of QKFormer's public release, renamed to this zoo's names."""

import argparse
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .files import written_whole
from .models.backbones import QKFormer

# Each family is told by a key that only it has; the rest of its keys must then all be known.
_FAMILIES = {
    'imagenet': ('patch_embed1.proj2_conv.weight', 'stage3.0.attn.q_conv.weight'),
    'cifar': ('patch_embed1.proj1_conv.weight', 'stage3.0.ssa.q_conv.weight'),
    'events': ('patch_embed1.proj3_conv.weight', 'stage2.0.ssa.q_conv.weight'),
}
# Units of the patch embeddings: the release's names, by family and stage.
_EMBEDS = {
    'imagenet': (('proj', 'proj1', 'proj2'), ('proj3', 'proj4'), ('proj3', 'proj4')),
    'cifar': (('proj', 'proj1'), ('proj3', 'proj4'), ('proj3', 'proj4')),
    'events': (('proj', 'proj1', 'proj2', 'proj3'), ('proj', 'proj4')),
}
_ARCHITECTURE = {'imagenet': 'hst-10-384', 'cifar': 'hst-4-384', 'events': 'hst-2-256'}
_ATTENTION = {'q': 'attention.query', 'k': 'attention.key', 'v': 'attention.value'}
_KINDS = {'conv': 'conv', 'bn': 'norm', 'lif': 'neuron'}


class UnknownCheckpointError(ValueError):
    """The file is not one of QKFormer's released forms."""


def family_of(keys: Mapping[str, object] | set[str]) -> str:
    """Tells the family of a released state dict from its keys alone.

    Args:
        keys (Mapping | set): Released names.

    Returns:
        str: ``imagenet`` (HST-10), ``cifar`` (HST-4) or ``events`` (HST-2).

    Raises:
        UnknownCheckpointError: The keys are those of no family.
    """
    found = [family for family, marks in _FAMILIES.items() if all(mark in keys for mark in marks)]
    if len(found) != 1:
        raise UnknownCheckpointError(
            f'these keys are of no released QKFormer family ({", ".join(_FAMILIES)}); the first '
            f'are {sorted(keys)[:3]}'
        )
    return found[0]


def rename(name: str, family: str) -> str:
    """Maps a released name (of a parameter, buffer or neuron) to this zoo's.

    Args:
        name (str): Released name without ``module.``, e.g. ``stage1.0.tssa.q_conv.weight`` or
            ``stage1.0.tssa.q_lif``.
        family (str): See :func:`family_of`.

    Returns:
        str: Name in an ``ImageClassifier`` with a ``QKFormer`` and a ``SpikingClsHead``.

    Raises:
        UnknownCheckpointError: The family has no such name.
    """
    new = _rename_head(name) or _rename_embed(name, family) or _rename_block(name)
    if new is None:
        raise UnknownCheckpointError(f'{name!r} is not a name of the {family} family')
    return new


def _rename_head(name: str) -> str | None:
    match = re.fullmatch(r'head\.(weight|bias)', name)
    return f'head.fc.{match[1]}' if match else None


def _rename_embed(name: str, family: str) -> str | None:
    match = re.fullmatch(r'patch_embed(\d)\.(\w+)_(conv|bn|lif)(\.\w+)?', name)
    if match is None or not 1 <= int(match[1]) <= len(_EMBEDS[family]):
        return None
    stage, unit, kind, leaf = (int(match[1]) - 1, match[2], _KINDS[match[3]], match[4] or '')
    units = _EMBEDS[family][stage]
    if unit == 'proj_res':
        place = 'shortcut'
    elif unit in units:
        place = f'convs.{units.index(unit)}'
    else:
        return None
    return f'backbone.stages.{stage}.embed.{place}.{kind}{leaf}'


def _rename_block(name: str) -> str | None:
    match = re.fullmatch(
        r'stage(\d)\.(\d+)\.(tssa|ssa|attn|mlp)\.(\w+?)_(conv|bn|lif)(\.\w+)?', name
    )
    if match is None:
        return None
    block = f'backbone.stages.{int(match[1]) - 1}.blocks.{match[2]}'
    part, unit, kind, leaf = match[3], match[4], match[5], match[6] or ''
    if part == 'mlp':
        layer = {'fc1': 'fc1', 'mlp1': 'fc1', 'fc2': 'fc2', 'mlp2': 'fc2'}.get(unit)
        if layer is None:
            return None
        if (layer, kind) == ('fc2', 'lif'):
            return f'{block}.mlp_neuron'
        return f'{block}.mlp.{layer}.{_KINDS[kind]}{leaf}'
    if (unit, kind) == ('attn', 'lif'):
        return f'{block}.attention.{"mask_neuron" if part == "tssa" else "product_neuron"}'
    if unit == 'proj':
        if kind == 'lif':
            return f'{block}.attention_neuron'
        return f'{block}.attention.proj.{_KINDS[kind]}{leaf}'
    if unit in _ATTENTION and not (unit == 'v' and part == 'tssa'):
        return f'{block}.{_ATTENTION[unit]}.{_KINDS[kind]}{leaf}'
    return None


def convert_state_dict(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames a released state dict; 1-D convolutions become 1 x 1 convolutions.

    Args:
        released (Mapping[str, Tensor]): Released names (``module.`` allowed) to tensors.

    Returns:
        dict[str, Tensor]: State dict of an ``ImageClassifier`` of this zoo.

    Raises:
        UnknownCheckpointError: A key is unknown, missing or there twice, or a value is no tensor.
    """
    others = [name for name in released if not isinstance(name, str)]
    if others:
        raise UnknownCheckpointError(f'{others[0]!r} is no name: expected names of weights')
    family = family_of({name.removeprefix('module.') for name in released})
    converted: dict[str, Tensor] = {}
    for name, value in released.items():
        if not isinstance(value, Tensor):
            raise UnknownCheckpointError(f'{name!r} is {type(value).__name__}: expected a tensor')
        new = rename(name.removeprefix('module.'), family)
        if new in converted:
            raise UnknownCheckpointError(f'{name!r} names {new!r} a second time')
        converted[new] = value.unsqueeze(-1) if value.dim() == 3 else value
    missing = sorted(_complete(family, converted) - set(converted))
    if missing:
        raise UnknownCheckpointError(
            f'{len(missing)} weights of the {family} family are missing, e.g. {missing[:3]}'
        )
    return converted


def _complete(family: str, keys: Iterable[str]) -> set[str]:
    """Names of a whole model with as many blocks a stage as ``keys`` have."""
    blocks = [re.match(r'backbone\.stages\.(\d+)\.blocks\.(\d+)\.', key) for key in keys]
    places = {(int(match[1]), int(match[2])) for match in blocks if match}
    depths = [
        max([block + 1 for at, block in places if at == stage], default=1)
        for stage in range(len(_EMBEDS[family]))
    ]
    with torch.device('meta'):
        backbone = QKFormer(arch=dict(base=_ARCHITECTURE[family], depths=depths))
    names = {f'backbone.{name}' for name in backbone.state_dict()}
    return names | {'head.fc.weight', 'head.fc.bias'}


def load_released(path: str | Path, use_ema: bool = False) -> Mapping[str, Tensor]:
    """Reads a released file without running any code that it may hold.

    Known forms: ``{'model': ...}`` (ImageNet, events), timm's ``{'state_dict': ...}`` with or
    without ``state_dict_ema`` (CIFAR), or a bare state dict.

    Args:
        path (str | Path): The file.
        use_ema (bool): Whether to take ``state_dict_ema``. Defaults to False.

    Returns:
        Mapping[str, Tensor]: The released state dict.

    Raises:
        FileNotFoundError: There is no such file.
        UnknownCheckpointError: It does not load safely, or has none of these forms.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file')
    numpy_scalars = [np.dtype, np.ndarray, *{type(np.dtype(c)) for c in 'bBhHiIlLqQefd?'}]
    scalar = np.float64(0).__reduce__()[0]
    reconstruct = np.zeros(1).__reduce__()[0]
    try:
        with torch.serialization.safe_globals(
            [argparse.Namespace, scalar, reconstruct, *numpy_scalars]
        ):
            content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        raise UnknownCheckpointError(
            f'{path}: not a checkpoint that loads safely: {error}'
        ) from error
    if not isinstance(content, Mapping):
        raise UnknownCheckpointError(
            f'{path}: holds {type(content).__name__}: expected a state dict, or a dict with one'
        )
    if use_ema:
        if not isinstance(content.get('state_dict_ema'), Mapping):
            raise UnknownCheckpointError(f"{path}: has no state dict 'state_dict_ema'")
        return content['state_dict_ema']
    for key in ('model', 'state_dict'):
        if isinstance(content.get(key), Mapping):
            return content[key]
    return content


def convert_file(source: str | Path, target: str | Path, use_ema: bool = False) -> str:
    """Converts a released file to a checkpoint of this zoo.

    Args:
        source (str | Path): See :func:`load_released`.
        target (str | Path): File to write, under a temporary name first.
        use_ema (bool): See :func:`load_released`. Defaults to False.

    Returns:
        str: The family, see :func:`family_of`.

    Raises:
        UnknownCheckpointError: The source is no released checkpoint; nothing is written.
    """
    released = load_released(source, use_ema)
    try:
        state_dict = convert_state_dict(released)
    except UnknownCheckpointError as error:
        raise UnknownCheckpointError(f'{source}: {error}') from error
    family = family_of({name.removeprefix('module.') for name in released})
    meta = {'source': Path(source).name, 'family': family}
    with written_whole(target) as partial:
        torch.save({'meta': meta, 'state_dict': state_dict}, partial)
    return family
