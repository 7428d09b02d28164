"""Control flow of TensorFlow 1, as frozen graphs have it, made into `If` and `While`.

There a loop is a frame of nodes and a branch is a pair of switches:

```text
Enter -> Merge -> Switch -> (true) body -> NextIteration -> Merge
           |        |
           v        v (false) Exit
         cond -> LoopCond -> Switch

Switch(x, p) -> (true, false) branches -> Merge
```

A frame becomes one `StatelessWhile`, whose condition begins at the `Merge`s and whose
body at the `Switch`es; a `Merge` of branches becomes one `StatelessIf`. The functions
share the nodes of the graph: they differ in where they begin and end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from stepwell.errors import ModelError
from stepwell.frontends.tensorflow.graph import Body, LoadedGraph, Ref
from stepwell.frontends.tensorflow.protos import NodeDef, node_class


def functionalise(model: LoadedGraph) -> LoadedGraph:
    """The model with every frame a `While` and every pair of switches an `If`.

    Raises:
        ModelError: the frames are not well formed.
    """
    body = model.body
    ops = {node.op for node in body.nodes.values()}
    if not ops & {"Enter", "Switch"}:
        return model
    nodes = dict(body.nodes)
    body.nodes = nodes
    frames: dict[str, list[NodeDef]] = defaultdict(list)
    for node in nodes.values():
        if node.op == "Enter":
            frames[node.attr["frame_name"].s.decode()].append(node)
    switches = loop_switches(body)
    for name, enters in frames.items():
        replace_frame(model, name, enters, switches)
    for merge in branch_merges(body):
        replace_merge(model, merge, switches)
    return model


def loop_switches(body: Body) -> dict[str, NodeDef]:
    """The switch of each loop variable, by the name of its merge."""
    found: dict[str, NodeDef] = {}
    for node in body.nodes.values():
        if node.op == "Switch":
            data, predicate = body.inputs(node)
            if body.nodes[predicate[0]].op == "LoopCond":
                found[data[0]] = node
    return found


def replace_frame(
    model: LoadedGraph,
    name: str,
    enters: Sequence[NodeDef],
    switches: dict[str, NodeDef],
) -> None:
    """Put a `StatelessWhile` in the place of a frame."""
    body = model.body
    nodes = body.nodes
    readers = readers_of(body)
    merges: list[NodeDef] = []
    starts: list[str] = []
    constants: list[NodeDef] = []
    for enter in enters:
        merge = next((n for n in readers[enter.name] if n.op == "Merge"), None)
        if merge is None:
            constants.append(enter)
        elif merge.name in switches:
            merges.append(merge)
            starts.append(enter.input[0])
    steps = [next_iteration(body, merge) for merge in merges]
    if not merges:
        return
    predicate = body.inputs(switches[merges[0].name])[1]
    invariants = [(enter.name, 0) for enter in constants]
    inner = [enter.name for enter in constants]
    loop_name = unused_name(body, f"{name}/functional_while")
    model.add_body(
        Body(
            f"{loop_name}/cond",
            nodes,
            [*(merge.name for merge in merges), *inner],
            [body.inputs(nodes[predicate[0]])[0]],
        )
    )
    model.add_body(
        Body(
            f"{loop_name}/body",
            nodes,
            [*(switches[merge.name].name for merge in merges), *inner],
            [*(body.inputs(step)[0] for step in steps), *invariants],
        )
    )
    inputs = [*starts, *(enter.input[0] for enter in constants)]
    loop = node_class(name=loop_name, op="StatelessWhile", input=inputs)
    for part in ("cond", "body"):
        loop.attr[part].func.name = f"{loop_name}/{part}"
    additions = {loop_name: loop}
    for index, merge in enumerate(merges):
        for reader in readers[switches[merge.name].name]:
            if reader.op == "Exit":
                source = f"{loop_name}:{index}"
                additions[reader.name] = node_class(
                    name=reader.name, op="Identity", input=[source]
                )
    body.update(additions)


def next_iteration(body: Body, merge: NodeDef) -> NodeDef:
    """The node that hands a loop variable to the next iteration."""
    for name, _ in body.inputs(merge):
        if body.nodes[name].op == "NextIteration":
            return body.nodes[name]
    raise ModelError(f"loop variable {merge.name!r} has no next iteration")


def readers_of(body: Body) -> dict[str, list[NodeDef]]:
    """The nodes that read each node, by name."""
    found: dict[str, list[NodeDef]] = defaultdict(list)
    for node in body.nodes.values():
        for name, _ in body.inputs(node):
            found[name].append(node)
    return found


def unused_name(body: Body, stem: str) -> str:
    """A node's name that is not taken."""
    name, count = stem, 0
    while name in body.nodes:
        count += 1
        name = f"{stem}_{count}"
    return name


def branch_merges(body: Body) -> list[NodeDef]:
    """The merges of branches, inner ones before those that depend on them."""
    ordered: list[NodeDef] = []
    seen: set[str] = set()
    for root in [node.name for node in body.nodes.values() if node.op == "Merge"]:
        pending = [(root, False)]
        while pending:
            name, is_done = pending.pop()
            node = body.nodes[name]
            if is_done:
                if node.op == "Merge" and not is_loop_merge(body, node):
                    ordered.append(node)
                continue
            if name in seen or node.op == "NextIteration":
                continue
            seen.add(name)
            pending.append((name, True))
            pending += [(each, False) for each in dependencies(body, node)]
    return ordered


def is_loop_merge(body: Body, merge: NodeDef) -> bool:
    """Whether a merge joins the iterations of a loop rather than branches."""
    ops = {body.nodes[name].op for name, _ in body.inputs(merge)}
    return bool(ops & {"NextIteration", "Enter"})


def dependencies(body: Body, node: NodeDef) -> Iterable[str]:
    """The nodes that a node reads or waits for."""
    for text in node.input:
        yield text[1:] if text.startswith("^") else body.ref(text)[0]


def replace_merge(
    model: LoadedGraph, merge: NodeDef, switches: dict[str, NodeDef]
) -> None:
    """Put a `StatelessIf` in the place of a merge of two branches."""
    body = model.body
    in_loops = {node.name for node in switches.values()}
    sides: dict[int, Ref] = {}
    used: dict[str, NodeDef] = {}
    for text in merge.input:
        if text.startswith("^"):
            continue
        taken, found = side_of(body, text, in_loops)
        sides[taken] = body.ref(text)
        used |= found
    if {*sides} != {0, 1}:
        raise ModelError(f"merge {merge.name!r} does not join two branches")
    arguments = list(used)
    for part, side in (("then_branch", 1), ("else_branch", 0)):
        name = f"{merge.name}/{part}"
        model.add_body(Body(name, body.nodes, arguments, [sides[side]]))
    (predicate,) = {body.inputs(node)[1] for node in used.values()}
    inputs = [f"{predicate[0]}:{predicate[1]}"]
    inputs += [node.input[0] for node in used.values()]
    branch = node_class(name=merge.name, op="StatelessIf", input=inputs)
    for part in ("then_branch", "else_branch"):
        branch.attr[part].func.name = f"{merge.name}/{part}"
    body.update({merge.name: branch})


def side_of(
    body: Body, text: str, in_loops: set[str]
) -> tuple[int, dict[str, NodeDef]]:
    """Which output of the switches a branch begins at, and those switches.

    Constants of a branch wait for a switch without reading it.
    """
    sides: set[int] = set()
    switches: dict[str, NodeDef] = {}
    pending, seen = [text], set[str]()
    while pending:
        each = pending.pop()
        name, index = body.ref(each.removeprefix("^"))
        node = body.nodes[name]
        if node.op == "Switch" and name not in in_loops:
            switches[name] = node
            if not each.startswith("^"):
                sides.add(index)
            continue
        if each in seen or name in in_loops or node.op in ("Merge", "Enter"):
            continue
        seen.add(each)
        pending += node.input
    if len(sides) != 1:
        raise ModelError(f"{text!r} does not belong to one branch")
    return sides.pop(), switches
