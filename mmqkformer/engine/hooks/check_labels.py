"""Labels that the classifier has no class for are told before the first batch."""

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from ..checkpoints import unwrap


@HOOKS.register_module()
class CheckLabelsHook(Hook):
    """Compares the labels of the data sets with the number of classes of the classifier.

    A label beyond it would be an index error in the loss, on a GPU one that names neither sample
    nor label, and a wrong answer in a test. All labels are read once, of data sets whose classes
    are folders their number alone. Models without ``head.num_classes`` and data sets without
    ``gt_label`` are left alone.
    """

    def before_train(self, runner: Runner) -> None:
        """Looks at the data of training and of the validation that goes with it.

        Raises:
            ValueError: A label is out of range, or the config names different numbers of classes.
        """
        _check_augments(unwrap(runner.model))
        self._check(runner, 'train', runner.train_dataloader.dataset)
        if runner.val_loop is not None:
            self._check(runner, 'val', runner.val_dataloader.dataset, runner.val_evaluator)

    def before_test(self, runner: Runner) -> None:
        """Looks at the data of a test.

        Raises:
            ValueError: A label is out of range, or the config names different numbers of classes.
        """
        self._check(runner, 'test', runner.test_dataloader.dataset, runner.test_evaluator)

    @staticmethod
    def _check(
        runner: Runner, split: str, dataset: Dataset, evaluator: Evaluator | None = None
    ) -> None:
        classes = getattr(getattr(unwrap(runner.model), 'head', None), 'num_classes', None)
        if classes is None:
            return
        check_labels(f'{split}_dataloader.dataset', dataset, classes)
        for metric in evaluator.metrics if evaluator else ():
            topk = getattr(metric, 'topk', ())
            if isinstance(topk, Sequence) and max(topk, default=0) > classes:
                raise ValueError(
                    f'{split}_evaluator.topk={topk}: expected at most {classes}, as in '
                    f'model.head.num_classes={classes}'
                )


def check_labels(key: str, dataset: Dataset, classes: int) -> None:
    """Checks that all labels of a data set are 0 to ``classes - 1``.

    Args:
        key (str): Config key of the data set.
        dataset (Dataset): Data set of mmengine's kind, whose samples may have a ``gt_label``:
            a number, or several.
        classes (int): Number of classes of the classifier.

    Raises:
        ValueError: A label is out of range; the error names the first such sample.
    """
    expected = f'expected 0 to {classes - 1}, as model.head.num_classes={classes}'
    if (folders := getattr(dataset, 'folder_to_idx', None)) is not None:
        if len(folders) > classes:
            raise ValueError(f'{key}: {len(folders)} class folders: labels {expected}')
        return
    for i in range(len(dataset) if hasattr(dataset, 'get_data_info') else 0):
        info = dataset.get_data_info(i)
        if 'gt_label' not in info:
            return
        for label in np.ravel(info['gt_label']):
            if not 0 <= label < classes:
                file = info.get('img_path', info.get('file', ''))
                source = f' of {dataset.ann_file}' if getattr(dataset, 'ann_file', '') else ''
                raise ValueError(
                    f'{key}: gt_label={label} of sample {i}{source} ({file}): {expected}'
                )


def _check_augments(model: nn.Module) -> None:
    """Mixing makes vectors of the preprocessor's number of classes."""
    preprocessor = getattr(model, 'data_preprocessor', None)
    mixed = getattr(preprocessor, 'num_classes', None)
    classes = getattr(getattr(model, 'head', None), 'num_classes', None)
    if getattr(preprocessor, 'batch_augments', None) is None or None in (mixed, classes):
        return
    if mixed != classes:
        raise ValueError(
            f'data_preprocessor.num_classes={mixed}: expected {classes}, as in '
            f'model.head.num_classes={classes}'
        )
