"""Peak memory of a training step, counted on tensors that have a shape but no data."""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import AmpOptimWrapper, build_optim_wrapper
from mmengine.registry import HOOKS, MODELS, OPTIM_WRAPPERS, DefaultScope
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from .batches import sample_shape, training_batch, training_size
from .live_bytes import LiveBytes

_PRODUCTS = {
    torch.ops.aten.addmm.default,
    torch.ops.aten.convolution.default,
    torch.ops.aten.convolution_backward.default,
    torch.ops.aten.mm.default,
}


@dataclass
class TrainingMemory:
    """What a GPU holds at the moment of a training step when it holds most.

    Attributes:
        parts (dict[str, int]): Bytes of ``parameters``; ``buffers``; ``gradients``; ``optimizer``,
            its states; ``average``, the copy of the model that an ``EMAHook`` keeps; ``buckets``,
            in which data parallelism reduces the gradients; ``saved``, what the forward pass left
            for the backward pass, the batch included; ``working``, all else that is alive then.
        size (tuple[int, int]): Height and width of the images.
        gpus (int): Number of GPUs.
        images (int): Images of a GPU's micro-batch.
        micro_batches (int): Micro-batches of an optimizer step.
        checkpointing (bool): Whether the backbone recomputes activations.
        memory (str | None): The backbone's ``memory``.
    """

    parts: dict[str, int]
    size: tuple[int, int]
    gpus: int
    images: int
    micro_batches: int
    checkpointing: bool
    memory: str | None = None

    @property
    def total(self) -> int:
        """The peak, in bytes."""
        return sum(self.parts.values())


def training_memory(
    cfg: Config, size: tuple[int, int] | None = None, gpus: int | None = None
) -> TrainingMemory:
    """Counts the peak memory of a training step on one GPU.

    The model of the config is run forwards, backwards and through the optimizer on tensors without
    data, as a GPU would run it but for what no operator returns: workspaces inside of kernels, the
    CUDA context, and what the allocator loses to fragmentation. Behind the neck, detectors are run
    with data, all products zeros, since what their losses select depends on values. A teacher is
    not counted.

    Args:
        cfg (Config): A config of mmpretrain, mmdet or mmseg.
        size (tuple[int, int] | None): Height and width of the images. Defaults to None, what the
            training pipeline makes.
        gpus (int | None): Number of GPUs. Defaults to None, as many as make the effective batch
            ``auto_scale_lr.base_batch_size``.

    Raises:
        ValueError: Size or number of GPUs is not given, and the config does not tell it.
    """
    size = training_size(cfg) if size is None else tuple(size)
    gpus = _gpus(cfg) if gpus is None else gpus
    images = cfg.train_dataloader.batch_size
    micro_batches = cfg.optim_wrapper.get('accumulative_counts', 1)
    scope = cfg.get('default_scope', 'mmengine')
    with DefaultScope.overwrite_default_scope(scope), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _build_model(cfg)
        live = LiveBytes()
        # Augmentations of a batch are over before the forward pass begins
        batch = training_batch(scope, sample_shape(model, size), images)
        batch = model.data_preprocessor(batch, False)
        batch['inputs'] = _strip_of_data(model, live).from_tensor(batch['inputs'])
        optimizer = _build_optimizer(model, cfg)
        kept = _label_what_stays(live, model, cfg, gpus)
        with _Shortcuts(), live:
            _step(live, model, optimizer)
            if micro_batches == 1:
                optimizer.zero_grad()
            _pass(live, model, batch, _autocast(cfg))
        del kept
    backbone = cfg.model.get('backbone', {})
    with_cp = backbone.get('with_cp', False)
    checkpointing = any(with_cp) if isinstance(with_cp, (list, tuple)) else bool(with_cp)
    # Nothing is left yet where the peak is within the forward pass
    parts = {'saved': 0, **live.peak}
    memory = backbone.get('memory')
    return TrainingMemory(parts, size, gpus, images, micro_batches, checkpointing, memory)


def micro_batches(
    cfg: Config,
    checkpointing: bool,
    size: tuple[int, int] | None = None,
    gpus: int | None = None,
    known: TrainingMemory | None = None,
) -> Iterator[TrainingMemory]:
    """Counts the micro-batches that make the same optimizer step, the largest first.

    Args:
        cfg (Config): As in :func:`training_memory`; a GPU goes on taking as many images per
            optimizer step.
        checkpointing (bool): Whether the backbone recomputes activations.
        size (tuple[int, int] | None): As in :func:`training_memory`.
        gpus (int | None): As in :func:`training_memory`.
        known (TrainingMemory | None): What was counted of the config already, not to count it
            again. Defaults to None.

    Yields:
        TrainingMemory: One for each divisor of a GPU's images per optimizer step.
    """
    cfg = copy.deepcopy(cfg)
    if cfg.model.backbone.get('with_cp', False) is not checkpointing:
        known = None
    cfg.model.backbone.with_cp = checkpointing
    images = cfg.train_dataloader.batch_size * cfg.optim_wrapper.get('accumulative_counts', 1)
    for divisor in (n for n in range(images, 0, -1) if images % n == 0):
        cfg.train_dataloader.batch_size = divisor
        cfg.optim_wrapper.accumulative_counts = images // divisor
        counted = known is not None and known.images == divisor
        yield known if counted else training_memory(cfg, size, gpus)


def _gpus(cfg: Config) -> int:
    base = cfg.get('auto_scale_lr', {}).get('base_batch_size')
    images = cfg.train_dataloader.batch_size * cfg.optim_wrapper.get('accumulative_counts', 1)
    if base is None or base % images:
        raise ValueError(
            f'auto_scale_lr.base_batch_size={base!r}: expected a multiple of the {images} images '
            'of a GPU and optimizer step, to tell the number of GPUs; or give it: --gpus N'
        )
    return base // images


def _build_model(cfg: Config) -> nn.Module:
    model = copy.deepcopy(cfg.model)
    if cfg.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    # On one process they do and keep the same, but run on the CPU too
    model = revert_sync_batchnorm(MODELS.build(model)).train()
    if hasattr(model, 'teacher'):
        # Its weights may not be at hand; what it leaves is a label an image
        model.teacher = lambda images: images.new_zeros(images.size(0), dtype=torch.long)
    return model


def _strip_of_data(model: nn.Module, live: LiveBytes) -> FakeTensorMode:
    """Leaves the shapes of the parameters, behind the neck of a detector also data."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    if not any(hasattr(model, head) for head in ('rpn_head', 'roi_head', 'bbox_head')):
        model._apply(mode.from_tensor)
        return mode
    last = model.neck if model.with_neck else model.backbone
    for part in {model.backbone, last}:
        part._apply(mode.from_tensor)
    last.register_forward_hook(
        lambda module, args, features: tuple(_Data.apply(x, mode, live) for x in features)
    )
    return mode


class _Data(torch.autograd.Function):
    """Gives a tensor without data zeros, and takes the data from its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mode: FakeTensorMode, live: LiveBytes) -> Tensor:
        ctx.mode, ctx.live = mode, live
        y = torch.from_numpy(np.zeros(x.shape, np.float32)).to(x.dtype)
        live.alias(y, x.detach())
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        fake = ctx.mode.from_tensor(grad)
        ctx.live.alias(fake, grad)
        return fake, None, None


class _Shortcuts(TorchDispatchMode):
    """Ways round what needs values, or two of them.

    Where some tensors have data, products are zeros and known masks select from the others.
    """

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in _PRODUCTS and not _fake(args[0]):
            shapes = func(*tree_map_only(Tensor, lambda x: x.to('meta'), args), **kwargs)
            return tree_map_only(Tensor, lambda x: torch.zeros_like(x, device='cpu'), shapes)
        if func is torch.ops.aten.index.Tensor and _fake(args[0]):
            indices = []
            for index in args[1]:
                known = index is not None and index.dtype == torch.bool and not _fake(index)
                indices += index.nonzero().unbind(1) if known else [index]
            args = args[0], indices
        trains_a_norm = func is torch.ops.aten.native_batch_norm.default and args[5]
        if trains_a_norm and args[0].numel() == args[0].size(1):
            args = (*args[:3], None, None, *args[5:])  # no running statistics of a single value
        return func(*args, **kwargs)


def _fake(tensor: Tensor) -> bool:
    return isinstance(tensor, FakeTensor)


def _build_optimizer(model: nn.Module, cfg: Config) -> torch.optim.Optimizer:
    keys = ('optimizer', 'paramwise_cfg', 'constructor')
    wrapper = {
        key: copy.deepcopy(cfg.optim_wrapper[key]) for key in keys if key in cfg.optim_wrapper
    }
    optimizer = build_optim_wrapper(model, dict(wrapper, type='OptimWrapper')).optimizer
    for group in optimizer.param_groups:
        # What PyTorch chooses on a GPU
        if group.get('foreach', False) is None and not group.get('fused'):
            group['foreach'] = True
    return optimizer


def _label_what_stays(live: LiveBytes, model: nn.Module, cfg: Config, gpus: int) -> list[Tensor]:
    """Counts the model and its copies; returns the copies."""
    parameters, buffers = list(model.parameters()), list(model.buffers())
    trained = [p for p in parameters if p.requires_grad]
    hooks = [HOOKS.get(hook['type']) for hook in cfg.get('custom_hooks') or []]
    averages = sum(issubclass(hook, EMAHook) for hook in hooks)
    average = [torch.empty_like(x) for _ in range(averages) for x in parameters + buffers]
    views = (cfg.get('model_wrapper_cfg') or {}).get('gradient_as_bucket_view', False)
    buckets = [torch.empty_like(p) for p in trained] if gpus > 1 and not views else []
    for tensors, name in (
        (parameters, 'parameters'),
        (buffers, 'buffers'),
        (average, 'average'),
        (buckets, 'buckets'),
    ):
        live.label(tensors, name)
    for parameter in trained:
        parameter.register_post_accumulate_grad_hook(lambda p: live.label([p.grad], 'gradients'))
    return average + buckets


def _step(live: LiveBytes, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """A first optimizer step, which makes the states."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
            live.label([parameter.grad], 'gradients')
    optimizer.step()
    states = (x for state in optimizer.state.values() for x in state.values())
    live.label((x for x in states if isinstance(x, Tensor)), 'optimizer')


def _autocast(cfg: Config) -> AbstractContextManager:
    wrapper = OPTIM_WRAPPERS.get(cfg.optim_wrapper.get('type', 'OptimWrapper'))
    if not issubclass(wrapper, AmpOptimWrapper):
        return nullcontext()
    return torch.autocast('cpu', getattr(torch, cfg.optim_wrapper.get('dtype') or 'float16'))


def _pass(live: LiveBytes, model: nn.Module, batch: dict, autocast: AbstractContextManager) -> None:
    """Forwards and backwards."""
    # Tensors without data cannot be marked as spikes; over several GPUs norms take a single value
    unmarked = mock.patch.object(FakeTensor, 'as_subclass', lambda x, cls: x, create=True)
    one_value = mock.patch.object(functional, '_verify_batch_size')
    with unmarked, one_value:
        with autocast:
            losses = model(**batch, mode='loss')
        loss, _ = model.parse_losses(losses)
        del losses
        live.label_working('saved')
        loss.backward()
