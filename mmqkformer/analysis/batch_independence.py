"""What neighbours in a batch do to the answers of a network, with the release's leak and without.

The neuron behind spiking self attention in QKFormer's release carries its membrane from one image
of a batch into the next (:class:`~mmqkformer.neurons.BatchLeakingNeuron`), so that an accuracy may
depend on the order of a test set and on the size of its batches.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from mmengine.dataset import default_collate
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from ..layers import SpikingBlock, SpikingSelfAttention
from ..neurons import BatchLeakingNeuron

LEAKY, PER_SAMPLE = 'leaky', 'per sample'
SORTED, REVERSED, SHUFFLED = ORDERS = ('sorted', 'reversed', 'shuffled')
# Of a batch of one image
ANY = 'any'


@dataclass(frozen=True)
class BatchRow:
    """A test in batches of one size, in one order, against the images one by one.

    Attributes:
        behaviour (str): ``leaky`` or ``per sample``.
        order (str): By class ``sorted``, the same ``reversed``, or ``shuffled``; ``any`` of batches
            of one image.
        batch_size (int): Images of a batch; the last one may have fewer.
        accuracy (float): Top-1 in percent.
        changed (int): Predictions that are others than those of the images one by one.
        largest (float): Largest absolute difference of a logit from that of the image alone.
        mean (float): Mean of the differences.
    """

    behaviour: str
    order: str
    batch_size: int
    accuracy: float
    changed: int
    largest: float
    mean: float


def with_batch_leak(model: nn.Module, leak: bool) -> nn.Module:
    """A copy of a network with the same weights and the other behaviour, or the one it has.

    Args:
        model (nn.Module): The network, leaky or not.
        leak (bool): Whether the neuron behind each spiking self attention is to leak.

    Returns:
        nn.Module: The copy, in the mode of the model.

    Raises:
        ValueError: A leak is asked for, and there is no spiking self attention with a neuron behind
            it.
    """
    model = copy.deepcopy(model)
    leaking = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, BatchLeakingNeuron)
    ]
    if not leak:
        for parent, name, child in leaking:
            setattr(parent, name, child.neuron)
    elif not leaking:
        _add_leak(model)
    return model


def _add_leak(model: nn.Module) -> None:
    branches = [
        (block, name)
        for block in model.modules()
        if isinstance(block, SpikingBlock)
        for name, residual in block.residuals.items()
        if residual == 'add' and isinstance(getattr(block, name), SpikingSelfAttention)
    ]
    if not branches:
        raise ValueError(
            "no spiking self attention with residual='add': expected one, behind which the "
            "release's neuron leaks"
        )
    for block, name in branches:
        neuron = getattr(block, f'{name}_neuron')
        setattr(block, f'{name}_neuron', BatchLeakingNeuron(neuron).train(neuron.training))


def batch_independence(
    model: BaseModel,
    dataset: Dataset,
    batch_sizes: Sequence[int],
    seed: int = 0,
    workers: int = 0,
) -> list[BatchRow]:
    """Tests a classifier with the leak and without, in batches of several sizes and orders.

    All is compared with the per-sample network on the images one by one, where both behaviours
    agree (which the leaky network's row shows). A progress bar counts the images.

    Args:
        model (BaseModel): Classifier in eval mode, with the leak or without; it is not changed.
        dataset (Dataset): Labelled samples of a test pipeline.
        batch_sizes (Sequence[int]): Images of a batch; at most the data set counts. 1 is always
            measured, in one order.
        seed (int): Of the shuffled order. Defaults to 0.
        workers (int): Processes that load. Defaults to 0.

    Returns:
        list[BatchRow]: By behaviour, size and order.

    Raises:
        ValueError: The network has no place for the leak.
    """
    twins = {LEAKY: with_batch_leak(model, True), PER_SAMPLE: with_batch_leak(model, False)}
    images = len(dataset)
    sizes = sorted({min(size, images) for size in batch_sizes} - {1})
    passes = len(twins) * (1 + len(ORDERS) * len(sizes))
    with tqdm(total=passes * images, unit='image', leave=False) as bar:

        def logits(twin: BaseModel, order: Tensor, size: int) -> tuple[Tensor, Tensor]:
            loader = _loader(dataset, order, size, workers)
            found, labels = map(torch.cat, zip(*_run(twin, loader, bar)))
            back = order.argsort()  # to the data set's order
            return found[back], labels[back]

        as_stored = torch.arange(images)
        alone, labels = logits(twins[PER_SAMPLE], as_stored, 1)
        orders = orders_of(labels, seed)
        leaky_alone, _ = logits(twins[LEAKY], as_stored, 1)
        of_one = {LEAKY: leaky_alone, PER_SAMPLE: alone}
        rows = []
        for behaviour, twin in twins.items():
            rows.append(_row(behaviour, ANY, 1, of_one[behaviour], alone, labels))
            for size, (name, order) in product(sizes, orders.items()):
                found, _ = logits(twin, order, size)
                rows.append(_row(behaviour, name, size, found, alone, labels))
    return rows


def orders_of(labels: Tensor, seed: int) -> dict[str, Tensor]:
    """The orders that a test set is taken in.

    Args:
        labels (Tensor): Classes, ``[N]``.
        seed (int): Of the shuffled order.

    Returns:
        dict[str, Tensor]: Indices ``[N]``: by class, those of a class as they are stored; the same
        from its end; and shuffled.
    """
    by_class = labels.argsort(stable=True)
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator)
    return {SORTED: by_class, REVERSED: by_class.flip(0), SHUFFLED: shuffled}


def _row(
    behaviour: str, order: str, size: int, logits: Tensor, alone: Tensor, labels: Tensor
) -> BatchRow:
    difference = (logits - alone).abs()
    predicted = logits.argmax(1)
    return BatchRow(
        behaviour,
        order,
        size,
        accuracy=100 * float((predicted == labels).double().mean()),
        changed=int((predicted != alone.argmax(1)).sum()),
        largest=float(difference.max()),
        mean=float(difference.mean()),
    )


def _loader(dataset: Dataset, order: Tensor, size: int, workers: int) -> DataLoader:
    return DataLoader(
        Subset(dataset, order.tolist()), size, num_workers=workers, collate_fn=default_collate
    )


@torch.no_grad()
def _run(model: BaseModel, loader: DataLoader, bar: tqdm) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits ``[B, classes]`` and labels ``[B]`` of each batch."""
    dtype = next(model.parameters()).dtype
    for batch in loader:
        batch = model.data_preprocessor(batch, False)
        labels = torch.cat([sample.gt_label for sample in batch['data_samples']])
        yield model(batch['inputs'].to(dtype), mode='tensor').cpu(), labels.cpu()
        bar.update(len(labels))


def accuracy_of(model: BaseModel, dataset: Dataset, batch_size: int, workers: int = 0) -> float:
    """Top-1 in percent.

    Args:
        model (BaseModel): Classifier in eval mode.
        dataset (Dataset): Labelled samples of a test pipeline, in the order of the test.
        batch_size (int): Images of a batch.
        workers (int): Processes that load. Defaults to 0.
    """
    loader = _loader(dataset, torch.arange(len(dataset)), batch_size, workers)
    with tqdm(total=len(dataset), unit='image', leave=False) as bar:
        right = [out.argmax(1) == labels for out, labels in _run(model, loader, bar)]
    return 100 * float(torch.cat(right).double().mean())
