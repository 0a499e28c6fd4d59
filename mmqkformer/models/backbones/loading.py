"""What keeps a backbone from running with weights of another network."""

from collections.abc import Mapping

from mmengine.model import BaseModule
from torch import Tensor

from ...neurons import SpikingNeuron
from ..weights import refuse_misfit


class GuardedWeights(BaseModule):
    """A module that refuses weights which would leave its own at random values."""

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Tensor], prefix: str, *args, **kwargs
    ) -> None:
        """Refuses a load that would leave weights at random values, or not finite.

        Raises:
            RuntimeError: Weights are missing, of another shape or unusable; the message names some.
        """
        # These start from values that mean something: counts, time constants
        optional = tuple(
            f'{name}.'
            for name, module in self.named_modules()
            if isinstance(module, SpikingNeuron) or name.startswith('out_neurons.')
        )
        refuse_misfit(
            self,
            state_dict,
            prefix,
            name=f'{type(self).__name__} backbone',
            hint='is it of another family or width, or its prefix wrong?',
            optional=optional,
        )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
