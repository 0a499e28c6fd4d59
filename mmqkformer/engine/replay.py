"""Replays a training batch under hooks, to say where it stops being finite."""

from collections.abc import Iterable, Iterator
from functools import partial

import torch
from mmengine.dist import get_rank
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ..datasets.seeding import ITERATIONS, seed_everything
from ..layers.running_rate import RunningRate
from .checkpoints import unwrap

# What a sample may be called in its meta information: its index, its file
SAMPLE_KEYS = ('sample_idx', 'img_id', 'img_path', 'events_source')


def floating(value: object) -> Iterator[Tensor]:
    """The floating-point tensors in a tensor or a nest of containers; sparse ones by value."""
    if isinstance(value, Tensor):
        if value.is_floating_point() and value.numel():
            value = value.detach()
            yield value if value.layout == torch.strided else value._values()
    elif isinstance(value, dict):
        yield from floating(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from floating(item)


def is_finite(value: object) -> bool:
    """Whether all floating-point tensors in ``value`` are finite; reads them."""
    return all(bool(tensor.isfinite().all()) for tensor in floating(value))


def running_statistics(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Running means, variances and rates, which a forward pass changes already."""
    for name, module in model.named_modules():
        if isinstance(module, _NormBase) and module.running_mean is not None:
            yield f'{name}.running_mean', module.running_mean
            yield f'{name}.running_var', module.running_var
        elif isinstance(module, RunningRate):
            yield f'{name}.rate', module.rate


def inputs_of(data_batch: object) -> Iterable:
    """The inputs of a batch, one entry a sample, as the data loader gave them."""
    return data_batch.get('inputs', ()) if isinstance(data_batch, dict) else ()


def name_samples(data_batch: dict, indices: Iterable[int]) -> str:
    """Names samples of a batch by what their ``data_samples`` say, else by their place in it."""
    samples = data_batch.get('data_samples') or ()
    names = []
    for i in indices:
        meta = getattr(samples[i], 'metainfo', {}) if i < len(samples) else {}
        known = [f'{key}={meta[key]}' for key in SAMPLE_KEYS if key in meta]
        names.append(' '.join(known) or f'number {i} of the batch')
    return ', '.join(names)


def replay(runner: Runner, data_batch: dict, backward: bool) -> str:
    """Runs an iteration's forward pass again, and its backward pass if asked to.

    Weights are those at hand; random numbers are the iteration's, where ``IterationSeedHook``
    seeds it. Running statistics go on from where they are, no gradient is kept, no step made.

    Args:
        runner (Runner): The run, within the iteration or behind it.
        data_batch (dict): The batch of the iteration, as the data loader gave it.
        backward (bool): Whether the gradients are looked at too.

    Returns:
        str: The first layer whose output (or the gradient at it) is not finite and the samples
        that it came from; or that there is none.
    """
    model = unwrap(runner.model)
    outputs: list[tuple[str, nn.Module, Tensor]] = []
    gradients: list[str] = []

    def note_gradient(gradient: Tensor, name: str) -> None:
        if not gradients and not is_finite(gradient):
            gradients.append(name)

    def note_output(module: nn.Module, args: tuple, output: object, name: str) -> None:
        for tensor in floating(output):
            if not outputs and not is_finite(tensor):
                outputs.append((name, module, tensor))
        for tensor in output if isinstance(output, (list, tuple)) else (output,):
            if backward and isinstance(tensor, Tensor) and tensor.requires_grad:
                tensor.register_hook(partial(note_gradient, name=name))

    handles = [
        module.register_forward_hook(partial(note_output, name=name))
        for name, module in model.named_modules()
        if name and name.split('.')[0] != 'data_preprocessor'
    ]
    try:
        seed_everything(ITERATIONS, runner.seed, get_rank(), runner.iter)
        with torch.set_grad_enabled(backward), runner.optim_wrapper.optim_context(model):
            data = model.data_preprocessor(data_batch, True)
            losses = model._run_forward(data, mode='loss')
        if backward:
            parameters = [p for p in model.parameters() if p.requires_grad]
            torch.autograd.grad(model.parse_losses(losses)[0], parameters, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    if outputs:
        name, layer, output = outputs[0]
        own = '' if is_finite(layer.state_dict()) else ', whose weights are not finite either'
        return (
            f'the first output that is not finite is that of {name}{own}, for '
            f'{_origin(output, data_batch)}'
        )
    if gradients:
        return f'the first gradient that is not finite is the one at the output of {gradients[0]}'
    return 'every output' + (' and every gradient' if backward else '') + ' is finite'


def _origin(output: Tensor, data_batch: dict) -> str:
    """The samples that a layer's output is not finite for."""
    size = len(inputs_of(data_batch))
    # [T, B, ...] and [T * B, ...]: all samples of the first time step come first
    output = output.flatten(0, 1) if output.dim() == 5 else output
    if not size or not output.dim() or len(output) % size:
        return 'samples that it does not tell'
    bad = output.isfinite().logical_not().reshape(-1, size, output[0].numel()).any(2).any(0)
    if bad.all():
        return 'every sample'
    return name_samples(data_batch, bad.nonzero().flatten().tolist())
