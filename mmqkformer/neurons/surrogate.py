"""Surrogate gradients: what replaces the derivative of the Heaviside step in the backward pass."""

import math
from abc import ABC, abstractmethod

import torch
from mmengine.registry import MODELS
from torch import Tensor

from ..checks import check_number


class Surrogate(ABC):
    """Derivative used for the spike ``S = Heaviside(u)``, ``u = H - V_th``.

    Two of the same type and values are equal.

    Args:
        alpha (float): Sharpness of the surrogate, dimensionless.

    Raises:
        ValueError: ``alpha`` is not a finite number above 0.
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = float(check_number('alpha', alpha, above=0))

    @abstractmethod
    def derivative(self, u: Tensor) -> Tensor:
        """Returns dS/du, of the shape ``[...]`` of ``u``."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        return f'{type(self).__name__}(alpha={self.alpha:g})'


@MODELS.register_module()
class SigmoidSurrogate(Surrogate):
    """``dS/du = alpha * sigmoid(alpha u) * (1 - sigmoid(alpha u))``, the surrogate of QKFormer.

    Of potentials ``[...]``. SpikingJelly's ``Sigmoid``.

    Args:
        alpha (float): Sharpness. Defaults to 4.0.
    """

    def __init__(self, alpha: float = 4.0) -> None:
        super().__init__(alpha)

    def derivative(self, u: Tensor) -> Tensor:
        """See the class."""
        s = torch.sigmoid(self.alpha * u)
        return self.alpha * s * (1.0 - s)


@MODELS.register_module()
class ATanSurrogate(Surrogate):
    """``dS/du = (alpha / 2) / (1 + (pi alpha u / 2)^2)``, of SEW-ResNet (arXiv 2102.04159).

    Of potentials ``[...]``. SpikingJelly's ``ATan``.

    Args:
        alpha (float): Sharpness. Defaults to 2.0.
    """

    def __init__(self, alpha: float = 2.0) -> None:
        super().__init__(alpha)

    def derivative(self, u: Tensor) -> Tensor:
        """See the class."""
        return self.alpha / 2.0 / (1.0 + (math.pi / 2.0 * self.alpha * u).square())


@MODELS.register_module()
class RectangularSurrogate(Surrogate):
    """``dS/du = alpha where |u| < 1 / (2 alpha), else 0``, of MS-ResNet (arXiv 2112.08954).

    Of potentials ``[...]``. A window of area 1 (STBP, arXiv 1706.02609, Eq. 25).

    Args:
        alpha (float): Height. Defaults to 1.0.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha)

    def derivative(self, u: Tensor) -> Tensor:
        """See the class."""
        return self.alpha * (u.abs() < 0.5 / self.alpha).to(u.dtype)


@MODELS.register_module()
class TriangularSurrogate(Surrogate):
    """``dS/du = alpha * max(0, 1 - alpha |u|)``, of STSA (IJCAI 2023) with alpha 1.

    Of potentials ``[...]``. A triangle of area 1 (Bellec et al., arXiv 1803.09574).

    Args:
        alpha (float): Height. Defaults to 1.0.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha)

    def derivative(self, u: Tensor) -> Tensor:
        """See the class."""
        return self.alpha * (1.0 - self.alpha * u.abs()).clamp_min(0.0)
