"""Backbones, necks and heads whose weights a config may quantise."""

from mmengine.model import BaseModule
from torch import nn

from ..build import build, inside
from ..layers.quant import LSQ, quantised_layers


class QuantisedPart(BaseModule):
    """For parts of a model with an argument ``quant``."""

    def quantise(self, quant: dict | None, module: nn.Module, name: str) -> None:
        """Quantises the weights of this part or of a module in it, once they are built.

        Args:
            quant (dict | None): Config of an :class:`~mmqkformer.layers.LSQ`; None does nothing.
            module (nn.Module): What is quantised.
            name (str): Its name in the model, for errors.

        Raises:
            ConfigError: A key or value is wrong, or a layer cannot be quantised.
        """
        if quant is not None:
            with inside('quant', quant):
                build(quant, LSQ)(module, name)

    def init_weights(self) -> None:
        """Initialises the weights, and the steps by them."""
        super().init_weights()
        for layer in quantised_layers(self).values():
            layer.initialise_steps()
