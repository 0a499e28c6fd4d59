"""QKFormer (NeurIPS 2024): hierarchical spiking transformers with Q-K attention."""

from collections.abc import Mapping, Sequence

from mmengine.registry import MODELS

from ...build import config_errors
from ...checks import check_bool
from ...layers import SpikingSelfAttention
from ..archs import expand_arch
from .spiking_backbone import SpikingBackbone


@MODELS.register_module()
class QKFormer(SpikingBackbone):
    """QKFormer (arXiv 2403.16552): a :class:`SpikingBackbone` with its architectures.

    Images ``[B, C, H, W]`` or event frames ``[B, T, C, H, W]`` in, a tuple of features out.

    Args:
        arch (str | dict | None): ``hst-10-384``, ``hst-10-512``, ``hst-10-768`` (ImageNet),
            ``hst-4-384`` (CIFAR), ``hst-2-256`` (events), or a dict of all arguments of
            :func:`~mmqkformer.models.archs.qkformer.hst`, or of ``base``, a name, and what is to
            differ. Defaults to None.
        release_batch_leak (bool): Reproduces the public release, in which the neuron behind each
            spiking self attention leaks from one image of the batch into the next: short for
            ``out_neuron=dict(type='BatchLeakingNeuron', neuron=...)`` in these branches. Defaults
            to False.
        **kwargs: Arguments of :class:`SpikingBackbone`.

    Raises:
        ConfigError: A key or value is wrong, see :class:`SpikingBackbone`.
    """

    family = 'hst'

    @config_errors('backbone')
    def __init__(
        self,
        arch: str | dict | None = None,
        stages: Sequence[dict] | None = None,
        release_batch_leak: bool = False,
        **kwargs,
    ) -> None:
        if check_bool('release_batch_leak', release_batch_leak):
            if kwargs.get('residual', 'add') != 'add':
                raise ValueError("release_batch_leak=True: expected residual='add', the release's")
            neuron = kwargs.get('neuron') or dict(type='LIFNeuron', tau=2.0)
            if stages is None and arch is not None:
                arch, stages = None, expand_arch(arch, self.family)
            # What is no list or no stage is left for the backbone to refuse
            if isinstance(stages, (list, tuple)):
                stages = [_with_leak(stage, neuron) for stage in stages]
        super().__init__(arch, stages, **kwargs)


def _with_leak(stage: object, neuron: dict) -> object:
    """The stage with a leaking neuron behind each of its spiking self attentions."""
    block = stage.get('block') if isinstance(stage, Mapping) else None
    if isinstance(block, Mapping):
        # In the short form a neuron that the attention names is that of its layers only
        neuron = block.get('neuron', neuron)
        return {**stage, 'block': {k: _leaking(v, neuron) for k, v in block.items()}}
    if isinstance(block, (list, tuple)):
        return {**stage, 'block': [_leaking(v, _named(v).get('neuron', neuron)) for v in block]}
    return stage


def _named(branch: object) -> Mapping:
    return branch if isinstance(branch, Mapping) else {}


def _leaking(branch: object, neuron: dict) -> object:
    if _named(branch).get('type') not in ('SpikingSelfAttention', SpikingSelfAttention):
        return branch
    inner = branch.get('out_neuron', neuron)
    return {**branch, 'out_neuron': dict(type='BatchLeakingNeuron', neuron=inner)}
