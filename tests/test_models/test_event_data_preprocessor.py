"""Frames become a batch; mixup mixes whole recordings and ends where the config says."""

import pytest
import torch
from mmengine.registry import MODELS
from mmpretrain.engine.hooks import SwitchRecipeHook
from mmpretrain.structures import DataSample

MIXUP = dict(augments=dict(type='Mixup', alpha=0.5), probs=1.0)


def build(**kwargs):
    return MODELS.build(dict(type='EventDataPreprocessor', num_classes=3, **kwargs))


def batch(count=4, shape=(5, 2, 6, 7)):
    generator = torch.Generator().manual_seed(0)
    return dict(
        inputs=[torch.rand(shape, generator=generator) for _ in range(count)],
        data_samples=[DataSample().set_gt_label(i % 3) for i in range(count)],
    )


@pytest.mark.parametrize('stacked', [False, True])
def test_frames_are_stacked_as_they_are(stacked):
    data = batch()
    frames = torch.stack(data['inputs'])
    if stacked:
        data['inputs'] = frames
    out = build()(data, training=True)
    assert torch.equal(out['inputs'], frames)
    assert out['inputs'].shape == (4, 5, 2, 6, 7)


def test_the_sum_of_the_polarities_is_a_third_channel():
    data = batch()
    frames = torch.stack(data['inputs'])
    mixed = build(batch_augments=MIXUP, add_sum=True)(data, training=True)['inputs']
    assert mixed.shape == (4, 5, 3, 6, 7)
    assert not torch.equal(mixed[:, :, :2], frames)
    torch.testing.assert_close(mixed[:, :, 2], mixed[:, :, 0] + mixed[:, :, 1])
    plain = build(add_sum=True)(data)['inputs']
    assert torch.equal(plain[:, :, :2], frames)


def test_three_steps_are_no_colours():
    """mmpretrain's own would take the first axis of a sample for the colours."""
    data = batch(shape=(3, 2, 6, 7))
    assert torch.equal(build()(data)['inputs'], torch.stack(data['inputs']))
    with pytest.raises(ValueError, match=r'data_preprocessor\.to_rgb=True: expected False'):
        build(to_rgb=True)


def test_mixup_mixes_whole_recordings():
    torch.manual_seed(0)
    data = batch()
    frames = torch.stack(data['inputs'])
    out = build(batch_augments=MIXUP)(data, training=True)
    scores = torch.stack([sample.gt_score for sample in out['data_samples']])
    assert torch.allclose(scores.sum(1), torch.ones(4))
    share = torch.stack(
        [
            torch.linalg.lstsq(frames.flatten(1).T, mixed.flatten()[:, None]).solution[:, 0]
            for mixed in out['inputs']
        ]
    )
    # Each is a mean of two recordings, one and the same share for all of them
    labels = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 0]), 3).float()
    assert torch.allclose(share @ labels, scores, atol=1e-4)
    assert (share.diagonal() < 1).any()
    untouched = build(batch_augments=MIXUP)(batch(), training=False)['inputs']
    assert torch.equal(untouched, frames)


def test_the_recipe_switch_ends_mixup():
    class Runner:
        epoch = 75
        logger = None

        class model:
            data_preprocessor = build(batch_augments=MIXUP)

    hook = SwitchRecipeHook(schedule=[dict(action_epoch=76, batch_augments=None)])
    assert Runner.model.data_preprocessor.batch_augments is not None
    hook._switch_batch_augments(Runner, hook.schedule[76]['batch_augments'])
    data = batch()
    out = Runner.model.data_preprocessor(data, training=True)
    assert torch.equal(out['inputs'], torch.stack(data['inputs']))


@pytest.mark.parametrize(
    'inputs',
    [
        [torch.rand(5, 2, 6, 7), torch.rand(4, 2, 6, 7)],
        [torch.rand(5, 2, 6, 7), torch.rand(5, 2, 6, 8)],
        [torch.rand(5, 3, 6, 7)] * 2,
        torch.rand(2, 3, 6, 7),
    ],
)
def test_frames_that_do_not_fit_are_named(inputs):
    with pytest.raises(ValueError, match=r'inputs of shapes .*: expected frames \[T, 2, H, W\]'):
        build()(dict(inputs=inputs))
