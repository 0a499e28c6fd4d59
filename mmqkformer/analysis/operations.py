"""Operations of a spiking network, told apart: accumulates of spikes, multiply-accumulates else."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ..neurons import SpikingNeuron


@dataclass
class Operations:
    """What a forward pass of one sample takes, all time steps together.

    Attributes:
        accumulates (dict[str, int]): By operator, the products of which one factor is a spike or a
            sum of spikes, as dense arithmetic would do them. On neuromorphic hardware each is an
            addition, done where a spike arrives: their number times the firing rate.
        multiply_accumulates (dict[str, int]): By operator, the products of analogue numbers.
        parameters (int): Number of parameters.
    """

    accumulates: dict[str, int] = field(default_factory=dict)
    multiply_accumulates: dict[str, int] = field(default_factory=dict)
    parameters: int = 0

    @property
    def total(self) -> int:
        """Accumulates and multiply-accumulates."""
        return sum(self.accumulates.values()) + sum(self.multiply_accumulates.values())


class _Counter(TorchDispatchMode):
    def __init__(self, counts: Operations) -> None:
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet in flop_registry:
            # PyTorch counts a multiplication and an addition as two
            products = flop_registry[packet](*args, **(kwargs or {}), out_val=result) // 2
            kind = 'accumulates' if _takes_spikes(args) else 'multiply_accumulates'
            counts = getattr(self.counts, kind)
            counts[str(packet)] = counts.get(str(packet), 0) + products
        return result


def _takes_spikes(args: tuple) -> bool:
    """Whether a factor holds whole numbers only; weights are random, so it cannot be one."""
    tensors = [x for x in args if isinstance(x, Tensor) and x.dim() > 1]
    return any(bool((x == x.round()).all()) for x in tensors)


def _random_spikes(neuron: nn.Module, args: tuple, currents: Tensor) -> Tensor:
    return torch.randint_like(currents, 2)


def count_operations(model: nn.Module, shape: tuple[int, ...]) -> Operations:
    """Count what a forward pass of one sample takes.

    Counted are convolutions, linear layers and matrix products, those of the attention included;
    what the model computes once for all time steps counts once. Not counted are norms, neurons,
    pooling, biases and element-wise products. A two-stage detector is counted with as many
    proposals as its test takes at most. The count depends on shapes only: weights, input and
    spikes are drawn at random, so that analogue numbers and spikes are told apart by their values.

    Args:
        model (nn.Module): A model of mmpretrain, mmdet or mmseg; its weights are lost.
        shape (tuple[int, ...]): Shape of a sample, ``[C, H, W]`` or, of events, ``[T, C, H, W]``.

    Returns:
        Operations: The counts.
    """
    counts = Operations(parameters=sum(p.numel() for p in model.parameters()))
    neurons = [module for module in model.modules() if isinstance(module, SpikingNeuron)]
    handles = [neuron.register_forward_hook(_random_spikes) for neuron in neurons]
    model.eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Of a size that keeps values about 1: from 2 ** 23 on every float is a whole number
            if parameter.dim() > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
            else:
                parameter.normal_(mean=1.0, std=0.1)
        # Frames of events are counts
        sample = torch.randn(1, *shape) if len(shape) == 3 else torch.randint(9, (1, *shape)) * 1.0
        with _Counter(counts):
            _forward(model, sample)
    for handle in handles:
        handle.remove()
    return counts


def _forward(model: nn.Module, sample: Tensor) -> None:
    if not hasattr(model, 'roi_head'):
        model(sample, mode='tensor')
        return
    # mmdet's own pass would take as many proposals as survive, which depends on the weights
    from mmengine.structures import InstanceData

    features = model.extract_feat(sample)
    model.rpn_head(features)
    boxes = torch.tensor([[0.0, 0.0, sample.size(-1) / 2, sample.size(-2) / 2]])
    proposals = InstanceData(bboxes=boxes.expand(model.test_cfg.rpn.max_per_img, 4))
    model.roi_head(features, [proposals], None)
