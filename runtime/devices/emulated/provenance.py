"""Where PTX came from: the node of the model that each line belongs to.

Comments `// node: NAME`, one or several lines, name the nodes of the instructions
behind them, up to the next such comment or function; they may stand in front of a
function or inside. Without one, a line belongs to its kernel.
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
        nodes: list[str] = []  # of the comments that stand right before
        for number, line in enumerate(ptx.splitlines(), 1):
            node, function = COMMENT.search(line), NAMED.search(line)
            if node is not None:
                nodes.append(node["node"])
                starts.append(number)
                names.append("node " + ", ".join(nodes))
                continue
            if function is not None and not nodes:
                starts.append(number)
                names.append(f"in {function['name']}")
            if line.strip():
                nodes.clear()
        return Provenance(tuple(starts), tuple(names))

    def place(self, line: int) -> str:
        """`PTX line 12, node conv1`, or `PTX line 12, in gemm`."""
        name = self.names[bisect.bisect_right(self.starts, line) - 1]
        return f"PTX line {line}, {name}" if name else f"PTX line {line}"
