"""The file of the weights."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from stepwell.runtime.engine_file import aligned
from stepwell.runtime.manifest import Weight
from stepwell.runtime.verify_manifest import WEIGHT_ALIGNMENT


class WeightBlob:
    """`weights.bin` in the making: equal bytes are kept once."""

    def __init__(self) -> None:
        self.table: list[Weight] = []
        self._parts: list[tuple[int, np.ndarray[Any, Any]]] = []
        self._offsets: dict[bytes, int] = {}
        self._end = 0

    def add(self, array: np.ndarray[Any, Any], name: str) -> int:
        """The number of the weight that holds `array`."""
        if array.dtype == np.object_:
            strings = tuple(str(text) for text in array.reshape(-1))
            self.table.append(Weight(name=name, strings=strings))
            return len(self.table) - 1
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        key = hashlib.sha256(data.data).digest()
        if key not in self._offsets:
            self._offsets[key] = self._end
            self._parts.append((self._end, data))
            self._end += -(-data.nbytes // WEIGHT_ALIGNMENT) * WEIGHT_ALIGNMENT
        self.table.append(Weight(self._offsets[key], data.nbytes, name))
        return len(self.table) - 1

    def bytes(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The blob, in aligned memory."""
        blob = np.zeros(self._end, np.uint8)
        for offset, data in self._parts:
            blob[offset : offset + data.nbytes] = data
        return aligned(blob)
