"""Running statistics for weights that were averaged, not trained: BatchNorm's, and rates."""

import copy
from collections.abc import Sized

import torch
from mmengine.dist import all_reduce_params, get_dist_info
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import DataLoader

from ..datasets.samplers import SeededIndex
from ..datasets.seeding import STATISTICS, seeded
from ..layers.running_rate import RUNNING

# Of the subset and its augmentation: one for all runs, epochs and processes
_SEED = 0
_BATCHES_PER_LOG = 50


def subset_indices(dataset: Sized, num_samples: int) -> list[SeededIndex]:
    """The samples that this process estimates statistics on, the same ones at every call.

    Args:
        dataset (Sized): Training data.
        num_samples (int): Samples for all processes together; at most those of the data set.

    Returns:
        list[SeededIndex]: Equally many for each process. Seed and epoch are fixed, so that
        ``SeedSample`` augments a sample alike every time.
    """
    rank, world_size = get_dist_info()
    share = max(min(num_samples, len(dataset)) // world_size, 1)
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(_SEED))
    mine = order[rank * share : (rank + 1) * share]
    return [SeededIndex(index, _SEED, 0) for index in mine.tolist()]


def subset_loader(loader: DataLoader, num_samples: int) -> DataLoader:
    """A loader of a fixed subset, which leaves the training's own loader and sampler alone.

    Args:
        loader (DataLoader): Loader of the training data; its batch size, transforms, collate
            function and number of workers are taken over.
        num_samples (int): See :func:`subset_indices`; rounded down to whole batches, at least one.

    Returns:
        DataLoader: Loader with as many batches for every process.
    """
    indices = subset_indices(loader.dataset, num_samples)
    batch_size = min(loader.batch_sampler.batch_size, len(indices))
    return DataLoader(
        loader.dataset,
        batch_size=batch_size,
        sampler=indices[: len(indices) // batch_size * batch_size],
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
        generator=torch.Generator().manual_seed(_SEED),
    )


def statistics_layers(model: nn.Module) -> list[nn.Module]:
    """Layers that training gives statistics to: BatchNorm, SyncBN included, and running rates.

    Those that ``norm_eval`` or ``frozen_stages`` keep in evaluation mode are left out. The model
    is in evaluation mode afterwards.
    """
    model.train()
    layers = [
        layer
        for layer in model.modules()
        if isinstance(layer, RUNNING)
        and layer.training
        and getattr(layer, 'track_running_stats', True)
    ]
    model.eval()
    return layers


@torch.no_grad()
def estimate_statistics(model: BaseModel, loader: DataLoader, num_samples: int) -> None:
    """Estimates the running statistics for the weights that a model has.

    ``mean = 1/K sum_k mean_k`` and ``var = 1/K sum_k var_k`` over the K batches of all processes
    (``var_k`` unbiased), as mmpretrain's ``PreciseBNHook``: the mean of what BatchNorm normalised
    with, not the running average of a training whose weights moved; a running rate becomes the mean
    of those of the batches. Dropout and drop path are off, the labels are not mixed. All processes
    end with the same values; random states are untouched.

    Args:
        model (BaseModel): Model, changed in place; in evaluation mode afterwards. Layers that its
            forward pass in mode ``tensor`` does not reach keep their statistics.
        loader (DataLoader): Loader of the training data, of which the data set is read.
        num_samples (int): Samples to estimate on; see :func:`subset_loader`.
    """
    layers = statistics_layers(model)
    if not layers:
        return
    preprocessor = copy.deepcopy(model.data_preprocessor)
    preprocessor.batch_augments = None
    before = [
        (layer.momentum, {name: value.clone() for name, value in layer.named_buffers()})
        for layer in layers
    ]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # PyTorch's word for the plain mean over batches
        layer.train()
    batches = subset_loader(loader, num_samples)
    with seeded(STATISTICS, _SEED, get_dist_info()[0]):
        for i, batch in enumerate(batches, start=1):
            model._run_forward(preprocessor(batch, training=True), mode='tensor')
            if i % _BATCHES_PER_LOG == 0:
                print_log(f'Statistics of BatchNorm: batch {i}/{len(batches)}', logger='current')
    model.eval()
    for layer, (momentum, buffers) in zip(layers, before):
        if layer.num_batches_tracked == 0:
            layer.load_state_dict(buffers, strict=False)
        layer.num_batches_tracked.copy_(buffers['num_batches_tracked'])
        layer.momentum = momentum
    statistics = [
        value for layer in layers for value in layer.buffers() if value.is_floating_point()
    ]
    all_reduce_params(statistics, op='mean')
