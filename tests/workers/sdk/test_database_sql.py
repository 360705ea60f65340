"""Reading SQL text: where parameters stand, what the first word is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyalert.errors import InvalidParameter
from workers.sdk.database_sql import (
    MSSQL,
    MYSQL,
    MYSQL_NO_BACKSLASH,
    ORACLE,
    POSTGRESQL,
    bind,
    first_word,
    pieces,
    seems_several,
)

ALL = (POSTGRESQL, MYSQL, MYSQL_NO_BACKSLASH, MSSQL, ORACLE)


@pytest.mark.parametrize(
    ("dialect", "query", "bound"),
    [
        (POSTGRESQL, "SELECT :a, :b, :a", "SELECT $1, $2, $1"),
        (MYSQL, "SELECT :a, :b, :a", "SELECT %s, %s, %s"),
        (MSSQL, "SELECT :a, :b, :a", "SELECT %s, %s, %s"),
        (ORACLE, "SELECT :a, :b, :a FROM DUAL", "SELECT :1, :2, :1 FROM DUAL"),
        (POSTGRESQL, "SELECT ':a', \":a\", :a::text, :b -- :a\n /* :a /* :a */ :a */", None),
        (POSTGRESQL, "SELECT $$ :a $$, $x$ :a $$ $x$, E'\\' :a', :a, :b", None),
        (POSTGRESQL, "SELECT '\\', :a, :b", "SELECT '\\', $1, $2"),
        (POSTGRESQL, "SELECT x[1:a], x[:a], x[b:c], :b", "SELECT x[1:a], x[$1], x[b:c], $2"),
        (MYSQL, "SELECT ':a', \":a\", `:a`, '\\' :a', :a, :b # :a\n -- :a\n /* :a */", None),
        (MYSQL, "SELECT @x := :a, :b", "SELECT @x := %s, %s"),
        (MYSQL, "SELECT 5--:a\n, :b", "SELECT 5--%s\n, %s"),
        (MYSQL, "SELECT :a LIKE 'x%', :b % 2", "SELECT %s LIKE 'x%%', %s %% 2"),
        (MYSQL_NO_BACKSLASH, "SELECT '\\', :a, :b", "SELECT '\\', %s, %s"),
        (MSSQL, "SELECT [:a], N':a', :a, :b", "SELECT [:a], N':a', %s, %s"),
        (ORACLE, "SELECT q'[ it's :a ]', Q'! :a !', :a, :b FROM DUAL", "SELECT q'[ it's :a ]', Q'! :a !', :1, :2 FROM DUAL"),
    ],
)  # fmt: skip
def test_parameters_are_put_where_they_stand_and_nowhere_else(dialect, query, bound):
    if bound is None:
        # those outside of quotes: the first `:a` that is not quoted, and `:b`
        made, values = bind(query, {"a": 1, "b": 2}, dialect)
        assert sorted(values) == [1, 2]
        quoted = [text for kind, text in pieces(query, dialect) if kind == "quoted"]
        assert quoted
        assert all(text in made for text in quoted)
        return
    assert bind(query, {"a": 1, "b": 2}, dialect) == (bound, [1, 2, 1] if bound.count("%s") == 3 else [1, 2])


def test_positional_parameters():
    assert bind("SELECT ?, '?', ?", [1, 2], POSTGRESQL) == ("SELECT $1, '?', $2", [1, 2])
    assert bind("SELECT ?, :a", [1], MYSQL) == ("SELECT %s, :a", [1])


def test_without_parameters_the_text_is_as_it_is():
    assert bind("SELECT '100%' ?:a", None, MYSQL) == ("SELECT '100%' ?:a", None)


@pytest.mark.parametrize(
    ("query", "given", "says"),
    [
        ("SELECT :a", {}, "no value for :a"),
        ("SELECT ?", [], "fewer than the query has places"),
        ("SELECT :a", {"a": 1, "other": 2}, "'other'"),
        ("SELECT ':a'", {"a": 1}, "'a'"),
        ("SELECT ?", [1, 2], "number 2"),
    ],
)
def test_values_and_places_that_do_not_match_are_refused(query, given, says):
    with pytest.raises(InvalidParameter, match="bindParams") as caught:
        bind(query, given, POSTGRESQL)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("select 1", "SELECT"),
        ("-- c\n/* c */ ((VALUES (1)))", "VALUES"),
        ("  TABLE t", "TABLE"),
        ("'x'", ""),
        ("", ""),
        (";SELECT", ""),
    ],
)
def test_the_first_word(query, word):
    assert first_word(query, POSTGRESQL) == word


def test_a_comment_that_mysql_runs_is_no_comment():
    """Else a read-only query could begin with anything."""
    assert first_word("/*! DELETE */ SELECT 1", MYSQL) == ""
    assert first_word("/*M!100000 DELETE */ SELECT 1", MYSQL) == ""
    assert first_word("/* ! */ SELECT 1", MYSQL) == "SELECT"


def test_several_statements_are_a_guess():
    assert seems_several("SELECT 1; SELECT 2", MYSQL)
    assert not seems_several("SELECT ';x' ; -- x\n /* y */ ", MYSQL)


@given(st.text(alphabet="ab1 '\"`$:?;-#/*[]\\%\nqQeE!M", max_size=60), st.sampled_from(ALL))
def test_the_pieces_are_the_whole_text(query, dialect):
    assert "".join(text for _, text in pieces(query, dialect)) == query
    first_word(query, dialect)
    seems_several(query, dialect)


@given(st.text(alphabet="a '\"`$:-#/*\\\nE", max_size=40))
def test_quoted_text_closes_where_the_server_closes_it(text):
    """A value never lands inside of quotes: text that is quoted by doubling is one piece."""
    quoted = "'" + text.replace("'", "''") + "'"
    assert [piece for kind, piece in pieces(quoted, MYSQL_NO_BACKSLASH) if kind == "quoted"] == [quoted]
