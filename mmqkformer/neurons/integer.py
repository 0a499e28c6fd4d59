"""Neurons that emit whole numbers of spikes in a step, on ``[T, ...]``."""

from mmengine.registry import MODELS
from torch import Tensor

from ..checks import check_bool, check_int, check_number
from .base import DescribedNeuron
from .dynamics import IntegerDynamics


class _IntegerNeuron(DescribedNeuron):
    def __init__(self, dynamics: IntegerDynamics, backend: str) -> None:
        super().__init__(dynamics, backend)
        self.levels, self.unit = dynamics.levels, 1.0 / dynamics.divisor


@MODELS.register_module()
class ILIFNeuron(_IntegerNeuron):
    """Integer LIF of SpikeYOLO (arXiv 2407.20708) on ``[T, ...]``.

    ``H[t] = decay (H[t-1] - S[t-1]) + X[t]``, ``S[t] = round(clip(H[t], 0, levels))``, halves to
    even. The gradient is 1 for H in [0, levels], the reset carries none. At T = 1 and normalised
    it is the neuron of E-SpikeFormer (SDT-V3, arXiv 2411.16061): of its base models, and with
    ``half_up`` of its large ones.

    Args:
        levels (int): Highest number of spikes in a step. Defaults to 4.
        decay (float | None): What a step leaves of the membrane, in [0, 1); None is for networks
            without a time axis, and refuses more than one step. Defaults to 0.25.
        normalize (bool): Whether S is divided by ``levels`` (NI-LIF). Defaults to False.
        half_up (bool): Whether halves are rounded up and the gradient is 1 for 0 < H < levels,
            without the ends. Defaults to False.
        backend (str): See :class:`~mmqkformer.neurons.IntegrateAndFire`. Defaults to ``auto``.

    Raises:
        ValueError: A value is out of range.
    """

    def __init__(
        self,
        levels: int = 4,
        decay: float | None = 0.25,
        normalize: bool = False,
        half_up: bool = False,
        backend: str = 'auto',
    ) -> None:
        check_int('levels', levels, 1, 255)
        left = 0.0 if decay is None else float(check_number('decay', decay, low=0, below=1))
        divisor = float(levels) if check_bool('normalize', normalize) else 1.0
        check_bool('half_up', half_up)
        super().__init__(IntegerDynamics(levels, left, 1.0, divisor, half_up), backend)
        self.time_axis = decay is not None

    def fire(self, x: Tensor) -> Tensor:
        """See the base class.

        Raises:
            ValueError: There are several steps, and ``decay`` is None.
        """
        if not self.time_axis and x.size(0) != 1:
            raise ValueError(f'decay=None: expected one time step, got {x.size(0)}')
        return super().fire(x)


@MODELS.register_module()
class MultiSpikeNeuron(_IntegerNeuron):
    """Multi-level spikes without a membrane, of QSD-Transformer's release, on ``[T, ...]``.

    ``S = gain floor(clip(levels X, 0, levels) + 1/2) / levels``; the gradient is ``gain`` for
    0 < X < 1.

    Args:
        levels (int): Highest number of spikes in a step. Defaults to 4.
        gain (float): Factor of the output; 2 behind the products of an attention. Defaults to 1.
        backend (str): See :class:`~mmqkformer.neurons.IntegrateAndFire`. Defaults to ``auto``.

    Raises:
        ValueError: A value is out of range.
    """

    def __init__(self, levels: int = 4, gain: float = 1.0, backend: str = 'auto') -> None:
        check_int('levels', levels, 1, 255)
        check_number('gain', gain, above=0)
        super().__init__(IntegerDynamics(levels, 0.0, float(levels), levels / gain, True), backend)
