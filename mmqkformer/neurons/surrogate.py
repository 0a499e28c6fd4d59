"""Surrogate gradients: what replaces the derivative of the Heaviside step in the backward pass."""

import math
from abc import ABC, abstractmethod

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..checks import check_number


class Surrogate(ABC):
    """Derivative used for the spike ``S = Heaviside(u)``, ``u = H - V_th``.

    Args:
        alpha (float): Sharpness of the surrogate, dimensionless.
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = float(check_number('surrogate.alpha', alpha, above=0))

    @abstractmethod
    def derivative(self, u: Tensor) -> Tensor:
        """Returns dS/du, of the shape of ``u``."""

    @abstractmethod
    def to_spikingjelly(self) -> nn.Module:
        """Returns SpikingJelly's surrogate of the same function."""

    def __repr__(self) -> str:
        return f'{type(self).__name__}(alpha={self.alpha:g})'


@MODELS.register_module()
class SigmoidSurrogate(Surrogate):
    """``dS/du = alpha * sigmoid(alpha u) * (1 - sigmoid(alpha u))``, the surrogate of QKFormer.

    Args:
        alpha (float): Sharpness. Defaults to 4.0.
    """

    def __init__(self, alpha: float = 4.0) -> None:
        super().__init__(alpha)

    def derivative(self, u: Tensor) -> Tensor:
        """See the class."""
        s = torch.sigmoid(self.alpha * u)
        return self.alpha * s * (1.0 - s)

    def to_spikingjelly(self) -> nn.Module:
        """See the base class."""
        from spikingjelly.activation_based import surrogate

        return surrogate.Sigmoid(alpha=self.alpha)


@MODELS.register_module()
class ATanSurrogate(Surrogate):
    """``dS/du = (alpha / 2) / (1 + (pi alpha u / 2)^2)``, usual in SEW-ResNet's descendants.

    Args:
        alpha (float): Sharpness. Defaults to 2.0.
    """

    def __init__(self, alpha: float = 2.0) -> None:
        super().__init__(alpha)

    def derivative(self, u: Tensor) -> Tensor:
        """See the class."""
        return self.alpha / 2.0 / (1.0 + (math.pi / 2.0 * self.alpha * u).square())

    def to_spikingjelly(self) -> nn.Module:
        """See the base class."""
        from spikingjelly.activation_based import surrogate

        return surrogate.ATan(alpha=self.alpha)
