"""Counts the memory of tensors that have none: on the meta device, from the birth of each storage to its death.

PyTorch's meta device computes shapes alone. Run there, a training step calls the same operations on the same shapes as
anywhere else, so that the sum of the storages alive is what it would take. Operations that give several storages or
temporary ones inside one call of a library are written out (`stand_ins`), because from outside they cannot be seen.
Tensors of integers stay real where they are: layouts and masks are read while a step is put together.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
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
_META, _CPU = torch.device("meta"), torch.device("cpu")


@dataclass(slots=True)
class _Storage:
    """One that lives: what to be told of its death by, its bytes, what it is for."""

    reference: Any
    size: int
    kind: Kind


class MemoryTracker(TorchDispatchMode):
    """While entered, every new storage counts as `phase`, or as logits if its rows are as long as `vocabulary`.

    `now` are the bytes alive by kind, `peak` those of the moment with the most. `kept` storages do not count towards
    the peak: they lie in memory of their own, of which `most_kept` bytes were taken at once. Sizes are rounded up to
    `granule` bytes, as allocators do.
    """

    def __init__(self, *, vocabulary: int = 0, granule: int = 64, stand_ins: StandIns | None = None) -> None:
        super().__init__()
        self.phase: Kind = "activations"
        self.now: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self.peak: dict[Kind, int] = dict(self.now)
        self.most_kept = 0
        self._vocabulary, self._granule, self._stand_ins = vocabulary, granule, stand_ins or {}
        self._living: dict[int, _Storage] = {}
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
            for tensor in tree_leaves(result):
                if isinstance(tensor, Tensor):
                    rows_of_logits = self._vocabulary and tensor.ndim > 1 and tensor.shape[-1] == self._vocabulary
                    self._note(tensor, "logits" if rows_of_logits else self.phase)
        return result

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func in self._stand_ins:
            with self, torch.no_grad():
                return self._stand_ins[func](*args, **kwargs)
        if func is _aten._to_copy.default and _stays(args[0], kwargs):
            kwargs = kwargs | {"device": _CPU}
        if any(isinstance(leaf, Tensor) and leaf.is_meta for leaf in tree_leaves((args, kwargs))):
            if func in _INDEXED:
                args = (args[0], _places(args[1]), *args[2:])
            args, kwargs = tree_map_only(Tensor, _shape_alone, (args, kwargs))
        return func(*args, **kwargs)

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
