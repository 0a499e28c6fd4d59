"""Operations on real inputs, what of them is additions of spikes, and what energy they take."""

from .estimate import (
    ENERGY_MODELS,
    FLOAT32,
    INT8,
    EnergyEstimate,
    EnergyModel,
    ImpliedInput,
    ann_operations,
    estimate_energy,
    implied_input,
)
from .purity import Purity, purity
from .spikingjelly import OtherEstimate, spikingjelly_energy
from .synops import Factor, LayerWork, NeuronWork, Remark, Work, measure_work

__all__ = [
    'ENERGY_MODELS',
    'FLOAT32',
    'INT8',
    'EnergyEstimate',
    'EnergyModel',
    'Factor',
    'ImpliedInput',
    'LayerWork',
    'NeuronWork',
    'OtherEstimate',
    'Purity',
    'Remark',
    'Work',
    'ann_operations',
    'estimate_energy',
    'implied_input',
    'measure_work',
    'purity',
    'spikingjelly_energy',
]
