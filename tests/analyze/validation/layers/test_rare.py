"""A corpus too small for a feature says which, and how many tokens it wants."""

from analyze.validation.layers.rare import rare_line


def test_the_nearest_of_the_features_that_are_too_rare_is_named_with_the_tokens_it_wants():
    line = rare_line("title", "tuning", 1, {"in a title": 300, "a title's end": 50, "other": 3}, 20_000, 100)
    assert line == (
        'title (tuning): 1 of 3 features; 2 too rare, such as "a title\'s end": 50 tokens, it wants a text of 40,000'
    )


def test_nothing_is_wanted_where_no_feature_is_too_rare():
    assert rare_line("title", "held", 2, {"a": 300, "b": 200}, 20_000, 100) == "title (held): 2 of 2 features"
    assert "it wants a text of 2,000,000" in rare_line("title", "held", 0, {"a": 0}, 20_000, 100)
