"""What a tool looks at: the model of a config, its weights, and images of the config's loader."""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import Compose, default_collate
from mmengine.device import get_device
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import Runner
from torch import Tensor, nn
from tqdm import tqdm

from ..checks import at_least
from ..convert import read_released
from ..datasets.layout import check_data_root
from ..engine import checkpoints, launch
from .awaken import awaken

NO_TEST_SET = 'expected one, images are taken from it'
LOADERS = ('LoadImageFromFile', 'LoadVerifiedImage')
RANDOM_WEIGHTS = (
    'RANDOM WEIGHTS, set so that every layer fires: what follows shows what is computed, and says '
    'nothing about a trained model'
)


@dataclass
class Subject:
    """A model that is looked into.

    Attributes:
        name (str): The config's.
        cfg (Config): The config, overrides merged.
        model (nn.Module): The model, in eval mode on the device that is used.
        trained (bool): Whether a checkpoint was loaded. If not, weights are random ones with which
            every layer fires, and what a tool shows begins with :data:`RANDOM_WEIGHTS`.
    """

    name: str
    cfg: Config
    model: nn.Module
    trained: bool

    def folder(self, given: Path | None, name: str) -> Path:
        """The folder that a tool writes into, made before the work begins.

        Args:
            given (Path | None): What the command line says; None is ``name`` in the config's work
                directory.
            name (str): The tool's.

        Raises:
            OSError: It cannot be made.
        """
        folder = given or Path(self.cfg.work_dir) / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def batches(self, samples: int, preprocess: bool = True) -> Iterator[dict]:
        """The first samples of the config's test loader, with a progress bar.

        Args:
            samples (int): At most so many.
            preprocess (bool): Whether the model's data preprocessor prepares them. Defaults to
                True.

        Yields:
            dict: ``inputs`` ``[B, 3, H, W]``, or frames of events ``[B, T, 2, H, W]``, normalised
            and on the model's device, or as the pipeline gives them, and ``data_samples``.
        """
        settings = self.cfg.test_dataloader.copy()
        settings.batch_size = min(settings.batch_size, samples)
        loader = Runner.build_dataloader(settings, seed=0)
        batches = -(-min(samples, len(loader.dataset)) // settings.batch_size)
        for batch in tqdm(islice(loader, batches), total=batches, unit='batch', leave=False):
            if preprocess:
                batch = self.model.data_preprocessor(batch, False)
            yield {key: value[:samples] for key, value in batch.items()}
            samples -= settings.batch_size

    def sample(self, index: int) -> dict:
        """A sample of the config's test set.

        Args:
            index (int): Its place, from 0.

        Returns:
            dict: As of :meth:`batches`, of one sample.

        Raises:
            ValueError: There is no such sample.
        """
        dataset = DATASETS.build(self.cfg.test_dataloader.dataset)
        if index >= len(dataset):
            raise ValueError(f'sample {index}: expected 0 to {len(dataset) - 1}')
        return self.model.data_preprocessor(default_collate([dataset[index]]), False)

    def image(self, path: str | Path) -> dict:
        """A file as the config's test pipeline makes an image of it.

        Args:
            path (str | Path): Image that OpenCV or Pillow reads.

        Returns:
            dict: As of :meth:`batches`, of one sample.

        Raises:
            OSError: There is no such file, or it is no image.
            ValueError: The model takes events.
        """
        if hasattr(self.model.data_preprocessor, 'polarities'):
            raise ValueError(f'{path}: {self.name} takes events, expected a config of images')
        if not Path(path).is_file():
            raise FileNotFoundError(f'{path}: no such file')
        if self.cfg.get('test_dataloader') is None:
            raise ValueError(f'{self.name}: test_dataloader: {NO_TEST_SET}')
        steps = self.cfg.test_dataloader.dataset.pipeline
        steps = [step for step in steps if step['type'] not in LOADERS]
        steps = [dict(type='LoadImageFromFile'), *steps]
        try:
            sample = Compose(steps)(dict(img_path=str(path)))
        except OSError:
            raise
        except Exception as error:
            raise OSError(f'{path}: expected an image: {error}') from error
        return self.model.data_preprocessor(default_collate([sample]), False)


def add_subject_arguments(
    parser: argparse.ArgumentParser, images: int | None, needs_checkpoint: bool = False
) -> None:
    """Adds what :func:`open_subject` takes to the arguments of a tool.

    Args:
        parser (argparse.ArgumentParser): The tool's.
        images (int | None): Default of ``--images``; None: there is no such argument, as of a tool
            that takes the whole test set and needs a checkpoint.
        needs_checkpoint (bool): Whether random weights make no sense. Defaults to False.
    """
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        nargs=None if needs_checkpoint else '?',
        help="weights, this zoo's or a release's as downloaded"
        + ('' if needs_checkpoint else '; without them random ones, which the output says'),
    )
    if images is not None:
        parser.add_argument(
            '--images',
            type=at_least(1),
            default=images,
            help="so many, the first of the config's test set (default: %(default)s)",
        )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='overrides of the config, key=value; a list is key="[a,b]" or key=a,b',
    )
    parser.set_defaults(
        work_dir=None,
        launcher='none',
        local_rank=0,
        no_pin_memory=False,
        no_persistent_workers=True,
    )


def open_subject(
    args: argparse.Namespace, inputs: Callable[[Subject], Tensor] | None = None
) -> Subject:
    """The model that a command line names, ready to be looked into.

    Args:
        args (argparse.Namespace): Arguments of :func:`add_subject_arguments`.
        inputs (Callable | None): Gives what is looked at instead of the data set, which then need
            not be there. Defaults to None.

    Returns:
        Subject: Config, model and whether it is trained.

    Raises:
        OSError: The data set or the checkpoint is missing; see
            :func:`~mmqkformer.datasets.layout.check_data_root`.
        ValueError: The config has no model or no test set, or the checkpoint does not fit.
    """
    cfg = launch.load_config(args)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    if cfg.get('model') is None:
        raise ValueError(f'{args.config}: model: expected one')
    if inputs is None:
        if cfg.get('test_dataloader') is None:
            raise ValueError(f'{args.config}: test_dataloader: {NO_TEST_SET}')
        check_data_root(cfg, ('test_dataloader',))
    if cfg.get('data_preprocessor') is not None:
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).to(get_device())
    subject = Subject(Path(args.config).stem, cfg, model.eval(), args.checkpoint is not None)
    if subject.trained:
        load_any(model, args.checkpoint)
    else:
        awaken(model.backbone, inputs(subject) if inputs else _first(subject, args.images))
    return subject


def _first(subject: Subject, images: int) -> Tensor:
    return next(iter(subject.batches(images)))['inputs']


def load_any(model: nn.Module, address: str) -> None:
    """Loads a checkpoint, this zoo's or one of a public release, that has to fit exactly.

    Args:
        model (nn.Module): The model.
        address (str): See :func:`~mmqkformer.engine.checkpoints.local_file`.

    Raises:
        OSError: There is no such file.
        ValueError: It does not fit, or holds more than tensors.
    """
    released = read_released(checkpoints.local_file(address))
    if released is None:
        checkpoint = checkpoints.check_checkpoint(model, address)
        weights, name = checkpoints.weights_of(checkpoint, address), f'checkpoint {address!r}'
    else:
        family = released['meta']['family']
        weights, name = released['state_dict'], f'checkpoint {address!r}, {family} family,'
    checkpoints.load_weights(model, weights, name)
