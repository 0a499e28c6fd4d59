"""How much of what leaking weights lose without the leak comes back."""

from collections.abc import Callable
from dataclasses import dataclass

from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..engine.statistics import estimate_statistics
from .batch_independence import accuracy_of, with_batch_leak

AS_IT_IS, RE_ESTIMATED, FINE_TUNED = 'as it is', 'statistics re-estimated', 'fine-tuned'


@dataclass(frozen=True)
class Recovery:
    """The accuracy of per-sample inference, after each step.

    Attributes:
        steps (dict[str, float]): Top-1 in percent: ``as it is``, ``statistics re-estimated`` and,
            if it was, ``fine-tuned``.
        target (float): Top-1 in percent with the leak.
    """

    steps: dict[str, float]
    target: float

    def share(self, step: str) -> float | None:
        """How much of the loss has come back: 0 is none, 1 all; None where nothing was lost.

        Args:
            step (str): Of ``steps``.
        """
        lost = self.target - self.steps[AS_IT_IS]
        return (self.steps[step] - self.steps[AS_IT_IS]) / lost if lost > 0 else None


def recover(
    model: BaseModel,
    dataset: Dataset,
    train_loader: DataLoader,
    target: float,
    num_samples: int,
    epochs: int = 0,
    optim_wrapper_of: Callable[[nn.Module], OptimWrapper] | None = None,
) -> Recovery:
    """Tests the per-sample network of some weights: as it is, re-estimated, fine-tuned.

    Args:
        model (BaseModel): Classifier in eval mode, with the leak or without; it is not changed.
        dataset (Dataset): Labelled samples of the test pipeline.
        train_loader (DataLoader): Training data, augmented as in training.
        target (float): Top-1 in percent with the leak.
        num_samples (int): Training images that BatchNorm's statistics are estimated on, see
            :func:`~mmqkformer.engine.statistics.estimate_statistics`.
        epochs (int): Epochs of fine-tuning. Defaults to 0.
        optim_wrapper_of (Callable | None): Makes the optimizer of the network, with the learning
            rate at the start; it falls to 0 by half a cosine. Needed where there are epochs.

    Returns:
        Recovery: The accuracies.
    """
    batch_size = train_loader.batch_sampler.batch_size
    network = with_batch_leak(model, False)
    steps = {AS_IT_IS: accuracy_of(network, dataset, batch_size)}
    estimate_statistics(network, train_loader, num_samples)
    steps[RE_ESTIMATED] = accuracy_of(network, dataset, batch_size)
    if epochs:
        _fine_tune(network, train_loader, epochs, optim_wrapper_of(network))
        estimate_statistics(network, train_loader, num_samples)
        steps[FINE_TUNED] = accuracy_of(network, dataset, batch_size)
    return Recovery(steps, target)


def _fine_tune(
    network: BaseModel, loader: DataLoader, epochs: int, optim_wrapper: OptimWrapper
) -> None:
    iterations = epochs * len(loader)
    optim_wrapper.initialize_count_status(network, 0, iterations)
    schedule = CosineAnnealingLR(optim_wrapper.optimizer, iterations)
    with tqdm(total=iterations, unit='step', desc='fine-tuning', leave=False) as bar:
        for epoch in range(epochs):
            loader.sampler.set_epoch(epoch)
            network.train()
            for batch in loader:
                network.train_step(batch, optim_wrapper)
                schedule.step()
                bar.update()
