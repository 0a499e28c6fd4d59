"""Packed weights: an eighth of the size, equal bits and logits, and one error for anything else."""

import contextlib
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from networks import awaken
from safetensors.torch import load, save
from torch import nn

from mmqkformer.deploy import expand_to_binary, load_packed, save_packed
from mmqkformer.layers import LSQ
from mmqkformer.layers.quant import codes, quantised_layers
from mmqkformer.models.shrink import shrink_classifier

FORMAT = 'mmqkformer.packed.1'
CONV = 'backbone.stages.0.embed.convs.0.conv'


def classifier(bits=4, seed=0, ratio=2, **kwargs):
    torch.manual_seed(seed)
    quant = bits and dict(type='LSQ', bits=bits)
    block = [
        dict(type='SpikingSelfAttention', num_heads=2),
        dict(type='SpikingMLP', ratio=ratio),
    ]
    stage = dict(
        embed=dict(type='PEDSStem', channels=[4, 8], pools=[1, 0], shortcut_from=1),
        block=block,
        channels=8,
        depth=1,
    )
    neuron = dict(type='ILIFNeuron', levels=3)
    return MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(
                type='SpikingBackbone', stages=[stage], neuron=neuron, quant=quant, **kwargs
            ),
            head=dict(type='SpikingClsHead', num_classes=5, in_channels=8, quant=quant),
        )
    )


def images(dtype=torch.float32):
    return torch.randn(3, 3, 12, 10, generator=torch.Generator().manual_seed(1)).to(dtype)


def trained(bits=4, dtype=torch.float32, **kwargs):
    """Spikes in every layer, and steps of which some weights are clipped."""
    model = awaken(classifier(bits, seed=1, **kwargs).to(dtype), images(dtype))
    with torch.no_grad():
        nn.init.normal_(model.head.fc.weight)
        for layer in quantised_layers(model).values():
            least = -layer.weight.min() / 2 ** (bits - 1)
            layer.alpha.copy_(least * torch.linspace(0.3, 1.0, len(layer.alpha)))
    return model.eval()


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('bits', [2, 3, 4, 5, 8])
def test_a_loaded_model_computes_the_same_bits(bits, dtype, tmp_path):
    model = trained(bits, dtype)
    save_packed(model, tmp_path / 'new' / 'model.safetensors')
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['model.safetensors']
    loaded = classifier(bits).to(dtype).eval()
    load_packed(loaded, tmp_path / 'new' / 'model.safetensors')
    weights = quantised_layers(loaded)
    for name, layer in quantised_layers(model).items():
        assert torch.equal(weights[name].quantised_weight(), layer.quantised_weight()), name
        assert torch.equal(weights[name].weight, layer.quantised_weight()), name
        assert codes(layer.weight, layer.alpha, bits).min() == -(2 ** (bits - 1))
    own = loaded.state_dict()
    for name, value in model.state_dict().items():
        assert name.removesuffix('.weight') in weights or torch.equal(own[name], value), name
    with torch.no_grad():
        logits = model(images(dtype))
        assert torch.equal(loaded(images(dtype)), logits)
    assert logits.std() > 1e-3
    # What is loaded is saved as the same file
    save_packed(loaded, tmp_path / 'again.safetensors')
    content = (tmp_path / 'new' / 'model.safetensors').read_bytes()
    assert (tmp_path / 'again.safetensors').read_bytes() == content


def test_qsd_transformers_logits_are_equal(tmp_path):
    path = Path(__file__).parents[1] / 'configs' / 'qsd' / 'qsd-s_8xb196_in1k.py'
    cfg = shrink_classifier(Config.fromfile(path).model.to_dict(), 64)
    x = torch.randn(3, 3, 35, 48, generator=torch.Generator().manual_seed(1))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model, loaded = awaken(MODELS.build(cfg), x), MODELS.build(cfg).eval()
    save_packed(model, tmp_path / 'qsd.safetensors')
    load_packed(loaded, tmp_path / 'qsd.safetensors')
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))
        assert model(x).std() > 1e-3
    quantised = sum(layer.weight.numel() for layer in quantised_layers(model).values())
    floats = sum(x.numel() for x in model.state_dict().values()) - quantised
    # 4 bits a weight, 4 bytes of what stays float, and names
    expected = quantised / 2 + 4 * floats
    assert expected < (tmp_path / 'qsd.safetensors').stat().st_size < expected * 1.6


def test_half_precision_and_channels_last_survive(tmp_path):
    model = trained().bfloat16().to(memory_format=torch.channels_last)
    save_packed(model, tmp_path / 'half.safetensors')
    loaded = classifier().bfloat16().eval()
    load_packed(loaded, tmp_path / 'half.safetensors')
    for name, layer in quantised_layers(model).items():
        other = quantised_layers(loaded)[name]
        assert torch.equal(other.quantised_weight(), layer.quantised_weight())


def test_a_byte_holds_two_weights_of_four_bits(tmp_path):
    layer = nn.Sequential(nn.Linear(3, 1))
    LSQ()(layer, 'model')
    with torch.no_grad():
        layer[0].weight.copy_(torch.tensor([[-8.0, 7.0, 1.0]]))
        layer[0].alpha.fill_(1.0)
    save_packed(layer, tmp_path / 'x')
    # The first in the lower half, counted from -8
    assert load((tmp_path / 'x').read_bytes())['0.weight'].tolist() == [0xF0, 0x09]


def test_the_file_is_an_eighth_of_the_float_weights(tmp_path):
    model = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512))
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    LSQ()(model, 'model')
    save_packed(model, tmp_path / 'packed')
    assert (tmp_path / 'packed').stat().st_size < len(file.getvalue()) / 8 * 1.05


def test_what_cannot_be_packed_is_told(tmp_path):
    with pytest.raises(ValueError, match='ImageClassifier has no quantised layer'):
        save_packed(classifier(None), tmp_path / 'x')
    model = classifier()
    with torch.no_grad():
        model.head.fc.bias[0] = float('nan')
    with pytest.raises(ValueError, match=r'1 unusable: head\.fc\.bias not finite'):
        save_packed(model, tmp_path / 'x')
    with torch.no_grad():
        model.head.fc.alpha[0] = 0
    with pytest.raises(ValueError, match=r'head\.fc\.alpha=0'):
        save_packed(model, tmp_path / 'x')
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def packed(tmp_path):
    file = tmp_path / 'model.safetensors'
    save_packed(trained(), file)
    return file


def refused(model, file, match):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=match) as error:
        load_packed(model, file)
    assert str(file) in str(error.value)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(
    ('model', 'match'),
    [
        (dict(bits=3), r"conv\.weight is \{'bits': 4, .*, expected \{'bits': 3, "),
        (dict(ratio=3), r"'shape': \[16, 8, 1, 1\]\}, expected .*\[24, 8, 1, 1\]"),
        (dict(bits=None), 'only one of them quantises backbone'),
    ],
)
def test_a_file_of_another_model_is_refused(model, match, packed):
    refused(classifier(**model), packed, match)


def test_a_damaged_file_is_refused(packed):
    content = packed.read_bytes()
    whole = 'expected a whole file of packed weights, as save_packed writes it'
    for cut in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
        packed.write_bytes(content[:cut])
        refused(classifier(), packed, whole)
    packed.write_bytes(b'\xff' * 8 + content[8:])
    refused(classifier(), packed, whole)
    with pytest.raises(FileNotFoundError, match='no such file'):
        load_packed(classifier(), packed.with_name('nobody'))


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('it ran')",)


def test_a_foreign_file_is_refused_and_never_runs(packed):
    whole = 'expected a whole file of packed weights'
    for content in (pickle.dumps(Bomb()), save({'head.fc.bias': torch.zeros(5)}), b'{}' * 50):
        packed.write_bytes(content)
        refused(classifier(), packed, whole)
    torch.save(classifier().state_dict(), packed)
    refused(classifier(), packed, whole)


def described(packed):
    content = packed.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], 'little')])
    return load(content), header['__metadata__'][FORMAT]


@pytest.mark.parametrize('text', ['', '[', '[]', '3', '{}', '[' * 100000, '{"a": {"bits": 4}}'])
def test_a_nonsense_description_is_refused(text, packed):
    tensors, _ = described(packed)
    packed.write_bytes(save(tensors, {FORMAT: text}))
    refused(classifier(), packed, 'whole file|not described|only one of them quantises')


def change(tensors, name, value):
    if value is None:
        del tensors[name]
    else:
        tensors[name] = value


@pytest.mark.parametrize(
    ('name', 'value', 'match'),
    [
        (f'{CONV}.weight', None, r'conv\.weight is missing: expected 54 bytes'),
        (f'{CONV}.weight', torch.zeros(53, dtype=torch.uint8), r'\[53\]: expected 54 bytes'),
        (f'{CONV}.weight', torch.zeros(4, 3, 3, 3), r'torch\.float32 \[4, 3, 3, 3\]: expected'),
        (f'{CONV}.alpha', None, r'1 missing: .*alpha'),
        (f'{CONV}.alpha', torch.zeros(4), r'1 not positive: .*alpha'),
        (f'{CONV}.init_state', torch.zeros(1), r'1 not positive: .*init_state'),
        (f'{CONV}.init_state', None, r'1 missing: .*init_state'),
        (f'{CONV}.alpha', torch.full((4,), float('nan')), r'1 unusable: .*alpha not finite'),
        (f'{CONV}.alpha', torch.ones(3), r'1 of another shape: .*alpha \(3,\) instead of \(4,\)'),
        ('head.fc.bias', None, r'1 missing: head\.fc\.bias'),
        ('head.fc.bias', torch.zeros(6), r'1 of another shape: head\.fc\.bias'),
        ('head.fc.other', torch.zeros(6), r'1 unexpected: head\.fc\.other'),
    ],
)
def test_a_wrong_tensor_is_named(name, value, match, packed):
    tensors, text = described(packed)
    change(tensors, name, value)
    packed.write_bytes(save(tensors, {FORMAT: text}))
    refused(classifier(), packed, match)


def test_a_file_without_any_step_is_refused(packed):
    tensors, text = described(packed)
    tensors = {name: value for name, value in tensors.items() if not name.endswith('.alpha')}
    packed.write_bytes(save(tensors, {FORMAT: text}))
    refused(classifier(), packed, r'\d+ missing: .*alpha')


def test_flipped_bits_are_refused_or_loaded_as_weights(packed):
    """No flip of the file does anything else; nothing of it is run."""
    content = bytearray(packed.read_bytes())
    random = np.random.default_rng(0)
    model = classifier()
    for place in random.integers(0, len(content), 200):
        flipped = content.copy()
        flipped[place] ^= 1 << int(random.integers(8))
        packed.write_bytes(flipped)
        with contextlib.suppress(ValueError):
            load_packed(model, packed)


def test_a_quantised_network_expands_to_binary_spikes():
    model = trained(dtype=torch.float64)
    with torch.no_grad():
        expected = model(images(torch.float64))
    binary = expand_to_binary(model)
    torch.testing.assert_close(binary(images(torch.float64)), expected, rtol=0, atol=1e-12)
    assert not quantised_layers(binary)
    assert quantised_layers(model)
