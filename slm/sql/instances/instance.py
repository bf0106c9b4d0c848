"""The further databases of one gold, and how they are stored."""

import json
import zlib
from dataclasses import asdict, dataclass

_LEVEL = 6  # of zlib: small databases shrink to a tenth


@dataclass(frozen=True, slots=True)
class Instance:
    """`image` is a SQLite file. A strict one obeys mined rules too; what only another one shows is fragile."""

    image: bytes
    kind: str
    strict: bool


@dataclass(frozen=True, slots=True)
class InstanceSet:
    """Strict instances first. Of the `mutants` that run, `killed` differ from the gold on a strict instance,
    `fragile_killed` only on another one; `survivors` are those that differ on none.
    """

    instances: tuple[Instance, ...]
    mutants: int
    killed: int
    fragile_killed: int
    survivors: tuple[str, ...] = ()


def encode(found: InstanceSet) -> bytes:
    """As bytes: a line of JSON, then the images, all compressed."""
    head = asdict(found) | {"instances": [(len(i.image), i.kind, i.strict) for i in found.instances]}
    return zlib.compress(json.dumps(head).encode() + b"\n" + b"".join(i.image for i in found.instances), _LEVEL)


def decode(data: bytes) -> InstanceSet:
    """What `encode` made. Raises ValueError, KeyError or zlib.error for anything else."""
    line, _, images = zlib.decompress(data).partition(b"\n")
    head = json.loads(line)
    instances, at = [], 0
    for length, kind, strict in head["instances"]:
        instances.append(Instance(images[at : at + length], kind, strict))
        at += length
    counts = head["mutants"], head["killed"], head["fragile_killed"]
    return InstanceSet(tuple(instances), *counts, tuple(head["survivors"]))
