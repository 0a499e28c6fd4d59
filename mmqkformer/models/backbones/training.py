"""How a backbone of stages is trained: what is frozen, and how deep a layer lies."""

from mmengine.model import BaseModule
from torch import nn

from ...checks import check_bool
from ...layers.running_rate import RUNNING


class StageTraining(BaseModule):
    """For backbones with ``stages`` (of ``embed`` and ``blocks``) and ``depths``."""

    def set_frozen(self, frozen_stages: int, norm_eval: bool) -> None:
        """Freezes what is not to be trained; called once the stages are built.

        Args:
            frozen_stages (int): -1 freezes nothing, 0 the stem, i >= 1 the first i stages.
            norm_eval (bool): Whether norms, and running rates, stay in eval mode in training.
        """
        self.frozen_stages = frozen_stages
        self.norm_eval = check_bool('norm_eval', norm_eval)
        self._freeze()

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages == 0:
            return [self.stages[0].embed]
        return list(self.stages[: max(self.frozen_stages, 0)])

    def _freeze(self) -> None:
        for module in self._frozen_modules():
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> 'StageTraining':
        """Sets the mode; frozen stages (and, with ``norm_eval``, all norms) stay in eval mode."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, RUNNING):
                    module.eval()
        return self

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter, for layer-wise learning-rate decay.

        Args:
            param_name (str): Name of the parameter in the model.
            prefix (str): Prefix of the backbone in the model. Defaults to ''.

        Returns:
            tuple[int, int]: The depth (0 for the stem, then one a block; a PEDS counts with the
            first block behind it) and the number of depths, the last of which is what follows the
            backbone.
        """
        num_layers = sum(self.depths) + 2
        if not param_name.startswith(prefix + 'stages.'):
            return num_layers - 1, num_layers
        _, stage, part, *rest = param_name[len(prefix) :].split('.')
        before = sum(self.depths[: int(stage)])
        if part == 'embed':
            depth = 0 if stage == '0' else min(before + 1, num_layers - 2)
        else:
            depth = before + int(rest[0]) + 1
        return depth, num_layers
