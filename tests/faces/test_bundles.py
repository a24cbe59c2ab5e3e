from __future__ import annotations

import random

from dataflow.faces.bundles import Bundle, find_bundles


def test_services_that_wait_for_the_same_others_are_a_bundle():
    assert find_bundles({5: {1, 2, 3}, 6: {1, 2, 3}}) == [Bundle((1, 2, 3), (5, 6))]


def test_nothing_is_bundled_where_lines_would_only_grow():
    assert find_bundles({5: {1, 2, 3}, 6: {4}}) == []
    assert find_bundles({5: {1}, 6: {1}, 7: {1}}) == []
    assert find_bundles({}) == []


def test_one_that_waits_for_more_shares_the_bundle_of_the_others():
    assert find_bundles({5: {1, 2, 3}, 6: {1, 2, 3}, 7: {1, 2, 3, 4}}) == [Bundle((1, 2, 3), (5, 6, 7))]


def test_what_two_services_have_in_common_is_enough():
    assert find_bundles({5: {1, 2, 3}, 6: {2, 3, 4}}) == [Bundle((2, 3), (5, 6))]


def test_bundles_hold_only_what_is_there_and_nothing_twice():
    draw = random.Random(1)
    waits = {target: set(draw.sample(range(20), draw.randint(1, 12))) for target in range(20, 40)}
    pairs = [(one, two) for bundle in find_bundles(waits) for one in bundle.sources for two in bundle.targets]
    assert len(pairs) == len(set(pairs))
    assert all(one in waits[two] for one, two in pairs)


def test_growing_lists_of_validations_need_few_lines():
    waits = {target: set(range(target // 2)) for target in range(20, 40)}
    direct = sum(map(len, waits.values()))
    spared = sum(bundle.saving for bundle in find_bundles(waits))
    assert direct - spared < direct / 2
