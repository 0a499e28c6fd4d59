"""Files that hold quantised weights in their few bits: safetensors, which run nothing."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..engine.checkpoints import listed, local_file, misfits, shorten
from ..files import write_atomically
from ..layers.quant import QuantisedLayer, check_steps, codes, quantised_layers, values

# Key of the file's metadata under which the packed tensors are described
_FORMAT = 'mmqkformer.packed.1'


def save_packed(model: nn.Module, file: str | Path) -> None:
    """Writes a model with its quantised weights packed: 4 bits take an eighth of float32.

    A weight of n values becomes ``ceil(n * bits / 8)`` bytes: ``round(clamp(w / alpha)) + Qn``,
    bit after bit, the lowest first, so that of 4 bits each byte holds two. All other tensors,
    ``alpha`` among them, are as in the state dict. The float weights behind the quantised ones are
    not in it. The file is there as a whole or not at all.

    Args:
        model (nn.Module): Model with layers quantised by :class:`~mmqkformer.layers.LSQ`.
        file (str | Path): The file, ``.safetensors``.

    Raises:
        ValueError: It has no quantised layer, or a weight that is not finite, or a step that is
            not positive; nothing is written.
        OSError: The file cannot be written.
    """
    layers = _layers_by_weight(model)
    if not layers:
        raise ValueError(f'{type(model).__name__} has no quantised layer: build it with quant=...')
    check_steps(model)
    if faults := misfits(model, model.state_dict()):
        raise ValueError(f'a model that cannot be packed; keys{listed(faults)}')
    # Copies: safetensors refuses tensors that share their memory
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    for name, layer in layers.items():
        tensors[name] = _pack(codes(layer.weight, layer.alpha, layer.bits), layer.bits)
    described = {_FORMAT: json.dumps(_description(layers))}
    write_atomically(save(tensors, described), file)


def load_packed(model: nn.Module, file: str | Path) -> None:
    """Loads a file of :func:`save_packed`; quantised weights and logits are those of its model.

    Nothing of the model is changed unless all of the file fits it.

    Args:
        model (nn.Module): Model of the same config.
        file (str | Path): The file, or its ``file://``, ``http://`` or ``https://`` address.

    Raises:
        OSError: There is no such file, or it cannot be fetched.
        ValueError: It is damaged, of another kind or of another model (names, shapes, bits).
    """
    path = local_file(file)
    try:
        with safe_open(path, framework='pt') as opened:
            described = json.loads((opened.metadata() or {})[_FORMAT])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except Exception as error:  # of any kind: what a damaged file breaks is not foreseeable
        raise ValueError(
            f'{str(file)!r}: expected a whole file of packed weights, as save_packed writes it '
            f'({type(error).__name__}: {error})'
        ) from error
    layers = _layers_by_weight(model)
    try:
        _check_description(described, _description(layers))
        for name, layer in layers.items():
            tensors[name] = _unpack(name, tensors.get(name), layer)
        if faults := misfits(model, tensors) | _faults_of_steps(tensors, layers):
            raise ValueError(f'keys{listed(faults)}')
    except ValueError as error:
        raise ValueError(f'{str(file)!r} does not fit the model: {error}') from error
    for name in layers:
        alpha = tensors[name.removesuffix('weight') + 'alpha']
        tensors[name] = values(tensors[name], alpha)
    # Batch counts may be missing
    model.load_state_dict(tensors, strict=False)


def _layers_by_weight(model: nn.Module) -> dict[str, QuantisedLayer]:
    return {f'{name}.weight'.lstrip('.'): layer for name, layer in quantised_layers(model).items()}


def _description(layers: Mapping[str, QuantisedLayer]) -> dict[str, dict]:
    """Bits and shape of each packed weight, by its name."""
    return {
        name: dict(bits=layer.bits, shape=list(layer.weight.shape))
        for name, layer in layers.items()
    }


def _check_description(found: object, own: dict[str, dict]) -> None:
    if not isinstance(found, dict):
        raise ValueError('its weights are not described')
    if different := found.keys() ^ own.keys():
        raise ValueError(f'only one of them quantises {shorten(different)}')
    for name, expected in own.items():
        if found[name] != expected:
            raise ValueError(f'{name} is {found[name]!r:.200}, expected {expected}')


def _faults_of_steps(
    tensors: Mapping[str, Tensor], layers: Mapping[str, QuantisedLayer]
) -> dict[str, dict[str, str]]:
    """In the form of :func:`misfits`: that one takes float weights, which need no steps."""
    names = [
        weight.removesuffix('weight') + key for weight in layers for key in ('alpha', 'init_state')
    ]
    missing = {name: '' for name in names if name not in tensors}
    wrong = {n: '' for n in names if n in tensors and not (tensors[n] > 0).all()}
    faults = {'missing': missing, 'not positive': wrong}
    return {kind: found for kind, found in faults.items() if found}


def _pack(whole: Tensor, bits: int) -> Tensor:
    """Signed whole numbers of any shape to ``[ceil(n * bits / 8)]`` bytes."""
    unsigned = (whole.flatten().to('cpu', torch.int16) + 2 ** (bits - 1)).to(torch.uint8)
    spread = np.unpackbits(unsigned.numpy()[:, None], axis=1, bitorder='little')[:, :bits]
    return torch.from_numpy(np.packbits(spread, bitorder='little'))


def _unpack(name: str, packed: Tensor | None, layer: QuantisedLayer) -> Tensor:
    """The whole numbers in the weight's shape and type.

    Raises:
        ValueError: They are not so many bytes.
    """
    weight, bits = layer.weight, layer.bits
    size = -(-weight.numel() * bits // 8)
    if packed is None or packed.dtype != torch.uint8 or packed.shape != (size,):
        found = 'missing' if packed is None else f'{packed.dtype} {list(packed.shape)}'
        raise ValueError(f'{name} is {found}: expected {size} bytes')
    spread = np.unpackbits(packed.numpy(), count=weight.numel() * bits, bitorder='little')
    unsigned = np.packbits(spread.reshape(-1, bits), axis=1, bitorder='little')
    whole = torch.from_numpy(unsigned.astype(np.int16) - 2 ** (bits - 1))
    return whole.reshape(weight.shape).to(weight.dtype)
