"""Work ahead in threads: results in order, no more at work than the window, and clean ends."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from jaxcap.inputs.prefetch import prefetch


def double(number):
    return 2 * number


@pytest.mark.parametrize("window", [1, 2, 5, 100])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_results_come_in_the_order_of_the_items(window, count):
    doubled = [2 * number for number in range(count)]
    assert list(prefetch(double, range(count), window=window)) == doubled
    with ThreadPoolExecutor(3) as pool:
        assert list(prefetch(double, range(count), pool=pool, window=window)) == doubled


def test_only_the_window_is_taken_ahead():
    taken = []

    def items():
        for number in range(10):
            taken.append(number)
            yield number

    results = prefetch(double, items(), window=3)
    assert taken == []
    for number in range(7):
        assert next(results) == 2 * number
        assert taken == list(range(number + 3))


def test_the_next_item_is_at_work_while_one_is_in_use():
    started = threading.Event()

    def work(number):
        if number == 1:
            started.set()
        return number

    results = prefetch(work, range(5))
    assert next(results) == 0
    assert started.wait(timeout=30)


def test_an_error_comes_at_its_item_and_leaves_no_thread_behind():
    before = threading.active_count()

    def work(number):
        if number == 2:
            raise ValueError("two")
        return number

    results = prefetch(work, range(100), window=4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert threading.active_count() == before


def test_a_consumer_that_stops_early_leaves_no_thread_behind():
    before = threading.active_count()
    results = prefetch(double, range(100), window=4)
    next(results)
    results.close()
    assert threading.active_count() == before
