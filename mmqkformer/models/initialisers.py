"""How weights start that mmengine's initialisers cannot tell from others."""

from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..checks import check_number
from ..layers import ConvEmbed, SpikingBlock


@WEIGHT_INITIALIZERS.register_module()
class LastNorm:
    """For ``init_cfg``: a start of the batch norms that end what a shortcut spans.

    They are the last of every residual branch, and of the units of an embedding with a shortcut.
    With ``weight=0`` a block begins as its shortcut.

    Args:
        weight (float): Weight of these norms.
        bias (float): Their bias. Defaults to 0.0.
    """

    def __init__(self, weight: float, bias: float = 0.0) -> None:
        self.weight = check_number('weight', weight)
        self.bias = check_number('bias', bias)

    def __call__(self, module: nn.Module) -> None:
        """Sets them in a module."""
        for part in module.modules():
            if isinstance(part, SpikingBlock):
                for name in part.residuals:
                    self._set(getattr(part, name))
            elif isinstance(part, ConvEmbed) and part.shortcut is not None:
                self._set(part.get_submodule(part.chain[-1]))

    def _set(self, branch: nn.Module) -> None:
        for norm in [m for m in branch.modules() if isinstance(m, _BatchNorm)][-1:]:
            nn.init.constant_(norm.weight, self.weight)
            nn.init.constant_(norm.bias, self.bias)
