"""Counts the memory of tensors that have none: on the meta device, from the birth of each storage to its death.

PyTorch's meta device computes shapes alone. Run there, a training step calls the same operations on the same shapes as
anywhere else, so that the sum of the storages alive is what it would take. Operations that give several storages or
temporary ones inside one call of a library are written out (`stand_ins`), because from outside they cannot be seen.
Tensors of integers stay real where they are: layouts and masks are read while a step is put together.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

Kind = Literal["weights", "adapter", "gradients", "optimizer", "activations", "logits", "working", "kept"]
KINDS: tuple[Kind, ...] = get_args(Kind)
StandIns = Mapping[Any, Callable[..., Any]]

_aten = torch.ops.aten
_INDEXED = {_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default}
_RESHAPING = {f"aten::{name}_" for name in ("resize", "set", "t", "transpose", "squeeze", "unsqueeze", "as_strided")}
_META, _CPU = torch.device("meta"), torch.device("cpu")


@dataclass(slots=True)
class _Storage:
    """One that lives: what to be told of its death by, its bytes, what it is for."""

    reference: Any
    size: int
    kind: Kind


class MemoryTracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While entered, every new storage counts as `phase`, or as logits if its rows are as long as `vocabulary`.

    `now` are the bytes alive by kind, `peak` those of the moment with the most. `kept` storages do not count towards
    the peak: they lie in memory of their own, of which `most_kept` bytes were taken at once. Sizes are rounded up to
    `granule` bytes, as allocators do. `scratch` says how many bytes an operation takes beside its result while it runs.
    """

    def __init__(
        self,
        *,
        vocabulary: int = 0,
        granule: int = 64,
        stand_ins: StandIns | None = None,
        scratch: Callable[[Any, Tensor], int] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.phase: Kind = "activations"
        self.now: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self.peak: dict[Kind, int] = dict(self.now)
        self.most_kept = 0
        self._vocabulary, self._granule, self._stand_ins = vocabulary, granule, stand_ins or {}
        self._scratch = scratch
        self._living: dict[int, _Storage] = {}
        self._results: dict[tuple[Any, ...], Any] = {}
        self._total = self._highest = 0

    def own(self, tensors: Iterable[Tensor], kind: Kind) -> None:
        """Say what tensors are for, also ones from before."""
        for tensor in tensors:
            known = self._living.get(tensor.untyped_storage()._cdata)
            if known is None:
                self._note(tensor, kind)
            else:
                self._count(known.kind, -known.size)
                known.kind = kind
                self._count(kind, known.size)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation on shapes, and count what it gives."""
        with torch._C.DisableTorchFunction():  # also for reading a shape, which a function mode would be asked about
            result = self._run(func, args, kwargs or {})
            for tensor in result if isinstance(result, tuple | list) else (result,):
                if isinstance(tensor, Tensor):
                    rows_of_logits = self._vocabulary and tensor.ndim > 1 and tensor.shape[-1] == self._vocabulary
                    self._note(tensor, "logits" if rows_of_logits else self.phase)
                    if self._scratch and (more := self._scratch(func, tensor)):
                        self._count("working", more)
                        self._count("working", -more)
        return result

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func in self._stand_ins:
            with self, torch.no_grad():
                return self._stand_ins[func](*args, **kwargs)
        if func is _aten._to_copy.default and _stays(args[0], kwargs):
            kwargs = kwargs | {"device": _CPU}
        if func in _INDEXED:
            args = (args[0], _places(args[1]), *args[2:])
        key: list[Any] = [func]
        if not (_describe(args, key) | _describe(kwargs.items(), key)):
            return func(*args, **kwargs)  # of real tensors alone
        behaviour = _behaviour(func)
        if behaviour == "in place":
            return args[0]  # which has its shape already
        if behaviour == "other":
            return func(*tree_map_only(Tensor, _shape_alone, args), **tree_map_only(Tensor, _shape_alone, kwargs))
        known = self._results.get(tuple(key))
        if known is None:
            arguments = tree_map_only(Tensor, _shape_alone, (args, kwargs))
            result = func(*arguments[0], **arguments[1])
            if _storages(arguments).isdisjoint(_storages(result)):  # some give views without saying so
                self._results[tuple(key)] = tree_map_only(Tensor, _layout, result)
            return result
        # The layers of a model are alike: most operations have been run on such shapes before.
        return type(known)(map(_fresh, known)) if type(known) in (tuple, list) else _fresh(known)

    def _note(self, tensor: Tensor, kind: Kind) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, -(-storage.nbytes() // self._granule) * self._granule
        if key in self._living or not size:
            return
        self._living[key] = _Storage(weakref.ref(storage, partial(self._forget, key)), size, kind)
        self._count(kind, size)

    def _forget(self, key: int, _: Any) -> None:
        storage = self._living.pop(key)
        self._count(storage.kind, -storage.size)

    def _count(self, kind: Kind, size: int) -> None:
        self.now[kind] += size
        if kind == "kept":
            self.most_kept = max(self.most_kept, self.now[kind])
            return
        self._total += size
        if self._total > self._highest:
            self._highest, self.peak = self._total, dict(self.now)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a meta tensor is made again from."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


def _layout(tensor: Tensor) -> _Layout:
    return _Layout(tuple(tensor.shape), tensor.stride(), tensor.dtype)


def _storages(values: Any) -> set[int]:
    return {value.untyped_storage()._cdata for value in tree_leaves(values) if isinstance(value, Tensor)}


def _fresh(layout: Any) -> Any:
    if not isinstance(layout, _Layout):
        return layout
    return torch.empty_strided(layout.shape, layout.stride, dtype=layout.dtype, device=_META)


def _describe(values: Iterable[Any], key: list[Any]) -> bool:
    """Add to `key` all that the shape of a result depends on; whether there is a meta tensor among the values."""
    found = False
    for value in values:
        if isinstance(value, Tensor):
            key.append((value.shape, value.stride(), value.dtype))
            found |= value.is_meta
        elif isinstance(value, tuple | list):
            key.append(len(value))
            found |= _describe(value, key)
        else:
            key.append((type(value), value))  # 1, 1.0 and True are equal and give other dtypes
    return found


@cache
def _behaviour(func: Any) -> Literal["in place", "new", "other"]:
    """Whether an operation changes its first argument alone and returns it, gives new tensors, or something else."""
    schema = func._schema
    changed = [argument.is_write for argument in (one.alias_info for one in schema.arguments) if argument is not None]
    if not any(one.alias_info for one in [*schema.arguments, *schema.returns]):
        return "new"
    first = schema.arguments[0].alias_info
    simple = schema.name.endswith("_") and len(schema.returns) == 1 and first is not None and sum(changed) == 1
    return "in place" if simple and schema.name not in _RESHAPING else "other"


def _stays(tensor: Any, options: Mapping[str, Any]) -> bool:
    """Whether a copy to the meta device would lose integers or truth values that are still to be read."""
    target = options.get("device")
    wanted = options.get("dtype") or tensor.dtype
    return not tensor.is_meta and target is not None and target.type == "meta" and not wanted.is_floating_point


def _shape_alone(tensor: Tensor) -> Tensor:
    """A meta tensor like a real one, whose values no meta tensor could take in anyway."""
    return tensor if tensor.is_meta else torch.empty_like(tensor, device=_META)


def _places(indices: Any) -> list[Tensor | None]:
    """Indices with the masks among them written out as numbers, whose count only a real mask tells."""
    places: list[Tensor | None] = []
    for index in indices:
        if index is not None and index.dtype in (torch.bool, torch.uint8) and not index.is_meta:
            places.extend(index.nonzero().unbind(1))
        else:
            places.append(index)
    return places
