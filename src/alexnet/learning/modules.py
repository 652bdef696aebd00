"""summarize_module(module, input) -> ModuleSummary: a torch module that is not ours, seen through hooks.

Counts by the module's type (module_kinds.py), and lists what it cannot count. Our own networks need none of
this: `summarize` has their figures without running them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.flop_counter import FlopCounterMode

from alexnet.architecture.arithmetic import BYTES_PER_VALUE, shape_text
from alexnet.architecture.network import Shape
from alexnet.errors import NetworkError
from alexnet.learning import module_kinds, module_tables
from alexnet.learning.model import AlexNet
from alexnet.learning.module_figures import ModuleCall, ModuleFigures, is_bias
from alexnet.learning.module_kinds import window


class ModuleSummary(ModuleFigures):
    """A torch module's figures. Its text is the table; `markdown()`, `csv()`, `json()` are other forms."""

    def text(self) -> str:
        """The tables for a terminal."""
        return module_tables.text(self)

    def markdown(self) -> str:
        """One Markdown table and the remarks."""
        return module_tables.markdown(self)

    def csv(self) -> str:
        """One line a call, every figure a column."""
        return module_tables.csv(self)

    def json(self) -> str:
        """Everything: every row, the totals, the remarks."""
        return module_tables.json(self)

    def __str__(self) -> str:
        return self.text()


class ModuleMisfitError(NetworkError):
    """Raised by `summarize_module`: which layer failed and why, and the summary up to there."""

    def __init__(self, message: str, *, layer: str, summary: ModuleSummary) -> None:
        super().__init__(message)
        self.layer = layer  # the path of the module that failed
        self.summary = summary  # of the calls before it


def summarize_module(module: nn.Module, shape: Shape, *, name: str = "") -> ModuleSummary:
    """Every figure of every call of a leaf module, while `module` runs once on a picture of zeros.

    `shape` is (height, width, depth), (length,), or sizes with the depth last. It runs in evaluation mode,
    as a copy on the meta device, which computes shapes only, and on the CPU where that fails. Module calls
    are what is seen: functions between them are not, which the summary's remarks say.

    >>> summary = summarize_module(nn.Sequential(nn.Conv2d(3, 96, 11, 4), nn.ReLU()), (227, 227, 3))
    >>> summary.layers[0].output, summary.macs
    ((55, 55, 96), 105415200)

    Raises ModuleMisfitError, with the summary up to there, where a layer fails, NetworkError for an input
    that is none, for what torch.jit made and for this package's own networks.
    """
    if isinstance(module, AlexNet):
        described = module.network.name
        raise NetworkError(
            f"{name or described}: alexnet's own network '{described}'; its figures need no run; give its "
            "name, TOML file or weights file instead, in Python summarize(model.network)"
        )
    if any(isinstance(each, torch.jit.ScriptModule) for each in module.modules()):
        raise NetworkError(
            f"{name or type(module).__name__}: compiled by torch.jit, so that its layers cannot be watched; "
            "give the module that it was made from"
        )
    if not shape or any(type(size) is not int or size < 1 for size in shape):
        raise NetworkError(f"input {list(shape)}; must be whole numbers of at least 1, such as 224, 224, 3")
    name = name or type(module).__name__
    # What does not run on the meta device, for its values matter, may run on the CPU; what fails fails there.
    with suppress(Exception):
        return _summarize(_copy_on_meta(module), torch.device("meta"), shape, name)
    try:
        copied = copy.deepcopy(module)
    except Exception:
        copied = module  # its hooks and its mode are put back
    return _summarize(copied, torch.device("cpu"), shape, name)


def _copy_on_meta(module: nn.Module) -> nn.Module:
    """A copy whose parameters and buffers have no values: nothing is allocated."""
    memo: dict[int, Any] = {}
    for each in chain(module.parameters(), module.buffers()):
        empty = torch.empty_like(each, device="meta")
        is_parameter = isinstance(each, nn.Parameter)
        memo[id(each)] = nn.Parameter(empty, each.requires_grad) if is_parameter else empty
    return copy.deepcopy(module, memo).to("meta")


def _picture(module: nn.Module, device: torch.device, shape: Shape) -> Tensor:
    kinds = (each.dtype for each in module.parameters() if each.is_floating_point())
    dtype = next(kinds, torch.float32)
    first_leaf = next((each for each in module.modules() if not list(each.children())), None)
    if isinstance(first_leaf, nn.Embedding):
        dtype = torch.int64  # indices, not values
    return torch.zeros(1, shape[-1], *shape[:-1], dtype=dtype, device=device)


def _summarize(module: nn.Module, device: torch.device, shape: Shape, name: str) -> ModuleSummary:
    """Run it once; the module is as before afterwards."""
    record = _Record(module)
    modes = {each: each.training for each in module.modules()}
    module.eval()
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), torch.device(device), counter:
            module(_picture(module, device, shape))
    except (Exception, SystemExit) as error:
        so_far = ModuleSummary(name=name, input=shape, layers=tuple(record.rows), outside={}, torch_macs=None)
        layer, message = record.failure(error)
        raise ModuleMisfitError(message, layer=layer, summary=so_far) from error
    finally:
        record.close()
        for each, mode in modes.items():
            each.training = mode
    outside = {
        path: parameter.numel()
        for path, parameter in module.named_parameters()
        if id(parameter) not in record.counted and not nn.parameter.is_lazy(parameter)
    }
    return ModuleSummary(
        name=name,
        input=shape,
        layers=tuple(record.rows),
        outside=outside,
        torch_macs=counter.get_total_flops() // 2,
    )


@dataclass(frozen=True, kw_only=True)
class _Leaf:
    """A module that gets rows."""

    module: nn.Module
    children: tuple[nn.Module, ...]  # that have rows of their own, and so their own parameters

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        others = {id(each) for child in self.children for each in child.parameters()}
        return [each for each in self.module.named_parameters() if id(each[1]) not in others]


def _leaves(module: nn.Module) -> Iterator[_Leaf]:
    """The modules that get rows: those without children, and those of a known type with any."""
    hidden: set[str] = set()  # what a module uses for itself, without its being a layer
    if isinstance(module, nn.MultiheadAttention):
        hidden = {name for name, _ in module.named_children()}
    elif is_parametrized(module):
        hidden = {"parametrizations"}
    children = tuple(each for name, each in module.named_children() if name not in hidden)
    if not children or isinstance(module, module_kinds.KNOWN):
        yield _Leaf(module=module, children=children)
    for child in children:
        yield from _leaves(child)


@dataclass(frozen=True, kw_only=True)
class _Running:
    """A module that has been entered and not left."""

    name: str
    module: nn.Module
    entering: Tensor | None


class _Record:
    """What hooks write down while a module runs; `close` takes them away."""

    def __init__(self, whole: nn.Module) -> None:
        self.rows: list[ModuleCall] = []
        self.counted: set[int] = set()  # ids of the parameters that a row has
        self._running: list[_Running] = []  # the innermost last
        self._axes: dict[torch.Size, int] = {}  # where the depth was, in tensors of that shape
        self._leaves = {leaf.module: leaf for leaf in _leaves(whole)}
        self._handles = []
        for name, module in whole.named_modules():
            shown = name or type(module).__name__
            self._handles.append(module.register_forward_pre_hook(self._on_enter(shown), with_kwargs=True))
            self._handles.append(module.register_forward_hook(self._on_leave, with_kwargs=True))

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _on_enter(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def enter(module: nn.Module, args: object, kwargs: object) -> None:
            entering = _first_tensor((args, kwargs))
            if entering is not None and entering.is_meta and module_kinds.refuses(module, entering):
                raise NotImplementedError("to be seen on the CPU")
            self._running.append(_Running(name=name, module=module, entering=entering))

        return enter

    def _on_leave(self, module: nn.Module, _args: object, _kwargs: object, output: object) -> None:
        # Above it are those that failed inside it, where that was caught.
        while (left := self._running.pop()).module is not module:
            pass
        if module in self._leaves:
            self.rows.append(self._row(left, self._leaves[module], _first_tensor(output)))

    def _row(self, left: _Running, leaf: _Leaf, leaving: Tensor | None) -> ModuleCall:
        module = leaf.module
        used = dict(leaf.parameters())
        fresh = {path: each for path, each in used.items() if id(each) not in self.counted}
        self.counted |= set(map(id, fresh.values()))
        parameters = sum(each.numel() for each in fresh.values())
        biases = sum(each.numel() for path, each in fresh.items() if is_bias(path))
        convolution = module if isinstance(module, module_kinds.CONVOLUTIONS) else None
        windowed = convolution or (module if isinstance(module, module_kinds.POOLS) else None)
        return ModuleCall(
            name=left.name,
            kind=type(module).__name__,
            input=self._shape(module, left.entering),
            output=self._shape(module, leaving, left.entering),
            filters=convolution.out_channels if convolution else None,
            kernel=window(windowed, "kernel_size"),
            stride=window(windowed, "stride"),
            padding=window(windowed, "padding"),
            groups=convolution.groups if convolution else None,
            dilation=window(windowed, "dilation"),
            weights=parameters - biases,
            biases=biases,
            shared=sum(each.numel() for each in used.values()) - parameters,
            macs=module_kinds.macs(module, left.entering, leaving),
            parameter_bytes=parameters * BYTES_PER_VALUE,
            activation_bytes=0 if leaving is None else leaving.numel() * BYTES_PER_VALUE,
        )

    def _shape(self, module: nn.Module, tensor: Tensor | None, entered: Tensor | None = None) -> Shape | None:
        """The tensor's sizes with the depth last, without the batch of one."""
        if tensor is None:
            return None
        axis = module_kinds.depth_axis(module, tensor)
        if axis is None and entered is not None and entered.ndim == tensor.ndim:
            axis = self._axes[entered.shape]
        if axis is None:
            axis = self._axes.get(tensor.shape, module_kinds.usual_depth_axis(module, tensor))
        self._axes[tensor.shape] = axis
        sizes = [*tensor.shape]
        if sizes:
            sizes.append(sizes.pop(axis))
        if len(sizes) > 1 and axis > 0 and sizes[0] == 1:
            del sizes[0]
        return tuple(sizes) or (1,)

    def failure(self, error: BaseException) -> tuple[str, str]:
        """Which module failed, and the line that says what arrived at it and what it wanted."""
        if not self._running:
            return "", f"its input cannot be made: {one_line(error)}; give a smaller one"
        failed = self._running[-1]
        where = f"Layer '{failed.name}' ({type(failed.module).__name__})"
        if failed.module not in self._leaves:
            last = self.rows[-1] if self.rows else None
            after = f"after '{last.name}'" if last else "before its first layer"
            gave = f" gave {shape_text(last.output)}" if last and last.output else ""
            return failed.name, f"{where}: {after}{gave}: {one_line(error)}; mend its forward"
        arrived = self._shape(failed.module, failed.entering)
        if arrived is None or failed.entering is None:
            return failed.name, f"{where}: {one_line(error)}; mend its forward"
        demanded = module_kinds.demand(failed.module, failed.entering, arrived)
        remedy = demanded or f"{one_line(error)}; change it or what comes before it"
        return failed.name, f"{where}: {shape_text(arrived)} arrived; {remedy}"


def _first_tensor(value: object) -> Tensor | None:
    """The first tensor in what a module takes or gives, however it is wrapped."""
    if isinstance(value, Tensor):
        return value
    inside = (
        value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    )
    return next((found for each in inside if (found := _first_tensor(each)) is not None), None)


def one_line(error: BaseException) -> str:
    """An error as one line that is not too long, with its kind."""
    lines = str(error).strip().splitlines() or [""]
    message = " ".join(lines[0].split()).rstrip(".;")
    return f"{type(error).__name__}: {message[:200]}" if message else type(error).__name__
