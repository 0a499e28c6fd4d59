"""Products of matrices while a network runs, each known with the module that runs it."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class ProductMode(TorchDispatchMode):
    """Meets the operators of what runs within; convolutions and matrix products with their size.

    Attributes:
        running (list[str]): Names of the modules that run now, the innermost last; ``''`` is the
            model itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.running = ['']

    @abstractmethod
    def on_product(self, operator: str, args: tuple, result: Tensor, products: int) -> None:
        """What is done at a product: its operator, what it takes and gives, and its size."""

    def on_result(self, func: OpOverload, args: tuple, kwargs: Mapping, result: object) -> None:
        """What is done at any operator, a product included; nothing."""

    def on_entering(self, name: str, module: nn.Module) -> None:
        """What is done when a module begins to run; nothing."""

    def on_leaving(self, name: str, module: nn.Module, output: object) -> None:
        """What is done when it has run; nothing."""

    @contextmanager
    def following(self, model: nn.Module) -> Iterator[None]:
        """Knows within which module of ``model`` runs."""
        with ExitStack() as hooks:
            for name, module in model.named_modules():
                entering = module.register_forward_pre_hook(partial(self._enter, name))
                hooks.callback(entering.remove)
                leaving = module.register_forward_hook(self._leave)
                hooks.callback(leaving.remove)
            yield

    def _enter(self, name: str, module: nn.Module, args: tuple) -> None:
        self.running.append(name)
        self.on_entering(name, module)

    def _leave(self, module: nn.Module, args: tuple, output: object) -> None:
        self.on_leaving(self.running.pop(), module, output)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        packet = func.overloadpacket
        if packet in flop_registry:
            # PyTorch counts a multiplication and an addition as two
            products = flop_registry[packet](*args, **kwargs, out_val=result) // 2
            self.on_product(str(packet), args, result, products)
        self.on_result(func, args, kwargs, result)
        return result
