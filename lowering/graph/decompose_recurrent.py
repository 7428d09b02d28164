"""Run recurrent layers as one product for all steps and a counted loop for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i64
from stepwell.dialects.shapes import Dim, dims_of, element_of
from stepwell.lowering.rewriting import Outcome, Rewriter, apply_patterns, pattern

from .eight_bits import through_eight_bits
from .loops import Emitter, counted_down, counted_loop, reversed_along, row_at

Recurrent = nn.LstmOp | nn.GruOp | nn.RnnOp
Build = Rewriter | Emitter
Function = Callable[[Build, SSAValue], SSAValue]


def scaled(x: SSAValue, factor: float, build: Build) -> SSAValue:
    """`x * factor`."""
    return build.emit(nn.MulOp(x, build.constant(factor, like=x)))


ACTIVATIONS: dict[str, Callable[[Build, SSAValue, float, float], Operation]] = {
    "relu": lambda build, x, a, b: nn.ReluOp(x),
    "tanh": lambda build, x, a, b: nn.TanhOp(x),
    "sigmoid": lambda build, x, a, b: nn.SigmoidOp(x),
    "affine": lambda build, x, a, b: nn.AddOp(
        scaled(x, a, build), build.constant(b, like=x)
    ),
    "leakyrelu": lambda build, x, a, b: nn.LeakyReluOp(x, alpha=a),
    "thresholdedrelu": lambda build, x, a, b: nn.SelectOp(
        build.emit(nn.CompareOp(x, build.constant(a, like=x), predicate="gt")),
        x,
        build.constant(0.0, like=x),
    ),
    "scaledtanh": lambda build, x, a, b: nn.MulOp(
        build.emit(nn.TanhOp(scaled(x, b, build))), build.constant(a, like=x)
    ),
    "hardsigmoid": lambda build, x, a, b: nn.HardSigmoidOp(x, alpha=a, beta=b),
    "elu": lambda build, x, a, b: nn.EluOp(x, alpha=a),
    "softsign": lambda build, x, a, b: nn.SoftsignOp(x),
    "softplus": lambda build, x, a, b: nn.SoftplusOp(x),
}
"""ONNX's activations of recurrent layers."""

DEFAULTS: dict[str, tuple[float, ...]] = {
    "affine": (1.0, 0.0),
    "leakyrelu": (0.01,),
    "thresholdedrelu": (1.0,),
    "scaledtanh": (1.0, 1.0),
    "hardsigmoid": (0.2, 0.5),
    "elu": (1.0,),
}
"""Default alpha, then beta, of the activations that take them."""


def functions_of(op: Recurrent) -> list[Function]:
    """The activation functions of all directions, in ONNX's order."""
    alphas = list(op.value("activation_alpha") or ())
    betas = list(op.value("activation_beta") or ())
    result: list[Function] = []
    for name in op.value("activations"):
        key = name.lower()
        defaults = DEFAULTS.get(key, ())
        alpha = defaults[0] if defaults else 0.0
        beta = defaults[1] if len(defaults) > 1 else 0.0
        alpha = alphas.pop(0) if alphas and defaults else alpha
        beta = betas.pop(0) if betas and len(defaults) > 1 else beta
        result.append(bound_function(key, alpha, beta, op.value("clip")))
    return result


def bound_function(
    name: str, alpha: float, beta: float, clip: float | None
) -> Function:
    """One activation with its parameters, its argument held within `clip`."""

    def function(build: Build, x: SSAValue) -> SSAValue:
        if clip is not None:
            x = build.emit(nn.ClampOp(x, min=-clip, max=clip))
        return build.emit(ACTIVATIONS[name](build, x, alpha, beta))

    return function


@dataclass
class Layer:
    """One direction: what its step needs besides the state."""

    op: Recurrent
    gates: int
    rows: SSAValue
    recurrent: SSAValue
    backwards: bool
    functions: list[Function]
    recurrent_bias: SSAValue | None = None
    peepholes: list[SSAValue] = field(default_factory=list[SSAValue])
    state: list[SSAValue] = field(default_factory=list[SSAValue])


@pattern(nn.LstmOp, nn.GruOp, nn.RnnOp)
def decompose_recurrent(op: Recurrent, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.lstm %x, %w, %r, %bias
    ->   %rows = nn.matmul %x, transpose(%w) + %bias             (all steps at once)
         nn.loop %steps, %h, %c {
           %gates = nn.gather %rows, %i + nn.matmul %h, transpose(%r)
           ...
         }
    ```
    Both directions share one loop. Sequences shorter than the others keep their state
    beyond their length; backward ones are reversed within it before and after.
    """
    if any(name.lower() not in ACTIVATIONS for name in op.value("activations")):
        return "an activation is not known"
    direction = op.value("direction")
    count = 2 if direction == "bidirectional" else 1
    layers = [
        make_layer(op, i, count, direction == "reverse" or i == 1, rewriter)
        for i in range(count)
    ]
    one_step = dims_of(op.x)[0] == 1 and op.lengths is None
    run = run_once if one_step else run_loop
    outputs, last = run(op, layers, rewriter)
    y = joined([unsqueezed(output, 1, rewriter) for output in outputs], 1, rewriter)
    finals = [
        joined([unsqueezed(part, 0, rewriter) for part in parts], 0, rewriter)
        for parts in zip(*last, strict=True)
    ]
    rewriter.replace(op, (), [y, *finals])
    return None


Results = tuple[list[SSAValue], list[list[SSAValue]]]
"""Of each layer: its outputs, in the order of the input, and its last state."""


def run_once(op: Recurrent, layers: Sequence[Layer], rewriter: Rewriter) -> Results:
    """The only step, without a loop."""
    last = [
        step(layer, first_row(layer, rewriter), layer.state, rewriter)
        for layer in layers
    ]
    return [unsqueezed(state[0], 0, rewriter) for state in last], last


def run_loop(op: Recurrent, layers: Sequence[Layer], rewriter: Rewriter) -> Results:
    """All steps, the layers side by side in one loop."""
    states = len(layers[0].state)
    steps = dims_of(op.x)[0]

    def by_layer(carried: Sequence[SSAValue]) -> list[list[SSAValue]]:
        return [
            list(carried[i * states : (i + 1) * states]) for i in range(len(layers))
        ]

    def body(
        emitter: Emitter, index: SSAValue, carried: Sequence[SSAValue]
    ) -> tuple[list[SSAValue], list[SSAValue]]:
        new: list[SSAValue] = []
        outputs: list[SSAValue] = []
        for layer, state in zip(layers, by_layer(carried), strict=True):
            is_reversed = layer.backwards and op.lengths is None
            at = counted_down(emitter, index, steps) if is_reversed else index
            fresh = step(layer, row_at(emitter, layer.rows, at), state, emitter)
            output = fresh[0]
            if op.lengths is not None:
                fresh, output = hold(op.lengths, index, fresh, state, emitter)
            new += fresh
            outputs.append(output)
        return new, outputs

    initial = [state for layer in layers for state in layer.state]
    loop = counted_loop(steps, initial, body, rewriter)
    outputs = [
        in_order(layer, output, rewriter)
        for layer, output in zip(layers, loop.results[len(initial) :], strict=True)
    ]
    return outputs, by_layer(loop.results)


def make_layer(
    op: Recurrent, index: int, count: int, backwards: bool, rewriter: Rewriter
) -> Layer:
    """The products of all steps of one direction, and its constants."""
    gates, hidden = op.GATES, op.hidden_size()
    w = transposed(at(op.w, index, rewriter), rewriter)
    recurrent = transposed(at(op.r, index, rewriter), rewriter)
    x = op.x
    if backwards and op.lengths is not None:
        x = within_length(x, op.lengths, rewriter)
    if isinstance(op, nn.LstmOp) and op.value("quantizes"):
        x = through_eight_bits(x, rewriter)
    rows = rewriter.emit(nn.MatmulOp(x, w))
    functions = functions_of(op)
    per_direction = len(functions) // count
    mine = functions[index * per_direction : (index + 1) * per_direction]
    layer = Layer(op, gates, rows, recurrent, backwards, mine)
    if op.bias is not None:
        add_bias(layer, at(op.bias, index, rewriter), hidden, rewriter)
    given = [op.initial_h]
    if isinstance(op, nn.LstmOp):
        given.append(op.initial_c)
        if op.peepholes is not None:
            peepholes = at(op.peepholes, index, rewriter)
            layer.peepholes = [part(peepholes, i, hidden, rewriter) for i in range(3)]
    layer.state = [initial_state(op, value, index, rewriter) for value in given]
    return layer


def add_bias(layer: Layer, bias: SSAValue, hidden: Dim, rewriter: Rewriter) -> None:
    """Add both biases to the rows, but that which a reset gate multiplies."""
    width = layer.gates * hidden
    w_bias = part(bias, 0, width, rewriter)
    r_bias = part(bias, 1, width, rewriter)
    if isinstance(layer.op, nn.GruOp) and layer.op.value("linear_before_reset"):
        layer.recurrent_bias = r_bias
        both = w_bias
    else:
        both = rewriter.emit(nn.AddOp(w_bias, r_bias))
    layer.rows = rewriter.emit(nn.AddOp(layer.rows, both))


def initial_state(
    op: Recurrent, value: SSAValue | None, index: int, rewriter: Rewriter
) -> SSAValue:
    """The given state of one direction, or zeros."""
    if value is not None:
        return at(value, index, rewriter)
    zero = rewriter.constant(0.0, like=op.x)
    shape = (dims_of(op.x)[1], op.hidden_size())
    return rewriter.emit(nn.BroadcastToOp(zero, shape))


def step(
    layer: Layer, row: SSAValue, state: Sequence[SSAValue], build: Build
) -> list[SSAValue]:
    """The next state, the hidden one first."""
    match layer.op:
        case nn.LstmOp():
            return lstm_step(layer, row, state, build)
        case nn.GruOp():
            return gru_step(layer, row, state[0], build)
        case _:
            product = build.emit(nn.MatmulOp(state[0], layer.recurrent))
            return [layer.functions[0](build, build.emit(nn.AddOp(row, product)))]


def lstm_step(
    layer: Layer, row: SSAValue, state: Sequence[SSAValue], build: Build
) -> list[SSAValue]:
    """`c' = f * c + i * g(new); h' = o * h(c')`, gates in the order i, o, f, c."""
    hidden, cell = state
    f, g, h = layer.functions
    if layer.op.value("quantizes"):
        hidden = through_eight_bits(hidden, build)
    product = build.emit(nn.MatmulOp(hidden, layer.recurrent))
    gates = build.emit(nn.AddOp(row, product))
    size = layer.op.hidden_size()
    i, o, forget, new = (part(gates, k, size, build) for k in range(4))
    peep = layer.peepholes
    if peep:
        i = added_product(i, peep[0], cell, build)
        forget = added_product(forget, peep[2], cell, build)
    i = f(build, i)
    if layer.op.value("input_forget"):
        forget = build.emit(nn.SubOp(build.constant(1.0, like=i), i))
    else:
        forget = f(build, forget)
    kept = build.emit(nn.MulOp(forget, cell))
    added = build.emit(nn.MulOp(i, g(build, new)))
    fresh = build.emit(nn.AddOp(kept, added))
    if peep:
        o = added_product(o, peep[1], fresh, build)
    return [build.emit(nn.MulOp(f(build, o), h(build, fresh))), fresh]


def gru_step(
    layer: Layer, row: SSAValue, hidden: SSAValue, build: Build
) -> list[SSAValue]:
    """`h' = (1 - z) * new + z * h`, gates in the order z, r, h."""
    f, g = layer.functions
    size = layer.op.hidden_size()
    row_z, row_r, row_h = (part(row, k, size, build) for k in range(3))
    if layer.op.value("linear_before_reset"):
        product = build.emit(nn.MatmulOp(hidden, layer.recurrent))
        if layer.recurrent_bias is not None:
            product = build.emit(nn.AddOp(product, layer.recurrent_bias))
        z, r, last = (part(product, k, size, build) for k in range(3))
        z = f(build, build.emit(nn.AddOp(row_z, z)))
        r = f(build, build.emit(nn.AddOp(row_r, r)))
        reset = build.emit(nn.MulOp(r, last))
    else:
        split = [part(layer.recurrent, k, size, build) for k in range(3)]
        z, r = (build.emit(nn.MatmulOp(hidden, weight)) for weight in split[:2])
        z = f(build, build.emit(nn.AddOp(row_z, z)))
        r = f(build, build.emit(nn.AddOp(row_r, r)))
        kept = build.emit(nn.MulOp(r, hidden))
        reset = build.emit(nn.MatmulOp(kept, split[2]))
    new = g(build, build.emit(nn.AddOp(row_h, reset)))
    change = build.emit(nn.MulOp(z, build.emit(nn.SubOp(hidden, new))))
    return [build.emit(nn.AddOp(new, change))]


def hold(
    lengths: SSAValue,
    index: SSAValue,
    fresh: Sequence[SSAValue],
    state: Sequence[SSAValue],
    build: Emitter,
) -> tuple[list[SSAValue], SSAValue]:
    """The old state, and 0 as output, of sequences that have ended."""
    ends = (
        build.emit(nn.CastOp(lengths, i64)) if element_of(lengths) != i64 else lengths
    )
    alive = build.emit(nn.CompareOp(ends, index, predicate="gt"))
    column = build.emit(nn.ReshapeOp(alive, (*dims_of(alive), 1)))
    held = [
        build.emit(nn.SelectOp(column, new, old))
        for new, old in zip(fresh, state, strict=True)
    ]
    nothing = build.constant(0.0, like=fresh[0])
    return held, build.emit(nn.SelectOp(column, fresh[0], nothing))


def in_order(layer: Layer, output: SSAValue, rewriter: Rewriter) -> SSAValue:
    """The stacked outputs of a direction, in the order of the steps."""
    if not layer.backwards:
        return output
    if layer.op.lengths is not None:
        return within_length(output, layer.op.lengths, rewriter)
    return reversed_along(output, 0, rewriter)


def within_length(x: SSAValue, lengths: SSAValue, rewriter: Rewriter) -> SSAValue:
    """Each sequence of `[steps, batch, ..]` reversed within its length."""
    ends = lengths
    if element_of(lengths) != i64:
        ends = rewriter.emit(nn.CastOp(lengths, i64))
    return rewriter.emit(nn.ReverseSequenceOp(x, ends, batch_axis=1, time_axis=0))


def added_product(
    x: SSAValue, left: SSAValue, right: SSAValue, build: Build
) -> SSAValue:
    """`x + left * right`."""
    return build.emit(nn.AddOp(x, build.emit(nn.MulOp(left, right))))


def part(value: SSAValue, index: int, size: Dim, build: Build) -> SSAValue:
    """The `index`-th stretch of `size` along the last dim."""
    dims = dims_of(value)
    starts: list[Dim] = [0] * len(dims)
    limits = list(dims)
    starts[-1], limits[-1] = index * size, (index + 1) * size
    return build.emit(nn.SliceOp(value, starts, limits))


def at(value: SSAValue, index: int, rewriter: Rewriter) -> SSAValue:
    """`value[index]`."""
    dims = dims_of(value)
    starts = [index, *[0] * (len(dims) - 1)]
    row = rewriter.emit(nn.SliceOp(value, starts, [index + 1, *dims[1:]]))
    return rewriter.emit(nn.ReshapeOp(row, dims[1:]))


def first_row(layer: Layer, rewriter: Rewriter) -> SSAValue:
    """The row of the only step."""
    return rewriter.emit(nn.ReshapeOp(layer.rows, dims_of(layer.rows)[1:]))


def transposed(value: SSAValue, rewriter: Rewriter) -> SSAValue:
    """A matrix transposed."""
    return rewriter.emit(nn.TransposeOp(value, (1, 0)))


def unsqueezed(value: SSAValue, axis: int, rewriter: Rewriter) -> SSAValue:
    """`value` with a dim of 1 inserted at `axis`."""
    dims = list(dims_of(value))
    dims.insert(axis, 1)
    return rewriter.emit(nn.ReshapeOp(value, dims))


def joined(values: Sequence[SSAValue], axis: int, rewriter: Rewriter) -> SSAValue:
    """`values` one after another along `axis`."""
    if len(values) == 1:
        return values[0]
    return rewriter.emit(nn.ConcatOp(values, axis))


@dataclass(frozen=True)
class DecomposeRecurrentPass(ModulePass):
    """Replace `nn.lstm`, `nn.gru` and `nn.rnn` by products and an `nn.loop`.

    Output: the module without recurrent ops, but for those with an unknown activation.
    """

    name = "decompose-recurrent"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Replace each layer where it stands."""
        apply_patterns(op, [decompose_recurrent], ctx)
