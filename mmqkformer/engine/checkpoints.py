"""Checkpoints from outside: read without running anything of theirs, checked before they load."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.request import url2pathname

import torch
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import CheckpointLoader
from torch import nn

from ..layers.quant import optional_steps
from ..models.weights import weight_fault
from .download import download

SHOWN_KEYS = 6
_CONFIG_TEXTS = (
    ('meta', 'config'),
    ('meta', 'cfg'),
    ('message_hub', 'runtime_info', 'cfg'),
    ('message_hub', 'resumed_keys', 'cfg'),  # a flag, which mmengine misses its text for
)


def local_file(address: str | Path) -> Path:
    """The file that an address stands for, downloaded where it is on the web.

    Args:
        address (str | Path): Path, or a ``file://``, ``http://`` or ``https://`` address.

    Returns:
        Path: An existing file.

    Raises:
        FileNotFoundError: There is no such file.
        IsADirectoryError: It is a folder.
        ConnectionError: It cannot be downloaded.
        ValueError: The address is of another kind.
    """
    scheme, found, place = str(address).partition('://')
    if not found:
        path = Path(address).expanduser()
    elif scheme == 'file' and place.removeprefix('localhost').startswith('/'):
        path = Path(url2pathname(place.removeprefix('localhost')))
    elif scheme in ('http', 'https'):
        return download(str(address))
    else:
        raise ValueError(
            f'checkpoint {str(address)!r}: expected a path, or an address that begins with '
            'file:///, http:// or https://'
        )
    if str(address) and path.is_dir():
        raise IsADirectoryError(f'checkpoint {str(address)!r}: expected a file, found a folder')
    if not path.is_file():
        raise FileNotFoundError(f'checkpoint {str(address)!r}: no such file')
    return path


def read_checkpoint(address: str | Path, map_location: str | Callable | None = 'cpu') -> dict:
    """Read a checkpoint without running anything that it contains.

    Texts of configurations, which mmengine and mmdet would run as Python, are left out.

    Args:
        address (str | Path): See :func:`local_file`.
        map_location (str | Callable | None): Where tensors go, as for ``torch.load``. Defaults to
            ``cpu``.

    Returns:
        dict: The checkpoint.

    Raises:
        OSError: There is no such file, or it cannot be fetched or read.
        ValueError: It holds anything but plain data, or is damaged.
    """
    checkpoint = _load(address, map_location)
    if dropped := drop_config_texts(checkpoint):
        print_log(
            f'checkpoint {str(address)!r}: {", ".join(dropped)} left out, the text of a '
            'configuration, which would run as Python',
            logger='current',
        )
    return checkpoint


def _load(address: str | Path, map_location: str | Callable | None = 'cpu') -> dict:
    path = local_file(address)
    name = f'checkpoint {str(address)!r}'
    try:
        # Not mapped: PyTorch would take whatever lies where a record should be
        checkpoint = torch.load(path, map_location, weights_only=True)
    except Exception as error:  # of any kind: what a damaged file breaks is not foreseeable
        if isinstance(error, OSError) and error.errno is not None:
            raise type(error)(error.errno, error.strerror, name) from error
        raise ValueError(
            f'{name}: expected plain tensors, which load with weights_only=True; a released '
            'checkpoint is converted by tools/model_converters/released_to_mm.py'
        ) from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f'{name}: holds {type(checkpoint).__name__}, expected a dict')
    return checkpoint


def drop_config_texts(checkpoint: dict) -> list[str]:
    """Remove the texts of configurations that mmengine and mmdet would run as Python.

    ``Runner.resume`` runs ``meta.config``; ``DetInferencer``, given weights only, runs
    ``message_hub.runtime_info.cfg`` or ``meta.cfg``.

    Args:
        checkpoint (dict): Checkpoint of the runner, changed in place.

    Returns:
        list[str]: What was removed.
    """
    dropped = []
    for *parents, key in _CONFIG_TEXTS:
        place = checkpoint
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if isinstance(place, dict) and isinstance(place.pop(key, None), str):
            dropped.append('.'.join([*parents, key]))
    return dropped


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://', 'file://'), force=True)
def load_from_address(filename: str, map_location: str | Callable | None = None) -> dict:
    """mmengine's loader of addresses, which unpickles freely, replaced by a safe one.

    ``Pretrained``, ``load_from``, ``get_model`` and the inferencers come by here.

    Args:
        filename (str): Address.
        map_location (str | Callable | None): As for ``torch.load``. Defaults to None.

    Returns:
        dict: See :func:`read_checkpoint`.
    """
    return read_checkpoint(filename, map_location)


def check_checkpoint(model: nn.Module, address: str | Path, partial: bool = False) -> dict:
    """Check that a checkpoint holds exactly a model's weights, all finite.

    mmengine loads what fits and leaves the rest at its random values. Batch counts of
    BatchNorm may be missing; nothing else may differ. A training may also begin from float weights
    that a quantised model takes its steps from; what is tested has to have steps.

    Args:
        model (nn.Module): Model, possibly wrapped (data parallel, test-time augmentation).
        address (str | Path): See :func:`local_file`.
        partial (bool): Whether it is enough that something fits, as when a trained backbone gets
            a new classifier; ``QKFormer`` itself refuses weights that do not fit it. Defaults to
            False.

    Returns:
        dict: The checkpoint, see :func:`read_checkpoint`.

    Raises:
        OSError: See :func:`read_checkpoint`.
        ValueError: See :func:`read_checkpoint`; or keys are missing, unexpected, of another shape
            or unusable (not finite, sparse, quantised ...), and the error names them; or the file
            holds text that ``Runner.resume`` would run.
    """
    checkpoint = _load(address)
    dropped = drop_config_texts(checkpoint)
    if 'meta.config' in dropped and not partial:
        raise ValueError(
            f'checkpoint {str(address)!r}: meta.config is text that mmengine would run as Python '
            'on resuming; mmengine itself writes none'
        )
    source = weights_of(checkpoint, address)
    model = unwrap(model)
    faults = misfits(model, source)
    if not partial and (steps := optional_steps(model, source)):
        faults['steps of quantised weights missing'] = dict.fromkeys(steps, '')
    # Batch counts alone are no weights
    wrong = {key for keys in faults.values() for key in keys}
    fitting = (model.state_dict().keys() & source.keys()) - wrong
    fits_in_part = any(not key.endswith('num_batches_tracked') for key in fitting)
    tolerated = partial and fits_in_part and 'unusable' not in faults
    if faults and not tolerated:
        meta = checkpoint.get('meta')
        # Converted files have it
        family = meta.get('family') if isinstance(meta, dict) else None
        told = f', {family} family,' if isinstance(family, str) else ''
        raise _misfit(f'checkpoint {str(address)!r}{told}', faults)
    return checkpoint


def load_weights(model: nn.Module, weights: Mapping[str, object], name: str) -> None:
    """Load weights that have to be exactly a model's, see :func:`misfits`.

    Args:
        model (nn.Module): Model, possibly wrapped.
        weights (Mapping[str, object]): Name to what should be a tensor.
        name (str): What they are, for the error.

    Raises:
        ValueError: They do not fit; the error names keys.
    """
    model = unwrap(model)
    if faults := misfits(model, weights):
        raise _misfit(name, faults)
    # What may be missing, batch counts, has been checked
    model.load_state_dict(weights, strict=False)


def _misfit(name: str, faults: Mapping[str, Mapping[str, str]]) -> ValueError:
    return ValueError(f'{name} does not fit the model of the config; keys' + listed(faults))


def misfits(model: nn.Module, weights: Mapping[str, object]) -> dict[str, dict[str, str]]:
    """What keeps weights from being exactly a model's.

    Args:
        model (nn.Module): The model.
        weights (Mapping[str, object]): Name to what should be a tensor. Batch counts, and the
            steps of quantised weights where these are float ones, may be missing.

    Returns:
        dict[str, dict[str, str]]: By kind of fault, names and what is wrong with them, where the
        kind does not say it; empty if all fit.
    """
    own = model.state_dict()
    optional = optional_steps(model, weights)
    faults: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for key in sorted(own.keys() | weights.keys()):
        value = weights.get(key)
        if key not in own:
            if isinstance(value, torch.Tensor):
                faults['unexpected'][key] = ''
        elif key not in weights:
            if not key.endswith('num_batches_tracked') and key not in optional:
                faults['missing'][key] = ''
        elif fault := weight_fault(value, own[key].dtype):
            faults['unusable'][key] = fault
        elif value.shape != own[key].shape:
            shapes = f'{tuple(value.shape)} instead of {tuple(own[key].shape)}'
            faults['of another shape'][key] = shapes
    return dict(faults)


def listed(faults: Mapping[str, Mapping[str, str]]) -> str:
    """A line for each kind of :func:`misfits`, with the first few names."""
    lines = []
    for kind, found in faults.items():
        texts = [f'{key} {what}'.rstrip() for key, what in found.items()]
        lines.append(f'\n  {len(found)} {kind}: {shorten(texts)}')
    return ''.join(lines)


def check_weights(checkpoint: dict, address: str | Path) -> None:
    """Check that all weights of a checkpoint are dense tensors of finite numbers.

    Args:
        checkpoint (dict): Checkpoint of :func:`read_checkpoint`.
        address (str | Path): Where it is from, for the error.

    Raises:
        ValueError: Some are not; the error names them.
    """
    weights = weights_of(checkpoint, address)
    faults = [f'{k} {fault}' for k, v in weights.items() if (fault := weight_fault(v))]
    if faults:
        raise ValueError(
            f'checkpoint {str(address)!r}: {len(faults)} weights are unusable: {shorten(faults)}'
        )


def weights_of(checkpoint: dict, address: str | Path) -> dict[str, object]:
    """The weights of a checkpoint by their names in an unwrapped model.

    Args:
        checkpoint (dict): Checkpoint of the runner, or a bare state dict.
        address (str | Path): Where it is from, for the error.

    Returns:
        dict[str, object]: Name to what should be a tensor.

    Raises:
        ValueError: It holds no names.
    """
    weights = checkpoint.get('state_dict', checkpoint)
    if not isinstance(weights, dict) or not all(isinstance(key, str) for key in weights):
        raise ValueError(f'checkpoint {str(address)!r}: state_dict: expected tensors by name')
    return {key.removeprefix('module.'): value for key, value in weights.items()}


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside wrappers: data parallel, test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def shorten(keys: Iterable[str]) -> str:
    """The first few of some names, and how many more there are."""
    shown = sorted(keys)
    more = f' and {len(shown) - SHOWN_KEYS} more' if len(shown) > SHOWN_KEYS else ''
    return ', '.join(shown[:SHOWN_KEYS]) + more
