"""Time inference, or a training step, against the release's graph and SpikingJelly.

Contestants are this project as it is configured (`ours`), as it is deployed (`deployed`: norms
folded, channels last, compiled neurons, on GPUs the CUDA kernels; for training norms stay), in
training the same with `memory=` (`packed`, `recompute`), the minimal graph of the release
(`release`, tools/benchmark/release_graph.py), the same graph on SpikingJelly's neurons (`on
spikingjelly`), which choose the fastest implementation they have, and for ImageNet SpikingJelly's
own model (`spikingjelly`). All have random weights of their own: what a dense convolution takes
does not depend on them. Ratios above 1: faster than the peer.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from interleaved import draw, race, report
from release_graph import ReleaseGraph
from torch import Tensor, nn

from mmqkformer.checks import at_least

MODELS = ('hst-10-384', 'hst-4-384')
DEPLOYED = {'deployed': None, 'packed': 'packed', 'recompute': 'recompute'}
PEERS = ('release', 'on spikingjelly', 'spikingjelly')
CONTESTANTS = ('ours', *DEPLOYED, *PEERS)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--arch', choices=MODELS, default=MODELS[0])
    parser.add_argument('--train', action='store_true', help='training steps; by default inference')
    parser.add_argument('--batch', type=at_least(1), nargs='+', default=[1, 8])
    parser.add_argument('--size', type=at_least(32), help='pixels of a side; by default 224 or 32')
    parser.add_argument('--rounds', type=at_least(1), default=10)
    parser.add_argument(
        '--contestants', nargs='+', choices=CONTESTANTS, default=CONTESTANTS, help='by default all'
    )
    parser.add_argument(
        '--dtype', choices=('float32', 'bfloat16'), default='float32', help='of `deployed`'
    )
    parser.add_argument(
        '--amp', choices=('float16', 'bfloat16'), help='mixed precision of all; by default none'
    )
    parser.add_argument('--json', type=Path, help='file to write to, with the batch in its name')
    parser.add_argument('--figure', type=Path, help='file to draw to, with the batch in its name')
    return parser.parse_args()


def _ours(arch: str, memory: str | None = None) -> nn.Module:
    from mmpretrain import get_model

    name = {'hst-10-384': 'hst-10-384_8xb64_in1k', 'hst-4-384': 'hst-4-384_1xb64_cifar10'}[arch]
    return get_model(f'qkformer_{name}', backbone=dict(memory=memory))


def _with_backend(model: nn.Module, backend: str) -> nn.Module:
    for module in model.modules():
        if hasattr(module, 'dynamics'):
            module.backend = backend
    return model


def _deployed(arch: str, train: bool, memory: str | None) -> nn.Module:
    from mmqkformer.deploy import fuse

    model = _ours(arch, memory) if train else fuse(_ours(arch))
    backend = 'auto' if torch.cuda.is_available() else 'compiled'
    return _with_backend(model.to(memory_format=torch.channels_last), backend)


class _SpikingJellyLIF(nn.Module):
    """SpikingJelly's LIF on ``[T, ...]``, with a membrane in float32 whatever the currents are.

    So it takes its kernels. Its ``LIFNode`` has a membrane of the currents' type, and in half
    precision goes back to PyTorch's operators, several times as slow.
    """

    def __init__(self, v_threshold: float = 1.0) -> None:
        from spikingjelly.activation_based import surrogate

        super().__init__()
        self.v_threshold = v_threshold
        self.surrogate = surrogate.Sigmoid(alpha=4.0)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes ``[T, ...]``."""
        from spikingjelly.activation_based.functional import lif_multi_step

        v = torch.zeros_like(x[0], dtype=torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            return lif_multi_step(
                x, v, 2.0, True, self.v_threshold, 0.0, self.surrogate, detach_reset=True
            )[0]


def _spikingjelly(arch: str) -> nn.Module:
    from spikingjelly.activation_based.model.qkformer import qkformer_10_384

    return qkformer_10_384(T=4)


def _release(arch: str, neuron: Callable[..., nn.Module] | None = None) -> nn.Module:
    large = arch == MODELS[0]
    args = {} if neuron is None else dict(neuron=neuron)
    return ReleaseGraph(large, classes=1000 if large else 10, **args)


BUILDERS = {
    'ours': _ours,
    'release': _release,
    'on spikingjelly': partial(_release, neuron=_SpikingJellyLIF),
    'spikingjelly': _spikingjelly,
}


def make(
    name: str, arch: str, batch: int, size: int, train: bool, dtype: str
) -> tuple[Callable[[], object], Callable[[], dict]]:
    """Builds a contestant: what is timed, and what tells of it."""
    from spikingjelly.activation_based import functional

    torch.manual_seed(0)
    # As the runners have it
    torch.backends.cudnn.benchmark = True
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    deployed = name in DEPLOYED
    model = _deployed(arch, train, DEPLOYED[name]) if deployed else BUILDERS[name](arch)
    model = model.to(device).train(train)
    images = torch.randn(batch, 3, size, size, device=device)
    if deployed:
        images = images.to(memory_format=torch.channels_last)
        if not train and dtype != 'float32':
            # Weights as well, so that nothing is cast in every layer
            model, images = (x.to(getattr(torch, dtype)) for x in (model, images))
    amp = partial(torch.autocast, device, getattr(torch, dtype), enabled=dtype != 'float32')

    def facts() -> dict:
        return dict(parameters=sum(p.numel() for p in model.parameters()))

    @torch.inference_mode()
    def infer() -> None:
        with amp():
            model(images)
        functional.reset_net(model)

    def step() -> None:
        with amp():
            outputs = model(images)
            loss = nn.functional.cross_entropy(outputs, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        functional.reset_net(model)

    if not train:
        return infer, facts
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    labels = torch.arange(batch, device=device) % 10
    return step, facts


def main() -> None:
    args = parse_args()
    large = args.arch == MODELS[0]
    size = args.size or (224 if large else 32)
    absent = set() if large else {'spikingjelly'}
    if not args.train:
        absent |= {name for name, memory in DEPLOYED.items() if memory}
    # Each once, in the order of the table
    names = [name for name in CONTESTANTS if name in {*args.contestants} - absent]
    peers = [name for name in PEERS if name in names]
    what = 'training step' if args.train else 'inference'
    dtypes = {name: args.amp or 'float32' for name in names}
    dtypes.update({name: args.amp or args.dtype for name in names if name in DEPLOYED})
    for batch in args.batch:
        contestants = {
            name: partial(make, name, args.arch, batch, size, args.train, dtype)
            for name, dtype in dtypes.items()
        }
        times = race(contestants, args.rounds, f'batch {batch}')
        precision = args.amp or f'deployed in {args.dtype}'
        title = f'{args.arch}, {size} px, {what}, batch {batch}, {precision}'
        json_file = args.json and args.json.with_stem(f'{args.json.stem}-b{batch}')
        report(title, times, peers, json_file)
        if args.figure is not None:
            draw(title, times, args.figure.with_stem(f'{args.figure.stem}-b{batch}'))


if __name__ == '__main__':
    main()
