from controlplane.api.paging import page, views


def test_the_cursor_is_the_last_of_a_page_and_only_when_there_is_more():
    assert page(["a", "b", "c"], 2, str) == (["a", "b"], "b")
    assert page(["a", "b"], 2, str) == (["a", "b"], None)
    assert page([], 2, str) == ([], None)
    assert views([1, 2], lambda n: {"n": n}) == [{"n": 1}, {"n": 2}]
