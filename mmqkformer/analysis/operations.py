"""Operations of a spiking network, told apart: accumulates of spikes, multiply-accumulates else."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..layers.quant import quantised_layers
from ..neurons import SpikingNeuron
from .modes import evaluating, generators_kept
from .products import ProductMode


@dataclass
class LayerOperations:
    """What one module takes by itself, without the modules in it.

    Attributes:
        accumulates (dict[str, int]): As in :class:`Operations`.
        multiply_accumulates (dict[str, int]): As in :class:`Operations`.
    """

    accumulates: dict[str, int] = field(default_factory=dict)
    multiply_accumulates: dict[str, int] = field(default_factory=dict)


@dataclass
class Operations:
    """What a forward pass of one sample takes, all time steps together.

    Attributes:
        layers (dict[str, LayerOperations]): What each module takes that computes products, by its
            name in the model (``''`` is the model itself), in the order of the first ones.
        parameters (int): Number of parameters.
    """

    layers: dict[str, LayerOperations] = field(default_factory=dict)
    parameters: int = 0

    @property
    def accumulates(self) -> dict[str, int]:
        """By operator, the products of which one factor is a number of spikes.

        They are counted as dense arithmetic would do them, whether a factor holds binary spikes,
        graded ones (multiples of a neuron's unit) or sums of both. On neuromorphic hardware a
        factor of k spikes is k additions, done where they arrive: their number is this one times
        the mean number of spikes, which is the firing rate of binary spikes and at most ``levels``
        of a graded neuron.
        """
        return self._by_operator('accumulates')

    @property
    def multiply_accumulates(self) -> dict[str, int]:
        """By operator, the products of analogue numbers."""
        return self._by_operator('multiply_accumulates')

    @property
    def total(self) -> int:
        """Accumulates and multiply-accumulates."""
        return sum(self.accumulates.values()) + sum(self.multiply_accumulates.values())

    def _by_operator(self, kind: str) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for layer in self.layers.values():
            counts.update(getattr(layer, kind))
        return dict(counts)


class _ProductCounter(ProductMode):
    """Counts the products of what runs within, for the module that runs it."""

    def __init__(self, layers: dict[str, LayerOperations]) -> None:
        super().__init__()
        self.layers = layers

    def on_product(self, operator: str, args: tuple, result: Tensor, products: int) -> None:
        """See the base class."""
        layer = self.layers.setdefault(self.running[-1], LayerOperations())
        counts = layer.accumulates if _takes_spikes(args) else layer.multiply_accumulates
        counts[operator] = counts.get(operator, 0) + products


def _takes_spikes(args: tuple) -> bool:
    """Whether a factor holds whole numbers only; weights are random, so it cannot be one."""
    tensors = [x for x in args if isinstance(x, Tensor) and x.dim() > 1]
    return any(bool((x == x.round()).all()) for x in tensors)


def count_operations(model: nn.Module, shape: tuple[int, ...]) -> Operations:
    """Counts what a forward pass of one sample takes.

    Counted are convolutions, linear layers and matrix products, those of the attention included;
    what the model computes once for all time steps counts once. Not counted are norms, neurons,
    pooling, biases and element-wise products. A two-stage detector is counted with as many
    proposals as its test takes at most.

    The count depends on shapes only: weights, input and spikes are drawn at random, so that
    analogue numbers and spikes are told apart by their values. The model is left as it was, to its
    mode and the state of the random generators, also where its forward pass fails.

    Args:
        model (nn.Module): A model of mmpretrain, mmdet or mmseg.
        shape (tuple[int, ...]): Shape of a sample, ``[C, H, W]`` or, of events, ``[T, C, H, W]``.

    Returns:
        Operations: The counts.
    """
    counts = Operations(parameters=sum(p.numel() for p in model.parameters()))
    counter = _ProductCounter(counts.layers)
    with torch.no_grad(), generators_kept(model), evaluating(model), _spiking_at_random(model):
        forward = TensorPass(model)
        tensors = {name: _random_like(p) for name, p in forward.named_parameters()}
        tensors |= {name: buffer.clone() for name, buffer in forward.named_buffers()}
        for name, layer in quantised_layers(forward).items():
            # Of a size that leaves weights between the bounds, and no whole numbers
            tensors[f'{name}.alpha'] = layer.steps_of(tensors[f'{name}.weight'])
        device = next((p.device for p in model.parameters()), None)
        # Frames of events are counts
        draw = torch.randn if len(shape) == 3 else partial(torch.randint, 9, dtype=torch.float32)
        sample = draw((1, *shape), device=device)
        with counter.following(model), counter:
            functional_call(forward, tensors, sample)
    return counts


@contextmanager
def _spiking_at_random(model: nn.Module) -> Iterator[None]:
    with ExitStack() as hooks:
        for module in model.modules():
            if isinstance(module, SpikingNeuron):
                hooks.callback(module.register_forward_hook(_random_spikes).remove)
        yield


def _random_spikes(neuron: SpikingNeuron, args: tuple, currents: Tensor) -> Tensor:
    """Numbers of spikes; in units of ``neuron.unit`` they would be no whole ones."""
    return torch.randint_like(currents, neuron.levels + 1)


def _random_like(parameter: Tensor) -> Tensor:
    # Of a size that keeps values about 1: from 2 ** 23 on every float is a whole number
    if parameter.dim() > 1:
        return torch.randn_like(parameter) * parameter[0].numel() ** -0.5
    return 1.0 + 0.1 * torch.randn_like(parameter)


class TensorPass(nn.Module):
    """The pass that is counted, as a module: its parameters can be others."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, sample: Tensor) -> None:
        """Runs the model on a sample ``[1, C, H, W]`` or ``[1, T, C, H, W]``."""
        model = self.model
        if not hasattr(model, 'roi_head'):
            model(sample, mode='tensor')
            return
        # mmdet's own pass would take as many proposals as survive, which depends on the weights
        from mmengine.structures import InstanceData

        features = model.extract_feat(sample)
        model.rpn_head(features)
        height, width = sample.shape[-2:]
        boxes = sample.new_tensor([[0.0, 0.0, width / 2, height / 2]])
        proposals = InstanceData(bboxes=boxes.expand(model.test_cfg.rpn.max_per_img, 4))
        model.roi_head(features, [proposals], None)
