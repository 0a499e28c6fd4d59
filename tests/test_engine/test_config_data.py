"""Configurations in checkpoints are data: none runs, and a resumed run tells where it differs."""

import logging
import math
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

import mmqkformer  # noqa: F401
from mmqkformer.engine.config_data import config_differences, config_to_json


class Slope(BaseModel):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(1, 1)

    def forward(self, inputs, mode='tensor'):
        return dict(loss=(self.fc(inputs) - 2 * inputs).square().mean())


def runner(work_dir, epochs=1, rate=0.1, hooks=(), **settings):
    loader = dict(
        batch_size=2,
        dataset=[dict(inputs=torch.tensor([i / 4])) for i in range(4)],
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )
    cfg = Config(
        dict(
            work_dir=str(work_dir),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=rate)),
            custom_hooks=[dict(type='PlainCheckpointHook'), *hooks],
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            experiment_name=f'config-{uuid.uuid4().hex}',
        )
        | settings
    )
    return Runner(
        model=Slope(),
        train_dataloader=loader,
        cfg=cfg,
        **{key: value for key, value in cfg.items() if key != 'note'},
    )


def forge(source, target, folder):
    """A checkpoint of plain data whose texts make a folder when they run."""
    checkpoint = torch.load(source, weights_only=True)
    text = f'a = 1\n__import__("os").mkdir({str(folder)!r})\n'
    checkpoint['meta'].update(config=text, cfg=text)
    checkpoint['message_hub']['runtime_info']['cfg'] = text
    checkpoint['message_hub']['resumed_keys']['cfg'] = True
    torch.save(checkpoint, target)
    return str(target)


def strings(value):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from strings(key)
            yield from strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def test_what_is_written_is_no_python_and_holds_the_configuration(tmp_path):
    runner(tmp_path, note=('a', 1)).train()
    content = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    assert not any('\n' in text or ' = ' in text for text in strings(content))
    assert 'cfg' not in content['meta']
    assert 'cfg' not in content['message_hub']['runtime_info']
    assert 'cfg' not in content['message_hub']['resumed_keys']
    assert '"optimizer": {"type": "SGD", "lr": 0.1}' in content['meta']['config_json']


def test_text_in_a_checkpoint_does_not_run_when_a_run_resumes(tmp_path, caplog):
    """In mmengine's own runner, which would run ``meta.config``."""
    runner(tmp_path / 'a').train()
    forged = forge(tmp_path / 'a' / 'epoch_1.pth', tmp_path / 'forged.pth', tmp_path / 'ran')
    resumed = runner(tmp_path / 'b', epochs=2, resume=True, load_from=forged)
    with caplog.at_level(logging.INFO, logger=resumed.logger.name):
        resumed.logger.addHandler(caplog.handler)
        resumed.train()
    assert resumed.iter == 4
    assert not (tmp_path / 'ran').exists()
    (told,) = [line for line in caplog.messages if 'would run as Python' in line]
    assert 'meta.config, meta.cfg, message_hub.runtime_info.cfg left out' in told
    again = torch.load(tmp_path / 'b' / 'epoch_2.pth', weights_only=True)
    assert 'mkdir' not in ''.join(strings(again))


def test_mmengine_would_have_run_it(tmp_path):
    """The danger is real: without the hook the same text runs."""
    runner(tmp_path / 'a').train()
    forged = forge(tmp_path / 'a' / 'epoch_1.pth', tmp_path / 'forged.pth', tmp_path / 'ran')
    stock = runner(tmp_path / 'b', epochs=2)
    stock._hooks.clear()
    stock.resume(forged)
    assert (tmp_path / 'ran').exists()


def resumed_messages(tmp_path, caplog, **settings):
    runner(tmp_path, note=('a', 1)).train()
    resumed = runner(tmp_path, resume=True, **{'epochs': 2, 'note': ['a', 1], **settings})
    resumed.logger.addHandler(caplog.handler)
    resumed.train()
    return [line for line in caplog.messages if 'another configuration' in line]


def test_a_resumed_run_tells_the_keys_that_differ_in_one_message(tmp_path, caplog):
    (told,) = resumed_messages(tmp_path, caplog, rate=0.2, note=['a', 1, 'b'])
    assert 'optim_wrapper.optimizer.lr: 0.1 -> 0.2' in told
    assert "note.2: absent -> 'b'" in told
    assert 'train_cfg.max_epochs: 1 -> 2' in told
    assert 'resume' not in told.partition('(before -> now)')[2]


def test_first_weights_are_not_compared(tmp_path, caplog):
    runner(tmp_path / 'a').train()
    other = runner(tmp_path / 'b', rate=0.3, load_from=str(tmp_path / 'a' / 'epoch_1.pth'))
    other.logger.addHandler(caplog.handler)
    other.train()
    assert not [line for line in caplog.messages if 'another configuration' in line]


def function():
    pass


def test_a_configuration_of_objects_becomes_data():
    cfg = Config(
        dict(
            tuples=(1, (2, 3)),
            sets={'b', 'a'},
            kind=nn.Linear,
            call=function,
            path=Path('a/b'),
            dtype=torch.float16,
            array=np.arange(3),
            scalar=np.float32(0.5),
            limit=math.inf,
            none=None,
            numbered={0: 'zero', 1: 'one'},
        )
    )
    same = Config(
        dict(
            tuples=[1, [2, 3]],
            sets=['a', 'b'],
            kind='torch.nn.modules.linear.Linear',
            call=f'{__name__}.function',
            path='a/b',
            dtype='torch.float16',
            array=[0, 1, 2],
            scalar=0.5,
            limit=math.inf,
            none=None,
            numbered={'0': 'zero', '1': 'one'},
        )
    )
    assert config_differences(config_to_json(cfg), config_to_json(same)) == []


def test_a_lazy_configuration_is_compared_with_one_of_text(tmp_path):
    (tmp_path / 'lazy.py').write_text(
        'from torch.optim import SGD\noptimizer = dict(type=SGD, lr=0.1)\n'
    )
    (tmp_path / 'text.py').write_text("optimizer = dict(type='torch.optim.SGD', lr=0.2)\n")
    lazy, text = (config_to_json(Config.fromfile(tmp_path / f'{n}.py')) for n in ('lazy', 'text'))
    assert config_differences(lazy, text) == ['optimizer.lr: 0.1 -> 0.2']


def test_kinds_of_values_are_told_apart():
    before, after = (config_to_json(Config(dict(a=a, b=b))) for a, b in (([], 1), ({}, 1.0)))
    assert config_differences(before, after) == ['a: [] -> {}', 'b: 1 -> 1.0']


def test_long_values_are_cut():
    before, after = (config_to_json(Config(dict(a=a))) for a in ('x' * 1000, 'y'))
    (line,) = config_differences(before, after)
    assert len(line) < 100


@pytest.mark.parametrize('text', ['import os', '[1]', '[' * 100_000, 7, b'{}x'])
def test_a_forged_configuration_is_told_not_raised(text, tmp_path, caplog):
    runner(tmp_path).train()
    path = tmp_path / 'epoch_1.pth'
    checkpoint = torch.load(path, weights_only=True)
    checkpoint['meta']['config_json'] = text
    torch.save(checkpoint, path)
    resumed = runner(tmp_path, epochs=2, resume=True)
    resumed.logger.addHandler(caplog.handler)
    resumed.train()
    (told,) = [line for line in caplog.messages if 'another configuration' in line]
    assert 'the checkpoint holds no configuration' in told
