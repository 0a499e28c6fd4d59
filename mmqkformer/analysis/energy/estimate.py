"""Energy of a spiking network and of the same network as an ANN, under named models."""

import copy
from dataclasses import dataclass

from torch import nn

from ..operations import count_operations
from ..published import PublishedEnergy
from .synops import LayerWork, Work

PJ_PER_MJ = 1e9


@dataclass(frozen=True)
class EnergyModel:
    """Energies of one operation.

    Attributes:
        name (str): Its name.
        mac_pj (float): Of a multiplication and an addition, in pJ.
        ac_pj (float): Of an addition, in pJ.
        assumptions (str): What is assumed.
        source (str): Where the numbers are from.
    """

    name: str
    mac_pj: float
    ac_pj: float
    assumptions: str
    source: str

    def layer_pj(self, layer: LayerWork) -> float:
        """Energy of a layer for one sample: of its additions, or of multiplications too."""
        if layer.kind == 'analogue':
            return self.mac_pj * layer.dense
        return self.ac_pj * layer.synaptic


_HOROWITZ = 'M. Horowitz, ISSCC 2014, doi 10.1109/ISSCC.2014.6757323'
FLOAT32 = EnergyModel(
    '45 nm, float32',
    4.6,
    0.9,
    'arithmetic in float32 only (multiplication 3.7 pJ, addition 0.9 pJ): no memory, no neurons, '
    'no control',
    f'{_HOROWITZ}; the model of the QKFormer paper and most of its peers',
)
INT8 = EnergyModel(
    '45 nm, int8',
    0.23,
    0.03,
    'arithmetic in 8 bits only (multiplication 0.2 pJ, addition 0.03 pJ), sums in 8 bits too: no '
    'memory, no neurons, no control',
    _HOROWITZ,
)
ENERGY_MODELS = (FLOAT32, INT8)


@dataclass(frozen=True)
class EnergyEstimate:
    """The energy of one sample under a model, beside that of an ANN.

    Attributes:
        model (EnergyModel): The model.
        snn_mj (float): Of the spiking network, in mJ.
        neurons_mj (float): Of its neurons at a multiplication and an addition for every update, in
            mJ; not in ``snn_mj``.
        ann_macs (int): Multiply-accumulates of the same network as an ANN, one step.
        ann_mj (float): Of the ANN, in mJ.
        ann_int8_mj (float): Of the ANN in 8 bits, under :data:`INT8`, in mJ.
        mean_input (float): Spikes for each input of the layers that add them.
        break_even (float | None): ``mean_input`` at which the spiking network costs as much as the
            ANN; None if its multiply-accumulates alone cost more, or it adds no spikes.
        break_even_int8 (float | None): As much as the ANN in 8 bits.
    """

    model: EnergyModel
    snn_mj: float
    neurons_mj: float
    ann_macs: int
    ann_mj: float
    ann_int8_mj: float
    mean_input: float
    break_even: float | None
    break_even_int8: float | None


def one_step(model: nn.Module) -> nn.Module:
    """A copy of a model that runs one time step, as its ANN would.

    Args:
        model (nn.Module): A model with a ``backbone`` of this package.

    Raises:
        ValueError: It has none.
    """
    if not hasattr(getattr(model, 'backbone', None), 'time_steps'):
        raise ValueError(f'{type(model).__name__}: expected a model with a spiking backbone')
    model = copy.deepcopy(model)
    model.backbone.time_steps = 1
    return model


def ann_operations(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of a network as an ANN: its dense products with one time step.

    Args:
        model (nn.Module): A model with a ``backbone`` of this package.
        shape (tuple[int, ...]): Shape of a sample, ``[C, H, W]`` or, of events, ``[T, C, H, W]``,
            whose frames the ANN would see as one.
    """
    return count_operations(one_step(model), shape if len(shape) == 3 else (1, *shape[1:])).total


def estimate_energy(work: Work, ann_macs: int, model: EnergyModel) -> EnergyEstimate:
    """The energy of a network under a model: ``E = E_AC sum(SOPs) + E_MAC sum(MACs)``.

    The SOPs are those of the layers that take spikes, the MACs those of the others, such as the
    first, which sees the image. With D dense products of the former, the break-even mean input r is
    where ``E_AC r D + E_MAC MACs`` is the energy of the ANN.

    Args:
        work (Work): What :func:`measure_work` tells of it.
        ann_macs (int): See :func:`ann_operations`.
        model (EnergyModel): The model.
    """
    dense = work.dense('binary', 'integer')
    analogue_pj = model.mac_pj * work.dense('analogue')

    def break_even(ann_pj: float) -> float | None:
        left = ann_pj - analogue_pj
        return left / (model.ac_pj * dense) if dense and left >= 0 else None

    ann_pj, int8_pj = model.mac_pj * ann_macs, INT8.mac_pj * ann_macs
    return EnergyEstimate(
        model,
        snn_mj=sum(model.layer_pj(layer) for layer in work.layers) / PJ_PER_MJ,
        neurons_mj=model.mac_pj * sum(n.updates for n in work.neurons) / PJ_PER_MJ,
        ann_macs=ann_macs,
        ann_mj=ann_pj / PJ_PER_MJ,
        ann_int8_mj=int8_pj / PJ_PER_MJ,
        mean_input=work.mean_input,
        break_even=break_even(ann_pj),
        break_even_int8=break_even(int8_pj),
    )


@dataclass(frozen=True)
class ImpliedInput:
    """The mean input that a published energy implies over the operations counted here.

    Attributes:
        published (PublishedEnergy): The published energy.
        first_macs (int): Multiply-accumulates of the first layer, which sees the image once.
        dense (int): Dense products of all other layers, all time steps together.
        mean_input (float): ``(E - E_MAC first_macs) / (E_AC dense)``, in spikes.
        mean_input_repeated (float): The same, if the first layer ran at every time step.
    """

    published: PublishedEnergy
    first_macs: int
    dense: int
    mean_input: float
    mean_input_repeated: float


def implied_input(model: nn.Module, published: PublishedEnergy) -> ImpliedInput:
    """What a published energy says of the firing of a network, under :data:`FLOAT32`.

    ``E = E_MAC MACs(first layer) + E_AC r D`` is solved for the mean input r of all other layers.
    It depends on shapes only, not on the weights: it is no reproduction.

    Args:
        model (nn.Module): The network, a classifier of images.
        published (PublishedEnergy): What is published of it.
    """
    counts = count_operations(model, (3, published.size, published.size))
    first = sum(next(iter(counts.layers.values())).multiply_accumulates.values())
    dense = counts.total - first

    def mean_input(steps: int) -> float:
        spent = published.energy_mj * PJ_PER_MJ - FLOAT32.mac_pj * first * steps
        return spent / (FLOAT32.ac_pj * dense)

    time_steps = model.backbone.time_steps
    return ImpliedInput(published, first, dense, mean_input(1), mean_input(time_steps))
