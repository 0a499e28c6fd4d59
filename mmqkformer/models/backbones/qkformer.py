"""QKFormer: a hierarchical spiking transformer, described as a list of stages."""

import inspect
from collections.abc import Mapping, Sequence
from numbers import Integral

import torch
from mmengine.model import BaseModule, ModuleList
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...checks import check_bool, check_list
from ...layers import SpikingBlock, checkpointed, firing_rates
from ...neurons import SpikingNeuron
from ..spikes import mark_spikes
from ..weights import refuse_misfit
from .arch import expand_arch

_STAGE_KEYS = {'embed', 'block', 'channels', 'depth'}


class SpikingStage(BaseModule):
    """A patch embedding and the blocks behind it."""

    def __init__(self, embed: nn.Module, blocks: Sequence[SpikingBlock], with_cp: bool) -> None:
        super().__init__()
        self.embed = embed
        self.blocks = ModuleList(blocks)
        self.with_cp = with_cp

    def forward(self, x: Tensor, *stem_args: int) -> Tensor:
        """``[T, B, C, H, W] -> [T, B, C', H', W']``; ``stem_args`` go to the embedding."""
        recompute = self.with_cp and torch.is_grad_enabled()
        for i, layer in enumerate((self.embed, *self.blocks)):
            args = (x, *stem_args) if i == 0 else (x,)
            x = checkpointed(layer, *args) if recompute else layer(*args)
        return x


@MODELS.register_module()
class QKFormer(BaseModule):
    """QKFormer (arXiv 2403.16552) and every network that the same graph describes.

    Static images ``[B, C, H, W]`` are shown for ``time_steps`` steps; event frames
    ``[B, T, C, H, W]`` bring their own, which must be as many. Any H and W from the total stride
    upwards will do. The network is stateless, and in eval mode a sample's output does not depend
    on the rest of the batch: in float64 all spikes are equal; in float32 sums round differently in
    batches of different sizes, and a spike near its threshold may flip. What repeats bit for bit
    is a batch of one.

    Args:
        arch (str | dict | None): ``hst-10-384``, ``hst-10-512``, ``hst-10-768`` (ImageNet),
            ``hst-4-384`` (CIFAR), ``hst-2-256`` (events), or a dict, see
            :func:`~mmqkformer.models.backbones.arch.resolve_arch`. Defaults to None.
        stages (Sequence[dict] | None): Instead of ``arch``, the stages themselves, each with
            ``embed`` (config of a patch embedding), ``block`` (``attention`` and ``mlp`` configs),
            ``channels`` and ``depth`` (number of blocks). Defaults to None.
        time_steps (int): Steps T that a static image is shown; can be changed on a trained model.
            Defaults to 4.
        in_channels (int): 3 for images, 2 (polarities) for events. Defaults to 3.
        neuron (dict): Neuron of every layer that does not name its own. Defaults to
            ``dict(type='LIFNeuron', tau=2.0)``.
        norm_cfg (dict): Norm of every layer. Defaults to ``dict(type='BN')``.
        residual (str): ``add`` (spikes are added, the paper) or ``membrane`` (neuron first in
            every branch). Defaults to ``add``.
        drop_path_rate (float): Stochastic depth of the last block, growing linearly from 0 at the
            first. Defaults to 0.0.
        out_indices (Sequence[int]): Stages whose output is returned. Defaults to the last.
        out (str): ``rates``, means over time ``[B, C, H, W]`` that any stock neck or head takes,
            or ``spikes``, ``[T, B, C, H, W]``. Defaults to ``rates``.
        frozen_stages (int): -1 freezes nothing, 0 the stem, i >= 1 the first i stages. Defaults
            to -1.
        norm_eval (bool): Whether norms stay in eval mode in training. Defaults to False.
        with_cp (bool | Sequence[bool]): Activation checkpointing, for all stages or for each.
            Defaults to False.
        release_batch_leak (bool): Reproduces the public release, in which the neuron behind each
            spiking self attention leaks from one image of the batch into the next. Defaults to
            False.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None: PyTorch's, as in
            the release.

    Raises:
        ValueError: A value is out of range; the message names key, value and what was expected.
    """

    def __init__(
        self,
        arch: str | dict | None = None,
        stages: Sequence[dict] | None = None,
        time_steps: int = 4,
        in_channels: int = 3,
        neuron: dict | None = None,
        norm_cfg: dict | None = None,
        residual: str = 'add',
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (-1,),
        out: str = 'rates',
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool | Sequence[bool] = False,
        release_batch_leak: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if (arch is None) == (stages is None):
            raise ValueError('backbone: expected either arch or stages')
        if out not in ('rates', 'spikes'):
            raise ValueError(f"backbone.out={out!r}: expected 'rates' or 'spikes'")
        stages = expand_arch(arch) if stages is None else stages
        if not isinstance(stages, Sequence) or not stages:
            raise ValueError(f'backbone.stages={stages!r}: expected a list of at least one stage')
        neuron = dict(type='LIFNeuron', tau=2.0) if neuron is None else neuron
        norm_cfg = dict(type='BN') if norm_cfg is None else norm_cfg
        self.time_steps = time_steps
        self.in_channels = in_channels
        self.out = out
        self.norm_eval = check_bool('norm_eval', norm_eval)
        check_bool('release_batch_leak', release_batch_leak)
        depths = [self._check_stage(i, stage)['depth'] for i, stage in enumerate(stages)]
        last = max(sum(depths) - 1, 1)
        drop_paths = iter([drop_path_rate * i / last for i in range(sum(depths))])
        self.out_indices = self._check_out_indices(out_indices, len(stages))
        if not -1 <= frozen_stages <= len(stages):
            raise ValueError(f'frozen_stages={frozen_stages!r}: expected -1 to {len(stages)}')
        self.frozen_stages = frozen_stages
        with_cp = [with_cp] * len(stages) if isinstance(with_cp, bool) else with_cp
        recompute = check_list('with_cp', with_cp, check_bool, length=len(stages))
        # A stage that nobody asked for would hold parameters without gradient.
        stages = stages[: max(self.out_indices) + 1]
        self.depths = depths[: len(stages)]

        common = dict(neuron=neuron, norm_cfg=norm_cfg, residual=residual)
        self.stages = ModuleList()
        self.strides: list[int] = []
        for i, stage in enumerate(stages):
            embed = MODELS.build(
                {
                    **common,
                    **stage['embed'],
                    'in_channels': in_channels,
                    'embed_dims': stage['channels'],
                }
            )
            blocks = [
                SpikingBlock(
                    stage['channels'],
                    drop_path=next(drop_paths),
                    release_batch_leak=release_batch_leak,
                    **{**common, **stage['block']},
                )
                for _ in range(stage['depth'])
            ]
            self.stages.append(SpikingStage(embed, blocks, recompute[i]))
            self.strides.append((self.strides[-1] if i else 1) * embed.stride)
            in_channels = stage['channels']
        stem = self.stages[0].embed
        if 'copies' not in inspect.signature(stem.forward).parameters:
            raise ValueError(
                f'stages[0].embed.type={type(stem).__name__!r}: expected a stem, such as '
                f"'PEDSStem' or 'SPS'"
            )
        self.channels = [stage['channels'] for stage in stages]
        # Spikes and rates need a neuron where the stream is a membrane potential.
        self.out_neurons = nn.ModuleDict(
            {str(i): MODELS.build(neuron) for i in self.out_indices if residual == 'membrane'}
        )
        self._freeze()

    @staticmethod
    def _check_stage(i: int, stage: dict) -> dict:
        if not isinstance(stage, dict) or set(stage) - {'block'} != _STAGE_KEYS - {'block'}:
            raise ValueError(
                f'stages[{i}]={stage!r}: expected a dict of {sorted(_STAGE_KEYS)} '
                f'(block may be left out where depth is 0)'
            )
        block = stage.get('block', {})
        if block and not {'attention', 'mlp'} <= set(block):
            raise ValueError(f'stages[{i}].block={block!r}: expected attention and mlp')
        if stage['depth'] < 0 or (stage['depth'] > 0 and 'block' not in stage):
            raise ValueError(f'stages[{i}].depth={stage["depth"]!r}: expected 0, or a block')
        return stage

    @staticmethod
    def _check_out_indices(out_indices: Sequence[int], stages: int) -> tuple[int, ...]:
        if isinstance(out_indices, int):
            raise ValueError(f'out_indices={out_indices!r}: expected a list, ({out_indices},)')
        if not out_indices or any(not -stages <= i < stages for i in out_indices):
            raise ValueError(
                f'out_indices={tuple(out_indices)!r}: expected stages, {-stages} to {stages - 1}'
            )
        return tuple(i % stages for i in out_indices)

    @property
    def time_steps(self) -> int:
        """Steps T of a forward pass; may be set on a trained model."""
        return self._time_steps

    @time_steps.setter
    def time_steps(self, time_steps: int) -> None:
        if isinstance(time_steps, bool) or not isinstance(time_steps, Integral) or time_steps < 1:
            raise ValueError(f'time_steps={time_steps!r}: expected an integer of at least 1')
        self._time_steps = int(time_steps)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Runs the network.

        Args:
            x (Tensor): Images ``[B, C, H, W]`` or event frames ``[B, T, C, H, W]``.

        Returns:
            tuple[Tensor, ...]: One entry for each of ``out_indices``, ``[B, C_i, H_i, W_i]`` or
            ``[T, B, C_i, H_i, W_i]``, with ``H_i = ceil(H / strides[i])``.

        Raises:
            ValueError: Wrong number of axes, channels or steps, or an input below the minimum.
        """
        self._check_input(x)
        static = x.dim() == 4
        # [1, B, C, H, W] stands for T equal steps; [B, T, C, H, W] -> [T, B, C, H, W]
        x = x.unsqueeze(0) if static else x.transpose(0, 1)
        outputs = {}
        for i, stage in enumerate(self.stages):
            x = stage(x, *((self.time_steps if static else 1,) if i == 0 else ()))
            if i in self.out_indices:
                outputs[i] = self._output(x, str(i))
        return tuple(outputs[i] for i in self.out_indices)

    def _output(self, x: Tensor, stage: str) -> Tensor:
        if stage in self.out_neurons:
            x = self.out_neurons[stage](x)
        if self.out == 'spikes':
            return mark_spikes(x)
        # Of the weights' type, which a stock head of the same model has too
        return firing_rates(x).to(next(self.parameters()).dtype)

    def _check_input(self, x: Tensor) -> None:
        if x.dim() not in (4, 5):
            raise ValueError(
                f'input of shape {list(x.shape)}: expected images [B, C, H, W] or event frames '
                f'[B, T, C, H, W]'
            )
        if not x.is_floating_point():
            raise ValueError(
                f'input of {x.dtype}: expected floating-point numbers, as a data preprocessor gives'
            )
        if x.size(-3) != self.in_channels:
            raise ValueError(
                f'input of shape {list(x.shape)} has {x.size(-3)} channels: expected '
                f'in_channels={self.in_channels}'
            )
        if x.dim() == 5 and x.size(1) != self.time_steps:
            raise ValueError(
                f'event input of shape {list(x.shape)} has {x.size(1)} time steps: expected '
                f'time_steps={self.time_steps}'
            )
        if min(x.shape[-2:]) < self.strides[-1]:
            raise ValueError(
                f'input of {x.size(-2)} x {x.size(-1)} pixels: expected at least '
                f'{self.strides[-1]} x {self.strides[-1]}, the total stride'
            )

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages == 0:
            return [self.stages[0].embed]
        return list(self.stages[: max(self.frozen_stages, 0)])

    def _freeze(self) -> None:
        for module in self._frozen_modules():
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> 'QKFormer':
        """Sets the mode; frozen stages (and, with ``norm_eval``, all norms) stay in eval mode."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
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
            name='QKFormer backbone',
            hint='is it of another family or width, or its prefix wrong?',
            optional=optional,
        )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
