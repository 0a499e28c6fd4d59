"""The graph: any spiking network, described as a list of stages."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from mmengine.model import BaseModule, ModuleList
from mmengine.registry import MODELS
from torch import Tensor, nn

from ...build import build_part, config_errors, inside
from ...checks import check_bool, check_int, check_keys, check_list, check_number, check_str
from ...layers import SpikingBlock, checkpointed, mean_over_time
from ...layers.conv import MAX_CHANNELS, check_defaults
from ...layers.residual import check_residual
from ...layers.time import with_gradient_in_format
from ...neurons import SpikingNeuron
from ...saved import MEMORY, saving
from ..archs import expand_arch
from ..archs.registry import MAX_DEPTH
from ..quantised import QuantisedPart
from ..spikes import mark_spikes
from .loading import GuardedWeights
from .training import StageTraining

_STAGE_KEYS = ('embed', 'block', 'channels', 'depth')
_STREAMS = ('spikes', 'sums', 'membrane')
# Longer than any network runs; what is above is a slip
_MAX_TIME_STEPS = 2**12


class SpikingStage(BaseModule):
    """A patch embedding and the blocks behind it.

    ``stride`` is its down-sampling; ``stream`` tells what leaves it: ``spikes``, ``sums`` of them
    or a ``membrane``.
    """

    def __init__(self, embed: nn.Module, blocks: Sequence[SpikingBlock], with_cp: bool) -> None:
        super().__init__()
        self.embed = embed
        self.blocks = ModuleList(blocks)
        self.with_cp = with_cp
        self.stride: int = embed.stride
        self.stream: str = blocks[-1].stream if blocks else embed.stream

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W] -> [T, B, C', H', W']``."""
        recompute = self.with_cp and torch.is_grad_enabled()
        for layer in (self.embed, *self.blocks):
            x = checkpointed(layer, x) if recompute else layer(x)
        return x


@MODELS.register_module()
class SpikingBackbone(GuardedWeights, QuantisedPart, StageTraining):
    """A spiking network for images and events: stages of an embedding and residual blocks.

    Static images ``[B, C, H, W]`` are shown for ``time_steps`` steps; event frames
    ``[B, T, C, H, W]`` bring their own, which must be as many. Any H and W from the total stride
    upwards will do. The network is stateless, and in eval mode a sample's output does not depend
    on the rest of the batch: in float64 all spikes are equal; in float32 sums round differently in
    batches of different sizes, and a spike near its threshold may flip. What repeats bit for bit
    is a batch of one.

    Args:
        arch (str | dict | None): A name of :data:`~mmqkformer.models.ARCHITECTURES`, or a dict of
            ``base``, such a name, and what is to differ. Defaults to None.
        stages (Sequence[dict] | None): Instead of ``arch``, the stages themselves, each with
            ``embed`` (config of an embedding, such as :class:`~mmqkformer.layers.ConvEmbed`),
            ``channels``, ``depth`` (number of blocks) and ``block`` (a list of branches, or
            ``dict(attention=..., mlp=...)``; see :class:`~mmqkformer.layers.SpikingBlock`).
            Defaults to None.
        time_steps (int): Steps T that a static image is shown; can be changed on a trained model.
            Defaults to 4.
        in_channels (int): 3 for images, 2 (polarities) for events. Defaults to 3.
        neuron (dict | None): Neuron of every layer that does not name its own. Defaults to None,
            ``dict(type='LIFNeuron', tau=2.0)``.
        norm_cfg (dict | None): Norm of every layer. Defaults to None, ``dict(type='BN')``.
        residual (str): Of embeddings and branches that do not name their own: ``add`` (spikes are
            added) or ``membrane`` (neuron first in every branch). Defaults to ``add``.
        drop_path_rate (float): Stochastic depth of the last block, growing linearly from 0 at the
            first. Defaults to 0.0.
        out_indices (Sequence[int]): Stages whose output is returned. Defaults to the last.
        out (str): ``rates``, means of the spikes over time ``[B, C, H, W]`` that any stock neck or
            head takes; ``spikes``, ``[T, B, C, H, W]``; or ``stream``, of the same shape, what the
            stage hands on. Where that is a membrane, rates and spikes are those of a neuron on it.
            Defaults to ``rates``.
        frozen_stages (int): -1 freezes nothing, 0 the stem, i >= 1 the first i stages. Defaults
            to -1.
        norm_eval (bool): Whether norms stay in eval mode in training. Defaults to False.
        with_cp (bool | Sequence[bool]): Activation checkpointing, for all stages or for each.
            Defaults to False.
        memory (str | None): What is kept for the backward pass; gradients are the same to the last
            bit. ``packed``: spikes in bits, and neither the norms' outputs nor the potentials,
            which are computed again; ``recompute``: nor the convolutions' outputs. Of a stage with
            ``with_cp`` the inputs of its layers are kept, in bits. A compiled graph decides by
            itself what it keeps. Defaults to None: all that autograd saves.
        channels_last (bool): Whether weights, and so all feature maps, lie channels last in memory,
            as convolutions and pools compute fastest on CPUs. Defaults to False.
        quant (dict | None): Quantisation of all weights, ``dict(type='LSQ', bits=4)``. Defaults to
            None: float weights.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None: PyTorch's, as in
            the release.

    Raises:
        ConfigError: A key or value is wrong; the message is its path, from ``backbone`` on, the
            value and what was expected.
    """

    # Family that a dict without ``base`` describes; None: it has to name one
    family: str | None = None

    @config_errors('backbone')
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
        memory: str | None = None,
        channels_last: bool = False,
        quant: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if (arch is None) == (stages is None):
            raise ValueError('expected either arch or stages')
        self.out = check_str('out', out, ('rates', 'spikes', 'stream'))
        stages = expand_arch(arch, self.family) if stages is None else stages
        if not isinstance(stages, (list, tuple)) or not stages:
            raise ValueError(f'stages={stages!r}: expected a list of at least one stage')
        neuron = dict(type='LIFNeuron', tau=2.0) if neuron is None else neuron
        norm_cfg = dict(type='BN') if norm_cfg is None else norm_cfg
        self.in_channels = check_int('in_channels', in_channels, 1, MAX_CHANNELS)
        check_residual(residual)
        check_defaults(neuron, norm_cfg)
        check_number('drop_path_rate', drop_path_rate, low=0, below=1)
        self.out_indices = _check_out_indices(out_indices, len(stages))
        check_int('frozen_stages', frozen_stages, -1, len(stages))
        with_cp = [with_cp] * len(stages) if isinstance(with_cp, bool) else with_cp
        recompute = check_list('with_cp', with_cp, check_bool, length=len(stages))
        self.memory = None if memory is None else check_str('memory', memory, MEMORY)
        depths = [_check_stage(f'stages[{i}]', stage) for i, stage in enumerate(stages)]
        last = max(sum(depths) - 1, 1)
        drop_paths = iter([drop_path_rate * i / last for i in range(sum(depths))])
        # A stage that nobody asked for would hold parameters without gradient.
        stages = stages[: max(self.out_indices) + 1]
        self.depths = depths[: len(stages)]
        self.channels = [stage['channels'] for stage in stages]

        common = dict(neuron=neuron, norm_cfg=norm_cfg, residual=residual)
        self.stages = ModuleList()
        for i, stage in enumerate(stages):
            before = self.stages[-1].stream if i else None
            with inside(f'stages[{i}]', stage):
                self.stages.append(
                    _build_stage(stage, in_channels, before, drop_paths, recompute[i], **common)
                )
            in_channels = stage['channels']
        self.strides: list[int] = []
        for stage in self.stages:
            self.strides.append((self.strides[-1] if self.strides else 1) * stage.stride)
        # Spikes and rates need a neuron where the stream is a membrane potential
        self.out_neurons = nn.ModuleDict(
            {
                str(i): build_part('neuron', neuron, SpikingNeuron)
                for i in self.out_indices
                if out != 'stream' and self.stages[i].stream == 'membrane'
            }
        )
        self.time_steps = time_steps
        self.quantise(quant, self, 'backbone')
        self.set_frozen(frozen_stages, norm_eval)
        if check_bool('channels_last', channels_last):
            self.to(memory_format=torch.channels_last)

    @property
    def time_steps(self) -> int:
        """Steps T of a forward pass; may be set on a trained model."""
        return self._time_steps

    @time_steps.setter
    def time_steps(self, time_steps: int) -> None:
        time_steps = check_int('time_steps', time_steps, 1, _MAX_TIME_STEPS)
        for name, neuron in self.named_modules() if time_steps > 1 else ():
            if isinstance(neuron, SpikingNeuron) and not neuron.time_axis:
                raise ValueError(
                    f'time_steps={time_steps!r}: expected 1, as the network has no time axis '
                    f'({name}, {type(neuron).__name__}, takes one step)'
                )
        self._time_steps = time_steps

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
        # An image is T equal steps in the memory of one, which layers compute once
        x = x.expand(self.time_steps, *x.shape) if x.dim() == 4 else x.transpose(0, 1)
        compiling = torch.compiler.is_compiling()
        if self.memory is None or compiling or not torch.is_grad_enabled():
            return self._run(x)
        with saving(self.memory, self):
            return self._run(x)

    def _run(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs = {}
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.out_indices:
                outputs[i] = self._output(with_gradient_in_format(x), str(i))
        return tuple(outputs[i] for i in self.out_indices)

    def _output(self, x: Tensor, stage: str) -> Tensor:
        if stage in self.out_neurons:
            x = self.out_neurons[stage](x)
        if self.out != 'rates':
            return mark_spikes(x)
        # Of the weights' type, which a stock head of the same model has too
        return mean_over_time(x).to(next(self.parameters()).dtype)

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


def _check_out_indices(out_indices: Sequence[int], stages: int) -> tuple[int, ...]:
    if isinstance(out_indices, int):
        raise ValueError(f'out_indices={out_indices!r}: expected a list, ({out_indices},)')
    check_list('out_indices', out_indices, check_int, low=-stages, high=stages - 1)
    if not out_indices:
        raise ValueError(f'out_indices={out_indices!r}: expected at least one stage')
    return tuple(i % stages for i in out_indices)


def _check_stage(path: str, stage: dict) -> int:
    """The depth of a stage with all its keys and no others."""
    check_keys(path, stage, _STAGE_KEYS, 'a stage')
    missing = sorted({'embed', 'channels', 'depth'} - set(stage))
    if missing:
        raise ValueError(f'{path}={stage!r}: expected {missing} too')
    check_int(f'{path}.channels', stage['channels'], 1, MAX_CHANNELS)
    depth = check_int(f'{path}.depth', stage['depth'], 0, MAX_DEPTH)
    if depth and 'block' not in stage:
        raise ValueError(f'{path}={stage!r}: expected a block too, or depth=0')
    return depth


def _in_stream(embed: object, before: str | None) -> dict[str, str]:
    """What an embedding is told of the stream in front: nothing of images and events."""
    if before is None:
        return {}
    # Sums are as good as spikes
    found = 'membrane' if before == 'membrane' else 'spikes'
    given = embed.get('in_stream', found) if isinstance(embed, Mapping) else found
    if given != found:
        raise ValueError(
            f'embed.in_stream={given!r}: expected {found!r}, which the stage in front hands on'
        )
    return dict(in_stream=found)


def _build_stage(
    stage: dict,
    in_channels: int,
    before: str | None,
    drop_paths: Iterator[float],
    with_cp: bool,
    neuron: dict,
    norm_cfg: dict,
    residual: str,
) -> SpikingStage:
    channels = stage['channels']
    embed = build_part(
        'embed',
        stage['embed'],
        nn.Module,
        fixed=dict(in_channels=in_channels, embed_dims=channels),
        neuron=neuron,
        norm_cfg=norm_cfg,
        residual=residual,
        **_in_stream(stage['embed'], before),
    )
    check_int('embed.stride', getattr(embed, 'stride', None), 1)
    stream = check_str('embed.stream', getattr(embed, 'stream', None), _STREAMS)
    blocks = []
    for _ in range(stage['depth']):
        block = SpikingBlock(
            channels,
            stage['block'],
            neuron=neuron,
            norm_cfg=norm_cfg,
            residual=residual,
            drop_path=next(drop_paths),
            in_stream=stream,
        )
        stream = block.stream
        blocks.append(block)
    return SpikingStage(embed, blocks, with_cp)
