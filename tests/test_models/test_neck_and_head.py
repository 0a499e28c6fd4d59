"""PEDSNeck continues the pyramid; SpikingClsHead classifies spikes or rates."""

import pytest
import torch
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample
from torch.nn import functional as F

BACKBONE = dict(
    type='QKFormer',
    arch=dict(base='hst-4-384', embed_dims=[16, 32, 64], stem=dict(
        channels=[8, 16], pools=[False, False], shortcut_from=1)),
)  # fmt: skip


def features(out, **kwargs):
    torch.manual_seed(0)
    backbone = MODELS.build(dict(BACKBONE, out=out, **kwargs)).train()
    return backbone(torch.randn(3, 3, 20, 27))


def samples(labels):
    return [DataSample().set_gt_label(label) for label in labels]


def head(**kwargs):
    torch.manual_seed(1)
    return MODELS.build({'type': 'SpikingClsHead', 'num_classes': 5, 'in_channels': 64, **kwargs})


def test_neck_continues_the_pyramid_in_rates():
    spikes = features('spikes', out_indices=(0, 1, 2))
    neck = MODELS.build(dict(type='PEDSNeck', in_channels=[16, 32, 64], widths=[80, 96]))
    levels = neck(spikes)
    assert [tuple(level.shape) for level in levels] == [
        (3, 16, 20, 27),
        (3, 32, 10, 14),
        (3, 64, 5, 7),
        (3, 80, 3, 4),
        (3, 96, 2, 2),
    ]
    assert neck.out_channels == [16, 32, 64, 80, 96]
    rates = features('rates', out_indices=(0, 1, 2))
    for level, rate in zip(levels, rates):
        assert torch.equal(level, rate)
    for level in levels:
        counts = level * 4
        torch.testing.assert_close(counts, counts.round())


def test_neck_levels_of_an_image_do_not_depend_on_the_batch():
    torch.manual_seed(0)
    neck = MODELS.build(dict(type='PEDSNeck', in_channels=[4], widths=[8])).double().eval()
    spikes = (torch.rand(4, 3, 4, 9, 7) < 0.5).double() * 2
    together = neck((spikes,))[1]
    alone = torch.cat([neck((spikes[:, i : i + 1],))[1] for i in range(3)])
    assert together.sum() > 0
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


def test_neck_names_what_it_needs():
    neck = MODELS.build(dict(type='PEDSNeck', in_channels=[16], widths=[8]))
    with pytest.raises(ValueError, match=r"set backbone\.out='spikes'"):
        neck((torch.rand(2, 16, 8, 8),))
    with pytest.raises(ValueError, match=r'neck\.in_channels=\[16\]: the inputs have \[8\]'):
        neck((torch.rand(4, 2, 8, 8, 8),))


def test_head_gives_the_same_logits_for_spikes_and_rates():
    classify = head().double()
    spikes = tuple(f.double() for f in features('spikes'))
    rates = tuple(f.double() for f in features('rates'))
    pooled = tuple(f.mean((2, 3)) for f in rates)
    logits = classify(rates)
    assert logits.shape == (3, 5)
    for other in (spikes, pooled):
        torch.testing.assert_close(classify(other), logits)
    steps = classify.forward_steps(spikes)
    assert steps.shape == (4, 3, 5)
    torch.testing.assert_close(steps.mean(0), logits)


def test_head_losses_on_the_mean_and_on_every_step():
    spikes, target = features('spikes'), torch.tensor([0, 3, 4])
    steps = head().forward_steps(spikes)
    mean = head().loss(spikes, samples(target))
    torch.testing.assert_close(mean['loss'], F.cross_entropy(steps.mean(0), target))
    every = head(loss_on='steps').loss(spikes, samples(target))
    expected = torch.stack([F.cross_entropy(step, target) for step in steps]).mean()
    torch.testing.assert_close(every['loss'], expected)
    tet = head(loss_on='steps', mse_weight=0.1, mse_target=0.5).loss(spikes, samples(target))
    torch.testing.assert_close(tet['loss'], 0.9 * expected)
    mse = 0.1 * (steps - 0.5).square().mean()
    torch.testing.assert_close(tet['loss_mse'], mse)


def test_head_takes_mixed_labels_with_smoothing():
    scores = torch.tensor([[0.6, 0.4, 0, 0, 0], [0, 0, 1.0, 0, 0], [0, 0, 0, 0.5, 0.5]])
    mixed = [DataSample().set_gt_score(score) for score in scores]
    loss = dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')
    rates = features('rates')
    classify = head(loss=loss)
    log_p = classify(rates).log_softmax(1)
    expected = -((0.9 * scores + 0.1 / 5) * log_p).sum(1).mean()
    torch.testing.assert_close(classify.loss(rates, mixed)['loss'], expected)


def test_head_predicts():
    rates = features('rates')
    predictions = head().eval().predict(rates)
    logits = head().eval()(rates)
    assert [p.pred_label.item() for p in predictions] == logits.argmax(1).tolist()


def test_head_starts_from_a_truncated_normal():
    classify = head()
    classify.init_weights()
    assert classify.fc.weight.std().item() == pytest.approx(0.02, rel=0.15)
    assert classify.fc.weight.abs().max() < 0.1
    assert classify.fc.bias.abs().max() == 0


def test_stock_neck_and_head_take_the_rates():
    model = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=BACKBONE,
            neck=dict(type='mmpretrain.GlobalAveragePooling'),
            head=dict(
                type='mmpretrain.LinearClsHead',
                num_classes=5,
                in_channels=64,
                loss=dict(type='mmpretrain.CrossEntropyLoss'),
            ),
        )
    )
    losses = model(torch.randn(2, 3, 16, 16), samples([1, 2]), mode='loss')
    losses['loss'].backward()
    assert model.backbone.stages[0].embed.convs[0].conv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ('out', 'neck', 'kind'),
    [
        ('rates', None, 'SpikingClsHead'),
        ('spikes', None, 'SpikingClsHead'),
        ('rates', dict(type='mmpretrain.GlobalAveragePooling'), 'mmpretrain.LinearClsHead'),
    ],
)
def test_a_model_in_half_precision_runs(out, neck, kind):
    model = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(BACKBONE, out=out),
            neck=neck,
            head=dict(type=kind, num_classes=5, in_channels=64),
        )
    )
    feats = model.bfloat16().extract_feat(torch.randn(2, 3, 16, 16).bfloat16())
    logits = model.head(feats)
    assert logits.dtype == torch.bfloat16
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(num_classes=0), r'head\.num_classes=0'),
        (dict(loss_on='last'), r"head\.loss_on='last': expected"),
        (dict(mse_weight=0.5), r'head\.mse_weight=0\.5: expected'),
        (dict(loss_on='steps', mse_weight=1.0), r'head\.mse_weight=1\.0: expected'),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        head(**kwargs)


def test_features_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r'head\.in_channels=64: the features have shape'):
        head()((torch.rand(2, 32, 4, 4),))
    with pytest.raises(ValueError, match=r"set backbone\.out='spikes'"):
        head(loss_on='steps').loss(features('rates'), samples([0, 1, 2]))


def test_dropout_is_in_front_of_the_linear_layer():
    rates = features('rates')
    plain, dropping = head(), head(dropout=0.5)
    dropping.load_state_dict(plain.state_dict())
    means = plain.pre_logits(rates)
    torch.manual_seed(0)
    expected = plain.fc(F.dropout(means, 0.5))
    torch.manual_seed(0)
    assert torch.equal(dropping.train()(rates), expected)
    assert torch.equal(dropping.eval()(rates), plain(rates))
