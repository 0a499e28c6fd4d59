"""What the modules of a network give out, recorded while it runs."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from functools import partial

from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

Select = type | tuple[type, ...] | str | Callable[[str, nn.Module], bool]


def _itself(output: object) -> object:
    return output


@contextmanager
def recording(
    model: nn.Module, select: Select, reduce: Callable[[object], object] = _itself
) -> Iterator[dict[str, list]]:
    """Records the outputs of chosen modules in every forward pass within the context.

    Each output is reduced as it comes, so that ``reduce=lambda spikes: spikes.mean().item()``
    keeps a number of each call and no tensor. Without it the tensors themselves are kept, not
    copies: what changes them in place later changes the record.

    A module that is called several times in a pass, or whose activations a backward pass computes
    anew, has an entry of each call. Hooks are what records: of a network that was compiled before,
    and of modules used by other ways than a call, there is nothing.

    Args:
        model (nn.Module): The network.
        select (type | tuple[type, ...] | str | Callable): Which of its modules: those of a type,
            those whose name matches a pattern such as ``'stages.*.attention_map'`` (``*`` also
            matches dots), or those for which a function of name and module is true.
        reduce (Callable): Makes of an output, its tensors detached, what is kept. Defaults to the
            output itself.

    Yields:
        dict[str, list]: By the modules' names, in the order of the network, an entry for each call
        so far; none of modules that were not called.

    Raises:
        ValueError: ``select`` chooses no module or is of another kind, or ``reduce`` is no
            function.
    """
    if not callable(reduce):
        raise ValueError(f'reduce={reduce!r}: expected a function of an output')
    chosen = _chooser(select)
    modules = {name: module for name, module in model.named_modules() if chosen(name, module)}
    if not modules:
        raise ValueError(f'select={select!r}: chooses no module of {type(model).__name__}')
    records: dict[str, list] = {name: [] for name in modules}

    def record(entries: list, module: nn.Module, args: tuple, output: object) -> None:
        entries.append(reduce(tree_map_only(Tensor, Tensor.detach, output)))

    with ExitStack() as hooks:
        for name, module in modules.items():
            hook = module.register_forward_hook(partial(record, records[name]))
            hooks.callback(hook.remove)
        yield records


def _chooser(select: Select) -> Callable[[str, nn.Module], bool]:
    if isinstance(select, str):
        return lambda name, module: fnmatchcase(name, select)
    if isinstance(select, type) or (
        isinstance(select, tuple) and all(isinstance(kind, type) for kind in select)
    ):
        return lambda name, module: isinstance(module, select)
    if callable(select):
        return select
    raise ValueError(
        f'select={select!r}: expected a type, a tuple of types, a pattern of names, or a function '
        'of name and module'
    )
