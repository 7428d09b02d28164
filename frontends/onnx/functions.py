"""Bodies of ops that ONNX defines by other ops, for those the op table lacks.

Model-local functions are inlined by ONNX itself when the model is loaded. The bodies
of ONNX's own functions may depend on the types of the inputs, which are known best
while a node is imported: so they are taken from the op's schema then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import onnx.defs
import onnx.helper

from stepwell.dialects.dtypes import f32, numpy_dtype
from stepwell.frontends.values import Sequence_, Tensor, Value


def function_body(
    node: onnx.NodeProto, domain: str, opset: int, inputs: Sequence[Value | None]
) -> onnx.FunctionProto | None:
    """The function that `node` calls, with its attributes filled in, or None."""
    schema = find_function(node.op_type, opset, domain)
    if schema is None:
        return None
    body = onnx.FunctionProto()
    if schema.has_function:
        body.CopyFrom(schema.function_body)
    else:
        types = [type_of(value).SerializeToString() for value in inputs]
        versions = schema.context_dependent_function_opset_versions
        version = max(v for v in versions if v <= max(opset, min(versions)))
        make = schema.get_context_dependent_function_with_opset_version
        body.ParseFromString(make(version, node.SerializeToString(), types))
    given = {name: held.default_value for name, held in schema.attributes.items()}
    given = {name: held for name, held in given.items() if held.type}
    given |= {held.name: held for held in node.attribute}
    fill_attributes(body.node, given)
    return body


def find_function(op_type: str, opset: int, domain: str) -> Any | None:
    """The schema of an op that ONNX defines by a function, or None."""
    try:
        schema: Any = onnx.defs.get_schema(op_type, opset, domain)
    except onnx.defs.SchemaError:
        return None
    is_function = schema.has_function or schema.has_context_dependent_function
    return schema if is_function else None


def type_of(value: Value | None) -> onnx.TypeProto:
    """The ONNX type of a value; an empty one for an omitted input."""
    if value is None:
        return onnx.TypeProto()
    if isinstance(value, Sequence_):
        item = value.items[0] if value.items else Tensor((), value.element or f32)
        return onnx.helper.make_sequence_type_proto(type_of(item))
    number = onnx.helper.np_dtype_to_tensor_dtype(numpy_dtype(value.element))
    dims = [dim if isinstance(dim, int) else str(dim) for dim in value.dims]
    return onnx.helper.make_tensor_type_proto(number, dims)


def fill_attributes(
    nodes: Sequence[onnx.NodeProto], given: Mapping[str, onnx.AttributeProto]
) -> None:
    """Replace references to the function's attributes by their values, in place."""
    for node in nodes:
        kept: list[onnx.AttributeProto] = []
        for attribute in node.attribute:
            if not attribute.ref_attr_name:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    fill_attributes(attribute.g.node, given)
                kept.append(attribute)
            elif attribute.ref_attr_name in given:
                held = onnx.AttributeProto()
                held.CopyFrom(given[attribute.ref_attr_name])
                held.name = attribute.name
                kept.append(held)
        filled = [onnx.AttributeProto.FromString(k.SerializeToString()) for k in kept]
        del node.attribute[:]
        node.attribute.extend(filled)
