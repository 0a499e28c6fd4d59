"""SpikingJelly's estimates of the energy of a network, by its own counters on the same inputs."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ...neurons import SpikingNeuron
from ..operations import TensorPass
from .estimate import INT8, PJ_PER_MJ, one_step


@dataclass(frozen=True)
class OtherEstimate:
    """The energy of one sample, as SpikingJelly estimates it.

    Attributes:
        name (str): The model's.
        energy_mj (float | None): In mJ; None where there is no estimate.
        memory_mj (float | None): How much of it is memory access; None where that is not told.
        assumptions (str): What is assumed, in SpikingJelly's words.
        source (str): Where the model is from.
        remarks (list[str]): What it leaves out, or why there is no estimate.
    """

    name: str
    energy_mj: float | None
    memory_mj: float | None
    assumptions: str
    source: str
    remarks: list[str]


def spikingjelly_energy(model: nn.Module, x: Tensor) -> list[OtherEstimate]:
    """Estimates the energy of a network under the models of SpikingJelly 2.0.

    They are used as they are, on a network that they know nothing of: an input is spikes to them if
    it holds zeros and ones only, so that numbers of spikes, as behind an ``add`` residual, count as
    analogue; and the only neurons that they know are SpikingJelly's own.

    ========== ==================================================================================
    model      what is estimated
    ========== ==================================================================================
    simple     arithmetic at 45 nm in float32, and reading weights, each time that one is used
    ANN        the same in 8 bits, of the network as an ANN: one step, neurons that give analogue
               numbers
    Lemaire    arithmetic in 32-bit integers, addressing, and memory of weights, spikes, potentials
    SpikeSim   crossbars in memory, convolutions only
    ========== ==================================================================================

    Args:
        model (nn.Module): A model of mmpretrain, mmdet or mmseg, in eval mode, with a ``backbone``
            of this package.
        x (Tensor): Images ``[B, C, H, W]``, or frames of events ``[B, T, C, H, W]``, normalised.

    Returns:
        list[OtherEstimate]: Of one sample.

    Raises:
        ImportError: There is no SpikingJelly 2.0.
    """
    sj = _counters()
    ann, frame = _as_ann(model, x)
    # The weights of 8 bits that it reads lie here as four bytes
    per_byte = sj.SimpleEnergyCostConfig.int8().e_memory_pj_per_byte / 4
    int8 = sj.SimpleEnergyCostConfig(INT8.mac_pj, INT8.ac_pj, per_byte)
    return [
        _estimate('simple', sj.estimate_simple_energy, model, x),
        _estimate(
            'simple, int8 ANN',
            sj.estimate_simple_energy,
            ann,
            frame,
            config=sj.SimpleEnergyConfig(cost_config=int8),
        ),
        _estimate(
            'Lemaire',
            sj.estimate_lemaire_energy,
            model,
            x,
            config=sj.LemaireEnergyConfig(strict=False),
        ),
        _estimate('SpikeSim', sj.estimate_spikesim_energy, model, x, strict=False),
    ]


def _counters() -> ModuleType:
    try:
        from spikingjelly.activation_based import op_counter
        from spikingjelly.activation_based.op_counter import estimate_simple_energy  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'{error}: expected spikingjelly>=2.0.0, whose estimators of energy are used; '
            f'pip install "spikingjelly>=2.0.0"'
        ) from error
    return op_counter


def _estimate(
    name: str, estimate: Callable[..., Any], model: nn.Module, x: Tensor, **settings
) -> OtherEstimate:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # they are in the report too
        # One by one: the memories of Lemaire's model are as large as what a batch takes
        reports = [estimate(TensorPass(model).eval(), one, **settings) for one in x.split(1)]
    report = reports[0]
    info, has_memory = report.model_info, 'memory_pj' in report.breakdown_pj
    memory = sum(each.breakdown_pj['memory_pj'] for each in reports) if has_memory else None
    of_all = 'total_pj' if hasattr(report, 'total_pj') else 'energy_total_pj'
    total = sum(getattr(each, of_all) for each in reports)
    return OtherEstimate(
        name,
        energy_mj=total / len(x) / PJ_PER_MJ,
        memory_mj=None if memory is None else memory / len(x) / PJ_PER_MJ,
        assumptions=f'{info.technology_nm} nm, {info.precision}; {info.scope}',
        source=', '.join(info.source_urls),
        remarks=list(report.warnings),
    )


def _as_ann(model: nn.Module, x: Tensor) -> tuple[nn.Module, Tensor]:
    """A copy with one step, whose neurons give analogue numbers, and an input for it."""
    ann = one_step(model)
    generator = torch.Generator(x.device).manual_seed(0)

    def activation(neuron: nn.Module, args: tuple, spikes: Tensor) -> Tensor:
        return torch.rand(spikes.shape, generator=generator, device=x.device).to(spikes)

    for module in ann.modules():
        if isinstance(module, SpikingNeuron):
            module.register_forward_hook(activation)
    return ann, x if x.dim() == 4 else x[:, :1]
