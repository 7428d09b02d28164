"""Where PTX came from: the node of the model that each line belongs to.

A comment `// node: NAME` names the node of the instructions behind it, up to the next
such comment or the end of the function. Without one, a line belongs to its kernel.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass

COMMENT = re.compile(r"//\s*node:\s*(?P<node>.*?)\s*$")
NAMED = re.compile(r"\.(?:entry|func)\s+(?:\([^)]*\)\s*)?(?P<name>[\w$]+)")


@dataclass(frozen=True)
class Provenance:
    """Lines (counted from one) at which another node or function begins."""

    starts: tuple[int, ...] = (0,)
    names: tuple[str, ...] = ("",)

    @staticmethod
    def of(ptx: str) -> Provenance:
        """Read the comments of PTX text."""
        starts, names = [0], [""]
        for number, line in enumerate(ptx.splitlines(), 1):
            node, function = COMMENT.search(line), NAMED.search(line)
            if node is not None:
                starts.append(number)
                names.append(f"node {node['node']}")
            elif function is not None:
                starts.append(number)
                names.append(f"in {function['name']}")
        return Provenance(tuple(starts), tuple(names))

    def place(self, line: int) -> str:
        """`PTX line 12, node conv1`, or `PTX line 12, in gemm`."""
        name = self.names[bisect.bisect_right(self.starts, line) - 1]
        return f"PTX line {line}, {name}" if name else f"PTX line {line}"
