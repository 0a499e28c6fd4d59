"""A classifier that learns from the labels and from what a trained one says of the images."""

from typing import Self

import torch
from mmengine.registry import MODELS
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS as CLASSIFIERS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ...build import ConfigError, inside

# Keys of classifiers that say where weights come from: OpenMMLab's, and timm's last two
_WEIGHTS = ('init_cfg', 'pretrained', 'checkpoint_path')


class _Teacher:
    """A frozen classifier that is no part of its student.

    It is not among the student's modules, so that it is neither saved nor trained, averaged,
    initialised or counted with it.
    """

    def __init__(self, cfg: dict) -> None:
        self.cfg = cfg
        self.model: nn.Module | None = None

    def __deepcopy__(self, memo: dict) -> Self:
        return self

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Its class of each image, ``[B]``."""
        if self.model is None:
            with inside('model.teacher', self.cfg):
                self.model = CLASSIFIERS.build(self.cfg)
                # Without one, weights came with the constructor, and init_weights would draw others
                if self.model.init_cfg:
                    self.model.init_weights()
            self.model.requires_grad_(False).eval().to(images.device)
        logits = self.model(images, mode='tensor')
        if not isinstance(logits, Tensor) or logits.dim() != 2:
            raise ConfigError(f'model.teacher={self.cfg!r}: expected logits [B, classes] of it')
        return logits.argmax(1)


@MODELS.register_module()
class DistilledClassifier(ImageClassifier):
    """An image classifier whose second linear layer learns a teacher's labels (DeiT, 2012.12877).

    Hard distillation. With y_t the teacher's class of the augmented image, and logits O of the
    head's ``fc`` and O_d of its ``fc_distilled``,

    ``loss = (1 - w) loss(O, y) + w CE(O_d, argmax teacher(x))``, w = ``head.distill_weight``,

    and (O + O_d) / 2 is what is tested. The teacher sees the images ``[B, C, H, W]`` as the
    student's data preprocessor leaves them. It is built, and its weights are read, in the first
    training step: testing needs no teacher.

    Args:
        teacher (dict): Config of an mmpretrain classifier, e.g. ``dict(type=
            'mmpretrain.TimmClassifier', model_name='caformer_b36.sail_in22k_ft_in1k',
            pretrained=True)``, or one with ``init_cfg=dict(type='Pretrained', checkpoint=...)``.
        backbone (dict): Config of the backbone.
        head (dict): Config of a :class:`SpikingClsHead` with ``distill_weight``.
        **kwargs: As for mmpretrain's ``ImageClassifier``.

    Raises:
        ConfigError: The teacher is no registered model or has no weights, or the head has no
            distilled layer.
    """

    def __init__(self, teacher: dict, backbone: dict, head: dict, **kwargs) -> None:
        super().__init__(backbone=backbone, head=head, **kwargs)
        if not isinstance(teacher, dict) or CLASSIFIERS.get(str(teacher.get('type'))) is None:
            raise ConfigError(
                f'model.teacher={teacher!r}: expected a dict with the type of a classifier'
            )
        if not any(teacher.get(key) for key in _WEIGHTS):
            raise ConfigError(
                f'model.teacher={teacher!r}: expected trained weights, by one of {_WEIGHTS}'
            )
        if getattr(self.head, 'fc_distilled', None) is None:
            raise ConfigError(
                f'head={head!r}: expected a SpikingClsHead with distill_weight, for the teacher'
            )
        self.teacher = _Teacher(teacher)

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Losses by name, of images ``[B, C, H, W]``."""
        labels = self.teacher(inputs)
        feats = self.extract_feat(inputs)
        return self.head.loss(feats, data_samples, teacher_labels=labels)
