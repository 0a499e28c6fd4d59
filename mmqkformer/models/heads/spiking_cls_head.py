"""Linear classifier on spikes or rates, with losses on the mean or on every time step."""

from collections.abc import Mapping, Sequence

import torch
from mmengine.registry import MODELS
from mmpretrain.models.heads import ClsHead
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.nn import functional as F

from ...build import build_part, config_errors
from ...checks import check_bool, check_int, check_list, check_number, check_str
from ...layers.conv import MAX_CHANNELS, MAX_WEIGHTS
from ...layers.time import mean_over_time, wide_dtype
from ...neurons import SpikingNeuron
from ..quantised import QuantisedPart
from ..spikes import plain_tensor
from ..weights import refuse_misfit


@MODELS.register_module()
class SpikingClsHead(QuantisedPart, ClsHead):
    """Mean over tokens [- neuron], linear layer, mean over time (paper, Eq. 15).

    Takes rates ``[B, C, H, W]`` (or, behind a pooling neck, ``[B, C]``), or spikes or a stream
    ``[T, B, C, H, W]`` of the last stage. From the latter it also gives logits for each time step
    and, with ``loss_on='steps'``, the temporal efficient training loss (TET, arXiv 2202.11946):
    ``(1 - w) mean_t CE(O[t], y) + w mean_t MSE(O[t], target)``, w = ``mse_weight``.

    Many of QKFormer's peers fire in the head, on the mean of a membrane over the tokens:
    ``neuron=dict(type='LIFNeuron')`` on a backbone with ``out='stream'``.

    Args:
        num_classes (int): Number of classes.
        in_channels (int): Channels of the features.
        neuron (dict | None): Neuron that fires on the token means ``[T, B, C]``. Defaults to None.
        bias (bool): Whether the linear layer has a bias. Defaults to True.
        dropout (float): Probability, in [0, 1), with which the linear layer sees a 0 in training
            instead of a channel. Defaults to 0.0.
        loss_on (str): ``mean``, the loss of the mean logits, or ``steps``, the mean of the losses
            of every time step. Defaults to ``mean``.
        mse_weight (float): Weight w of TET's regularising term, in [0, 1). Defaults to 0.0.
        mse_target (float): Logit that the term pulls to. Defaults to 1.0.
        distill_weight (float | None): Weight of the loss against the labels of a teacher, in
            (0, 1), for a :class:`DistilledClassifier`. A second linear layer ``fc_distilled``
            learns them, and the mean of both layers' logits counts. Defaults to None: one layer.
        cal_acc (bool): Whether training logs the accuracies in percent of batches whose labels are
            classes; those of mixed labels have none. Defaults to True.
        topk (int | Sequence[int]): Which accuracies, each of at most ``num_classes``. Defaults to
            ``(1,)``.
        loss (dict | None): Config of the loss. Defaults to None, mmpretrain's cross-entropy.
        quant (dict | None): Quantisation of the linear layer, ``dict(type='LSQ', bits=4)``.
            Defaults to None: float weights.
        init_cfg (dict | list[dict] | None): Initialisation. Defaults to None, a truncated normal
            of std 0.02.

    Raises:
        ConfigError: A key or value is wrong; the message begins with its path, ``head.``.
    """

    @config_errors('head')
    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        neuron: dict | None = None,
        bias: bool = True,
        dropout: float = 0.0,
        loss_on: str = 'mean',
        mse_weight: float = 0.0,
        mse_target: float = 1.0,
        distill_weight: float | None = None,
        cal_acc: bool = True,
        topk: int | Sequence[int] = (1,),
        loss: dict | None = None,
        quant: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = dict(type='TruncNormal', layer='Linear', mean=0.0, std=0.02, bias=0.0)
        if loss is None:
            # With its scope, so that the head also builds in others
            loss = dict(type='mmpretrain.CrossEntropyLoss')
        check_int('num_classes', num_classes, 1)
        check_int('in_channels', in_channels, 1, MAX_CHANNELS)
        if num_classes * in_channels > MAX_WEIGHTS:
            raise ValueError(
                f'num_classes={num_classes!r}: expected at most {MAX_WEIGHTS} weights, times '
                f'in_channels={in_channels}'
            )
        topk = [topk] if isinstance(topk, int) else topk
        check_list('topk', topk, check_int, low=1, high=num_classes)
        if not topk:
            raise ValueError(f'topk={topk!r}: expected at least one')
        super().__init__(loss=loss, topk=tuple(topk), init_cfg=init_cfg)
        check_str('loss_on', loss_on, ('mean', 'steps'))
        check_number('mse_target', mse_target)
        check_number('mse_weight', mse_weight)
        if not 0.0 <= mse_weight < 1.0 or (mse_weight and loss_on == 'mean'):
            raise ValueError(
                f"mse_weight={mse_weight!r}: expected 0, or below 1 with loss_on='steps'"
            )
        if not mse_weight and mse_target != 1.0:
            raise ValueError(f'mse_target={mse_target!r}: expected none without mse_weight')
        if distill_weight is not None:
            check_number('distill_weight', distill_weight, above=0, below=1)
            if loss_on == 'steps':
                raise ValueError(
                    f"distill_weight={distill_weight!r}: expected None with loss_on='steps'"
                )
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.loss_on = loss_on
        self.mse_weight = mse_weight
        self.mse_target = mse_target
        # mmpretrain's own refuses mixed labels
        self.log_accuracy = check_bool('cal_acc', cal_acc)
        check_bool('bias', bias)
        self.dropout = check_number('dropout', dropout, low=0, below=1)
        self.neuron = None
        if neuron is not None:
            self.neuron = build_part('neuron', neuron, SpikingNeuron)
        self.fc = nn.Linear(in_channels, num_classes, bias=bias)
        self.quantise(quant, self.fc, 'head.fc')
        self.distill_weight = distill_weight
        self.fc_distilled = None
        if distill_weight is not None:
            self.fc_distilled = nn.Linear(in_channels, num_classes, bias=bias)
            self.quantise(quant, self.fc_distilled, 'head.fc_distilled')

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Token means of the last stage, or the spikes on them: ``[B, C]`` or ``[T, B, C]``."""
        x = plain_tensor(feats[-1])
        if x.dim() in (4, 5):
            x = x.flatten(-2).mean(-1, dtype=wide_dtype(x))
        if x.dim() not in (2, 3) or x.size(-1) != self.in_channels:
            raise ValueError(
                f'head.in_channels={self.in_channels}: the features have shape '
                f'{list(feats[-1].shape)}'
            )
        if self.neuron is None:
            return x
        if x.dim() != 3:
            raise ValueError(
                f'head.neuron fires at every time step, got features {list(feats[-1].shape)}: set '
                f"backbone.out='stream' or 'spikes'"
            )
        return self.neuron(x)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Logits ``[B, num_classes]``, the mean over time."""
        return self._classify(self._mean_pre_logits(feats))

    def _mean_pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        x = self.pre_logits(feats)
        return mean_over_time(x) if x.dim() == 3 else x

    def forward_steps(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Logits of every time step, ``[T, B, num_classes]``; needs spikes or a stream.

        Raises:
            ValueError: The features are rates.
        """
        x = self.pre_logits(feats)
        if x.dim() != 3:
            raise ValueError(
                f'logits of every time step need spikes, got features {list(feats[-1].shape)}: '
                f"set backbone.out='spikes'"
            )
        return self._classify(x)

    def _classify(self, x: Tensor) -> Tensor:
        x = self._dropped(x)
        if self.fc_distilled is None:
            return self.fc(x)
        return (self.fc(x) + self.fc_distilled(x)) / 2

    def _dropped(self, x: Tensor) -> Tensor:
        """What the linear layers see."""
        x = x.to(self.fc.weight.dtype)
        return F.dropout(x, self.dropout, self.training) if self.dropout else x

    def loss(
        self,
        feats: tuple[Tensor, ...],
        data_samples: list[DataSample],
        teacher_labels: Tensor | None = None,
        **kwargs,
    ) -> dict:
        """Losses by name; ``kwargs`` go to the loss module.

        Args:
            feats (tuple[Tensor, ...]): Features of the backbone.
            data_samples (list[DataSample]): Labels of the batch.
            teacher_labels (Tensor | None): Classes ``[B]`` that a teacher gives, which a head with
                ``distill_weight`` learns from too.

        Raises:
            ValueError: There is a teacher and no ``distill_weight``, or the other way round.
        """
        if (teacher_labels is None) != (self.fc_distilled is None):
            raise ValueError(
                f'head.distill_weight={self.distill_weight!r}: expected a DistilledClassifier, '
                f'which has the teacher, with a weight, and another classifier without'
            )
        if self.fc_distilled is not None:
            x = self._dropped(self._mean_pre_logits(feats))
            own, distilled = self.fc(x), self.fc_distilled(x)
            logits = (own + distilled) / 2
            losses = self._get_loss(own, data_samples, **kwargs)
            losses['loss'] = losses['loss'] * (1 - self.distill_weight)
            losses['loss_distilled'] = (
                F.cross_entropy(distilled, teacher_labels) * self.distill_weight
            )
        elif self.loss_on == 'mean':
            logits = self(feats)
            losses = self._get_loss(logits, data_samples, **kwargs)
        else:
            steps = self.forward_steps(feats)
            logits = steps.mean(0)
            losses = self._get_loss(steps.flatten(0, 1), data_samples * steps.size(0), **kwargs)
            if self.mse_weight:
                target = torch.full_like(steps, self.mse_target)
                losses['loss'] = losses['loss'] * (1.0 - self.mse_weight)
                losses['loss_mse'] = F.mse_loss(steps, target) * self.mse_weight
        if self.log_accuracy:
            losses.update(self._accuracies(logits.detach(), data_samples))
        return losses

    def _accuracies(self, logits: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        # Scores of classes are whole numbers until they are mixed
        scores = data_samples[0].get('gt_score')
        if scores is not None and scores.is_floating_point():
            return {}
        labels = torch.stack([sample.gt_label for sample in data_samples])
        hits = logits.topk(max(self.topk), dim=1).indices == labels
        return {
            f'accuracy_top-{k}': hits[:, :k].any(1).to(logits.dtype).mean() * 100 for k in self.topk
        }

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Tensor], prefix: str, *args, **kwargs
    ) -> None:
        """Refuses a load that would leave the classifier at random values, or not finite.

        Raises:
            RuntimeError: Weights are missing, of another shape or unusable; the message names some.
        """
        if self.fc_distilled is None and f'{prefix}fc_distilled.weight' in state_dict:
            raise RuntimeError(
                'head.distill_weight=None: the checkpoint has a distilled classifier, whose logits '
                'would be lost; expected the config of a DistilledClassifier'
            )
        refuse_misfit(
            self,
            state_dict,
            prefix,
            # A learnt time constant starts from a value that means something
            optional=('neuron.',),
            name='SpikingClsHead',
            hint='is it of other classes? A new classifier is trained from load_from by '
            'tools/train.py, or with PartialLoadHook in custom_hooks, or on a backbone with '
            "init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')",
        )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
