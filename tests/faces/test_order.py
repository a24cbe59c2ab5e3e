from __future__ import annotations

from dataflow.faces.order import crossings, order_columns, straighten

HEIGHT, GAP = 40.0, 10.0


def placed(columns, pairs, stiff=lambda node: False):
    size = sum(map(len, columns))
    return straighten(columns, pairs, heights=[HEIGHT] * size, gap=GAP, stiff=stiff)


def test_crossings_are_counted():
    assert crossings([[0, 1], [2, 3]], [(0, 3), (1, 2)]) == 1
    assert crossings([[0, 1], [2, 3]], [(0, 2), (1, 3)]) == 0


def test_lines_to_one_node_do_not_cross_each_other():
    assert crossings([[0, 1], [2]], [(0, 2), (1, 2)]) == 0


def test_an_order_without_crossings_is_found():
    columns = order_columns([0, 0, 0, 1, 1, 1], pairs := [(0, 5), (1, 4), (2, 3)])
    assert crossings(columns, pairs) == 0


def test_listed_order_is_kept_where_nothing_is_gained():
    assert order_columns([0, 0, 0], []) == [[0, 1, 2]]


def test_a_chain_is_a_straight_line():
    ys = placed([[0], [1], [2]], [(0, 1), (1, 2)])
    assert ys[0] == ys[1] == ys[2] == HEIGHT / 2


def test_a_node_stands_in_the_middle_of_those_it_leads_to():
    ys = placed([[0], [1, 2, 3]], [(0, 1), (0, 2), (0, 3)])
    assert abs(ys[0] - ys[2]) < 1


def test_neighbours_keep_their_distance():
    ys = placed([[0], [1, 2, 3]], [(0, 1), (0, 2), (0, 3)])
    assert all(lower - upper >= HEIGHT + GAP - 1e-6 for upper, lower in [(ys[1], ys[2]), (ys[2], ys[3])])
