import operator

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.torch.partition import partition, producers

RELU = torch.ops.aten.relu.default
ADD = torch.ops.aten.add.Tensor


def graph_of(edges):
    """A graph of one input; call `i` reads the input or earlier calls."""
    graph = torch.fx.Graph()
    nodes = [graph.placeholder("x")]
    for sources in edges:
        args = [nodes[index % len(nodes)] for index in sources]
        node = graph.call_function(ADD, tuple(args))
        node.meta["val"] = torch.ones(1)
        nodes.append(node)
    graph.output((nodes[-1],))
    return graph, nodes[1:]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=3), max_size=20),
    st.sets(st.integers(0, 19)),
    st.integers(1, 4),
)
def test_parts_run_in_order_and_hold_each_call_once(edges, refused, smallest):
    graph, calls = graph_of(edges)
    reasons = {calls[index]: "no" for index in refused if index < len(calls)}
    parts = partition(graph, reasons, smallest)
    done = set()
    for part in parts:
        inside = set(part.nodes)
        assert not done & inside
        for node in part.nodes:
            assert set(producers(node)) <= done | inside
        if part.is_engine:
            assert not inside & reasons.keys()
            assert not reasons or len(inside) >= smallest
        done |= inside
    assert done == set(calls)


def test_a_graph_without_refusals_is_one_part_however_small():
    graph, calls = graph_of([[0]])
    (part,) = partition(graph, {}, 5)
    assert part.is_engine
    assert part.nodes == tuple(calls)


def test_a_refused_op_in_the_middle_makes_three_parts():
    graph, calls = graph_of([[0], [1], [2], [3], [4]])
    parts = partition(graph, {calls[2]: "no"}, 1)
    assert [part.is_engine for part in parts] == [True, False, True]


def test_independent_branches_share_an_engine():
    graph, calls = graph_of([[0], [1], [2], [0], [4], [3, 5]])
    parts = partition(graph, {calls[1]: "no"}, 1)
    assert [len(part.nodes) for part in parts] == [3, 1, 2]


def test_what_is_chosen_of_a_result_stays_with_it():
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    pair = graph.call_function(torch.ops.aten.topk.default, (x, 1))
    first = graph.call_function(operator.getitem, (pair, 0))
    relu = graph.call_function(RELU, (first,))
    for node in (pair, first, relu):
        node.meta["val"] = torch.ones(1)
    graph.output((relu,))
    parts = partition(graph, {pair: "no"}, 1)
    assert [part.nodes for part in parts] == [(pair, first), (relu,)]
    parts = partition(graph, {relu: "no"}, 1)
    assert [part.nodes for part in parts] == [(pair, first), (relu,)]
