"""Every way from a checkpoint to a model: nothing runs, nothing stays random or NaN unnoticed."""

import logging
import uuid
from contextlib import contextmanager

import mmpretrain
import pytest
import torch
from hostile import serve, write_bomb
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from mmengine.runner import Runner

import mmqkformer  # noqa: F401


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """PyTorch's folder of downloads, of this test alone."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))


def changed(trained, path, change):
    """The trained checkpoint after a change of it."""
    checkpoint = torch.load(trained[1] / 'epoch_2.pth', weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)
    return str(path)


@contextmanager
def messages():
    """What is logged by runs that begin in here."""
    lines = []

    class Lines(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    make = MMLogger.__init__

    def init(self, *args, **kwargs):
        make(self, *args, **kwargs)
        self.addHandler(Lines())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MMLogger, '__init__', init)
        yield lines


def new_classifier(lines):
    return [line for line in lines if 'stay at their initial values' in line]


def train(run_tool, config, *arguments):
    work_dir = config.parent / uuid.uuid4().hex
    run_tool('train.py', config, '--work-dir', work_dir, *arguments)


def pretrained_backbone(config, checkpoint):
    model = Config.fromfile(config).model
    init = dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')
    MODELS.build(model.backbone | dict(init_cfg=init)).init_weights()


WAYS = {
    'test.py': lambda run, config, file: run('test.py', config, file),
    'train.py --resume': lambda run, config, file: train(run, config, '--resume', file),
    'train.py load_from': lambda run, config, file: train(
        run, config, '--cfg-options', f'load_from={file}', 'train_cfg.max_epochs=1'
    ),
    'get_model': lambda run, config, file: mmpretrain.get_model(str(config), pretrained=file),
    'inferencer': lambda run, config, file: mmpretrain.ImageClassificationInferencer(
        str(config), pretrained=file
    ),
    'inferencer of a model': lambda run, config, file: mmpretrain.ImageClassificationInferencer(
        mmpretrain.get_model(str(config)), pretrained=file
    ),
    'Pretrained': lambda run, config, file: pretrained_backbone(config, file),
}


@pytest.fixture(scope='module')
def config(make_config):
    return make_config(('max_epochs=2', 'max_epochs=3'))


@pytest.mark.parametrize('way', WAYS)
def test_a_checkpoint_on_the_web_loads_once_and_never_runs(
    way, trained, config, run_tool, tmp_path
):
    (tmp_path / 'web').mkdir()
    changed(trained, tmp_path / 'web' / 'good.pth', lambda checkpoint: None)
    write_bomb(tmp_path / 'web' / 'bomb.pth', 'legacy', tmp_path / 'ran')
    with serve(tmp_path / 'web') as (address, requests):
        with messages() as lines:
            WAYS[way](run_tool, config, f'{address}/good.pth')
        assert requests == ['/good.pth']
        assert not new_classifier(lines)
        with pytest.raises(ValueError, match=r'/bomb\.pth.*expected plain tensors'):
            WAYS[way](run_tool, config, f'{address}/bomb.pth')
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('way', WAYS)
def test_weights_that_are_not_finite_are_refused_by_key(way, trained, config, run_tool, tmp_path):
    key = 'backbone.stages.1.blocks.0.mlp.fc1.conv.weight'

    def spoil(checkpoint):
        checkpoint['state_dict'][key][0, 0] = float('nan')

    spoilt = changed(trained, tmp_path / 'nan.pth', spoil)
    name = key if '.py' in way else key.removeprefix('backbone.')
    with pytest.raises((ValueError, RuntimeError), match=f'1 .*{name} not finite'):
        WAYS[way](run_tool, config, spoilt)


@pytest.mark.parametrize('way', ['test.py', 'get_model', 'inferencer'])
def test_a_classifier_that_is_not_finite_is_refused(way, trained, config, run_tool, tmp_path):
    def spoil(checkpoint):
        checkpoint['state_dict']['head.fc.bias'][1] = float('inf')

    spoilt = changed(trained, tmp_path / 'inf.pth', spoil)
    with pytest.raises((ValueError, RuntimeError), match=r'fc\.bias not finite'):
        WAYS[way](run_tool, config, spoilt)


def test_publishing_refuses_what_is_not_finite_and_leaves_nothing(trained, run_tool, tmp_path):
    def spoil(checkpoint):
        checkpoint['state_dict']['head.fc.weight'][0, 0] = float('nan')

    spoilt = changed(trained, tmp_path / 'nan.pth', spoil)
    with pytest.raises(ValueError, match=r'nan\.pth.*1 weights.*head\.fc\.weight not finite'):
        run_tool('model_converters/publish_model.py', spoilt, tmp_path / 'out' / 'tiny.pth')
    assert not (tmp_path / 'out').exists()


def test_published_files_hold_no_configuration(trained, run_tool, tmp_path):
    def write_texts(checkpoint):
        checkpoint['meta']['cfg'] = 'a = 1'

    old = changed(trained, tmp_path / 'old.pth', write_texts)
    run_tool('model_converters/publish_model.py', old, tmp_path / 'out' / 'tiny.pth')
    (published,) = (tmp_path / 'out').iterdir()
    content = torch.load(published, weights_only=True)
    assert content['meta'].keys() == {'dataset_meta', 'epoch', 'iter'}


@pytest.mark.parametrize('hook', [True, False])
def test_text_that_resuming_would_run_is_refused(hook, trained, make_config, run_tool, tmp_path):
    """Whatever the hooks of the config."""
    plain = "custom_hooks = [dict(type='PlainCheckpointHook')]"
    config = make_config(*([] if hook else [(plain, 'custom_hooks = []')]))

    def forge(checkpoint):
        checkpoint['meta']['config'] = f'a = 1\n__import__("os").mkdir({str(tmp_path / "ran")!r})'

    forged = changed(trained, tmp_path / 'forged.pth', forge)
    with pytest.raises(ValueError, match=r'forged\.pth.*meta\.config is text'):
        run_tool('train.py', config, '--resume', forged)
    assert not (tmp_path / 'ran').exists()


def test_a_run_of_an_older_version_resumes_without_its_text(trained, config, run_tool, tmp_path):
    def write_texts(checkpoint):
        text = f'a = 1\n__import__("os").mkdir({str(tmp_path / "ran")!r})'
        del checkpoint['meta']['config_json']
        checkpoint['meta']['cfg'] = checkpoint['message_hub']['runtime_info']['cfg'] = text
        checkpoint['message_hub']['resumed_keys']['cfg'] = True

    old = changed(trained, tmp_path / 'old.pth', write_texts)
    with messages() as lines:
        run_tool('train.py', config, '--resume', old, '--work-dir', tmp_path / 'run')
    assert any('meta.cfg, message_hub.runtime_info.cfg left out' in line for line in lines)
    resumed = torch.load(tmp_path / 'run' / 'epoch_3.pth', weights_only=True)
    assert 'cfg' not in resumed['meta'] | resumed['message_hub']['runtime_info']
    assert not (tmp_path / 'ran').exists()


# A classifier of three classes on weights of two


THREE_CLASSES = (
    ('num_classes=2, in_channels=16)', 'num_classes=3, in_channels=16)'),
    ('num_classes=2, mean', 'num_classes=3, mean'),
    ('max_epochs=2', 'max_epochs=1'),
)
AVERAGE = ('custom_hooks = [', "custom_hooks = [dict(type='OptimStepEMAHook', momentum=0.5), ")


@pytest.fixture(scope='module')
def three_classes(make_config):
    return make_config(*THREE_CLASSES)


@pytest.mark.parametrize('way', ['get_model', 'inferencer', 'inferencer of a model'])
def test_a_classifier_of_other_classes_is_refused(way, trained, three_classes, run_tool):
    with pytest.raises(RuntimeError, match='does not fit the SpikingClsHead: 2 weights') as error:
        WAYS[way](run_tool, three_classes, str(trained[1] / 'epoch_2.pth'))
    assert 'fc.weight [2, 16] instead of [3, 16]' in str(error.value)
    assert 'PartialLoadHook' in str(error.value)


def test_testing_a_classifier_of_other_classes_is_refused(trained, three_classes, run_tool):
    with pytest.raises(ValueError, match=r'2 of another shape: head\.fc\.bias \(2,\)'):
        run_tool('test.py', three_classes, trained[1] / 'epoch_2.pth')


def test_a_checkpoint_without_a_classifier_is_refused(trained, config, run_tool, tmp_path):
    def behead(checkpoint):
        del checkpoint['state_dict']['head.fc.weight'], checkpoint['state_dict']['head.fc.bias']

    backbone = changed(trained, tmp_path / 'backbone.pth', behead)
    with pytest.raises(RuntimeError, match=r'SpikingClsHead: 2 weights, e\.g\. fc\.weight missing'):
        WAYS['get_model'](run_tool, config, backbone)


def test_training_from_weights_of_other_classes_tells_what_starts_anew(
    trained, make_config, run_tool, tmp_path
):
    """In the model and in its average."""
    config = make_config(*THREE_CLASSES, AVERAGE)
    source = trained[1] / 'epoch_2.pth'
    options = (f'load_from={source}', 'optim_wrapper.optimizer.lr=0')
    arguments = ('--no-validate', '--work-dir', tmp_path, '--cfg-options', *options)
    with messages() as lines:
        run_tool('train.py', config, *arguments)
    (told,) = new_classifier(lines)
    assert told.endswith(
        '2 weights of the model are missing in it or of another shape and stay at their initial '
        'values: head.fc.bias, head.fc.weight'
    )
    assert str(source) in told
    assert not any('do not match exactly' in line for line in lines)
    before = torch.load(source, weights_only=True)['state_dict']
    content = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    raw = {k.removeprefix('module.'): v for k, v in content['ema_state_dict'].items()}
    for state in (content['state_dict'], raw):
        assert state['head.fc.weight'].shape == (3, 16)
        assert state['head.fc.weight'].abs().max() > 0
        for name, _ in MODELS.build(Config.fromfile(config).model).named_parameters():
            if name.startswith('backbone.'):
                assert torch.equal(state[name], before[name]), name


def stock_runner(config, work_dir, checkpoint, *hooks):
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(dict(work_dir=str(work_dir), load_from=str(checkpoint)))
    cfg.experiment_name = work_dir.name
    cfg.custom_hooks.extend(dict(type=hook) for hook in hooks)
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].collate_fn = dict(type='default_collate')
    return Runner.from_cfg(cfg)


def test_mmengines_own_runner_needs_to_be_told(trained, three_classes, tmp_path, monkeypatch):
    monkeypatch.setenv('EXPERIMENT', 'stock')
    checkpoint = trained[1] / 'epoch_2.pth'
    with pytest.raises(RuntimeError, match=r'does not fit the SpikingClsHead.*PartialLoadHook'):
        stock_runner(three_classes, tmp_path / 'untold', checkpoint).train()
    stock_runner(three_classes, tmp_path / 'told', checkpoint, 'PartialLoadHook').train()
    assert (tmp_path / 'told' / 'epoch_1.pth').is_file()
    with pytest.raises(RuntimeError, match='does not fit the SpikingClsHead'):
        stock_runner(three_classes, tmp_path / 'tested', checkpoint, 'PartialLoadHook').test()


def test_a_pretrained_backbone_gets_a_new_classifier(trained, three_classes):
    """As docs/own_image_folder.md has it."""
    source = trained[1] / 'epoch_2.pth'
    init = dict(type='Pretrained', checkpoint=str(source), prefix='backbone.')
    model = mmpretrain.get_model(str(three_classes), backbone=dict(init_cfg=init))
    model.init_weights()
    before = torch.load(source, weights_only=True)['state_dict']
    for name, weight in model.backbone.state_dict().items():
        assert torch.equal(weight, before[f'backbone.{name}']), name
    assert model.head.fc.weight.shape == (3, 16)
