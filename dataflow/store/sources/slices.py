"""From a text file to partition specs: how large it is, whether to cut it, and what each slice is called."""

from __future__ import annotations

import math
from collections.abc import Iterable

from dataflow.plan.partitions import PartitionSpec, SourceFile
from dataflow.store.sources.content import TextFile
from dataflow.store.sources.cuts import Cut

_LEAST_LIMIT = 1 << 30
_LIMIT_SHARE = 16


def inflation_limit(target_bytes: int) -> int:
    """Bytes of text that an unscanned packed file may give; far above its estimate, yet it bounds a worker."""
    return max(_LEAST_LIMIT, _LIMIT_SHARE * target_bytes)


def even_target(size: int, target_bytes: int) -> int:
    """The bytes of a slice by which a text of this size falls into slices of equal size, none above the target."""
    return max(1, math.ceil(size / max(1, math.ceil(size / target_bytes))))


def whole_spec(found: SourceFile, start: int) -> PartitionSpec:
    """The spec of an uncut file from `start` on; its records are counted when it is read."""
    return PartitionSpec(index=0, path=found.path, fingerprint=found.fingerprint, start=start, stop=-1, size=found.size)


def cut_specs(found: SourceFile, file: TextFile, *, slices: Iterable[Cut]) -> tuple[PartitionSpec, ...]:
    """The specs of a file that was cut, with the source row at which each begins."""
    pieces = tuple(slices)
    text = pieces[-1].stop - pieces[0].start if pieces else 0
    share = 1.0 if file.packed is None or not text else found.size / text
    specs: list[PartitionSpec] = []
    row = 1
    for piece in pieces:
        size = int((piece.stop - piece.start) * share)
        specs.append(
            PartitionSpec(
                index=len(specs),
                path=found.path,
                fingerprint=found.fingerprint,
                start=piece.start,
                stop=piece.stop,
                first_row=row,
                rows=piece.rows,
                size=size,
            )
        )
        row += piece.rows
    return tuple(specs)
