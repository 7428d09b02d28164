"""Ops that hold a graph together: constants, variables, identities, calls."""

from __future__ import annotations

from collections.abc import Sequence

from stepwell.frontends.contents import constant_tensor
from stepwell.frontends.tensorflow.node import Item, Node
from stepwell.frontends.tensorflow.registry import Output, Rule

CALLS = ("PartitionedCall", "StatefulPartitionedCall")


def constant(node: Node) -> Item:
    """A tensor of the attribute `value`."""
    array = node.attribute("value")
    if array.dtype.kind in "SUO":
        raise node.unsupported("a constant of strings")
    return constant_tensor(array)


def identity(node: Node) -> Item:
    """The input itself."""
    return node.inputs[0]


def identities(node: Node) -> Sequence[Output]:
    """The inputs themselves."""
    return node.inputs


def read_variable(node: Node) -> Item:
    """The value of a frozen variable."""
    return node.resource().value


def placeholder(node: Node) -> Item:
    """An input that is not among those of the signature."""
    raise node.unsupported(
        "a placeholder that is no input of the model",
        fix="list it among the inputs of the signature",
    )


def variable(node: Node) -> Item:
    """A variable that has no value in the checkpoint."""
    raise node.unsupported(
        "a variable without a value in the checkpoint",
        fix="save the model again after its variables are initialised",
    )


def call(node: Node) -> Sequence[Output]:
    """The body of the function, inlined."""
    body = node.importer.function(node.attribute("f").name)
    return node.importer.call(body, node.inputs, prefix_of(node))


def prefix_of(node: Node) -> str:
    """What goes before the names of a called function's nodes.

    Names that TensorFlow made up say nothing: the nodes inside have better ones.
    """
    outer, _, name = node.name.rpartition("/")
    is_made_up = name.partition("_")[0] in CALLS
    return outer if is_made_up else node.name


IDENTITIES = (
    "CheckNumerics",
    "EnsureShape",
    "Identity",
    "PlaceholderWithDefault",
    "PreventGradient",
    "Snapshot",
    "StopGradient",
)

RULES = (
    Rule("Const", constant),
    *(Rule(name, identity, ignores=("message", "shape")) for name in IDENTITIES),
    Rule("IdentityN", identities),
    Rule("ReadVariableOp", read_variable),
    Rule("Placeholder", placeholder, ignores=("shape",)),
    Rule("VarHandleOp", variable, ignores=("container", "shape", "shared_name")),
    Rule("VariableV2", variable, ignores=("container", "shape", "shared_name")),
    *(
        Rule(name, call, ignores=("config", "config_proto", "executor_type"))
        for name in CALLS
    ),
)
