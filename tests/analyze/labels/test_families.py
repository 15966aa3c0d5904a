"""Each family on text whose answer is seen at a glance: one token a character, runs of marked ones parted by |."""

import re

import pytest

from analyze.labels.families.frequent_words import counted
from tests.analyze.labels.texts import all_labels, marked, marked_text, stream_of

PROSE = "It (see [a]) is. Mr. Lee came in 1999, and left! Did he? Yes"
CODE = '''@cached
def area(self, r: float = 2.0, *a) -> float:
    """Area.

    >>> area(1)
    """
    # Pi here
    if r != 0:
        return pi * r**2
    x = f"a{r}"  # end
    return [x[0], g(y=1)]
'''

CASES = [
    ("in a word that begins with a capital", "The cat McX", "The|McX"),
    ("in a word in capitals alone, two letters or more", "NATO and I UNo", "NATO"),
    ("in a capitalised word after a lower-case word", "The river Po and Rhine", "Po|Rhine"),
    ("in the second or later of capitalised words in succession", "the Great Plains Park of Ohio", "Plains Park"),
    ("in the part of a word after a hyphen", "well-known x - y", "known"),
    ("in the part of a word before a hyphen", "well-known x - y", "well"),
    ("in what follows an apostrophe within a word", "don't 'so' Ann's", "t|s"),
    ("in a possessive or contracted 's", "Ann's cats' it's", "'s|'s"),
    ("in a snake_case name", "a snake_case_2 Name_x", "snake_case_2"),
    ("in a CamelCase name", "a CamelCase Camel", "CamelCase"),
    ("in a __dunder__ name", "x.__init__(a__b)", "__init__"),
    ("in a Roman numeral", "Louis XIV and I MIX in MCMXC", "XIV|MIX|MCMXC"),
    ("in an abbreviation with full stops (U.S.)", "the U.S. army, e.g. it.", "U.S.|e.g."),
    ("in an initial (J.)", "J. Smith had vitamin C.", "J."),
    ("in a word of two or three letters", "a is the word", "is|the"),
    ("in a word of ten or more letters", "understand understandable", "understand|understandable"),
    ("the first digit of a number", "1999 and 3.14, 1,234 x1", "1|3|1"),
    ("the fourth digit of a number", "1999 12345", "9|4"),
    ("in a number of five or more digits", "1999 12345", "12345"),
    ("the last digit of a number of two or more", "7 1999", "9"),
    ("digits after a decimal point", "3.14 v1.2. 5", "14|2"),
    ("digits after a comma within a number", "1,234,567, 8", "234|567"),
    ("digits after a minus sign", "-5 3-4 (-17) −2", "5|17|2"),
    ("digits within a name", "x1 sha256 3x", "1|256"),
    ("in a year", "in 1999, 2150 and 1850-1900 or 1,999 or 19990", "1999|1850|1900"),
    ("in a decade (1990s)", "the 1990s and 1995s", "1990s"),
    ("in a date", "on 12 May 1999 or June 5, 2001, 2001-05-06", "12 May 1999|June 5, 2001|2001-05-06"),
    ("in the day of a date", "on 12 May 1999", "12"),
    ("in a year or number right after a month", "June 2001 and May 5", "2001|5"),
    ("in a range of years", "(1914–1918, 1999-01)", "1914–1918|1999-01"),
    ("in a percentage", "29.2% or 5 per cent of 7", "29.2%|5 per cent"),
    ("in an amount of money", "US$1,000 or €5.50 a 5", "US$1,000|€5.50"),
    ("in a number before a unit", "5 km, 12 cats, 3.5-mile", "5|3.5"),
    ("in a unit after a number", "5 km, 12 cats", "km"),
    ("in an ordinal number (19th)", "the 19th and 2nd 3d", "19th|2nd"),
    ("in a time of day (12:30)", "at 12:30 or 1:2", "12:30"),
    ("in a version number (1.2.3)", "v1.2.3 or 1.2", "v1.2.3"),
    ("in a URL after its scheme", "see https://a.b/c?d=1 now", "a.b/c?d=1"),
    ("in a domain name", "see www.polysem.org now", "www.polysem.org"),
    ("in an e-mail address", "ask me.too@x-y.org now", "me.too@x-y.org"),
    ("in a file path", "in /usr/lib/x.py or a/b or ./c/d/e", "/usr/lib/x.py|./c/d/e"),
    ("in a file name", "run setup.py.", "setup.py"),
    ("in a hexadecimal number after 0x", "0x1fG 0xZ", "1f"),
    ("in a hexadecimal string", "deadbeef 1a2b3c4d 12345678 DEADBEE5", "1a2b3c4d|DEADBEE5"),
    ("in a base64 string", "key YWJjZGVmZ2hpamtsbW5vcHFy and internationalisation", "YWJjZGVmZ2hpamtsbW5vcHFy"),
    ("in a UUID", "123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"),
    ("in an IP address", "10.0.0.1 and 1.2.3", "10.0.0.1"),
    ("in a chemical formula", "H2O and CO2, NaCl", "H2O|CO2"),
    ("a command after a backslash", r"\alpha + \n", "alpha|n"),
    ("in a tag of HTML or XML", "a <b>x</b> < c", "<b>|</b>"),
    ("after a Python prompt (>>>)", "  >>> f(x)\n3", "f(x)"),
    ("a Greek letter", "αβ is ab", "αβ"),
    ("an emoji or pictograph", "a 🙂 b", "🙂"),
    ("a Han character", "日本 x", "日本"),
    ("a curly quotation mark", "“a” ‘b’", "“|”|‘|’"),
    ("inside brackets, one deep", PROSE, "see "),
    ("inside square brackets", PROSE, "a"),
    ("an opening bracket of any kind", PROSE, "(|["),
    ("a closing bracket that matches", "(a] b)", ")"),
    ("a closing bracket that matches none", "(a] b)", "]"),
    ("in brackets that never close", "a (b\nc) (d) (e", "b|e"),
    ("the first token inside brackets", "(a b) [c]", "a|c"),
    ("inside double quotation marks", 'a "b c" d "e', "b c|e"),
    ("a closing double quotation mark", 'a "b c" d "e', '"'),
    ("inside curly quotation marks", "a “b” c", "b"),
    ("inside single quotation marks", "it's 'so' Ann's", "so"),
    ("inside backticks", "a `b` c `d", "b|d"),
    ("a word right before a bracket", "f (x) of g(y)", "f|g"),
    ("in the word after a comma", "a, bc d,e", "bc"),
    ("in the word before a comma", "ab, c", "ab"),
    ("in a list of three joined by commas and a last and or or", "x: a, b, and c; d and e", "a, b, and c"),
    ("in the first word of a sentence", PROSE, "It|Mr|Did|Yes"),
    ("in the second word of a sentence", PROSE, "see|Lee|he"),
    ("the first token of a sentence", PROSE, "I|M|D|Y"),
    ("the last word of a sentence", PROSE, "is|left|he|Yes"),
    ("the mark that ends a sentence", PROSE, ".|!|?"),
    ("a full stop that ends no sentence", PROSE, "."),
    ("in a question", PROSE, "Did he? "),
    ("in the second sentence of a document", PROSE, "Mr. Lee came in 1999, and left! "),
    ("in a sentence of ten words or fewer", "One two. A" + " a" * 11 + ".", "One two. "),
    ("the first word of a line", "ab c\n  de f\n\ng", "ab|de|g"),
    ("the last word of a line", "ab c\n  de f\n\ng!", "c|f"),
    ("the first token of a line", "ab c\n  de f\n\ng", "a|d|g"),
    ("the first token of a paragraph", "ab\ncd\n\ng", "a|g"),
    ("in a line after a blank line", "ab\n\ng h\ni", "g h"),
    ("in the second line of a document", "ab\ncd\ne", "cd\n"),
    ("in the last line of a document", "ab\ncd", "cd"),
    ("in a blank line", "ab\n \nc", " \n"),
    ("in a line indented by 1 to 4 columns", "a\n    b c\n\td", "b c"),
    ("in a line indented by 5 to 8 columns", "a\n    b c\n\td", "d"),
    ("in a line indented by a tab", "a\n    b c\n\td", "d"),
    ("in a line indented deeper than the one above", "a\n  b\n  c\n\nd", "b"),
    ("in a line indented like the one above", "a\n  b\n  c\n\nd", "c"),
    ("in a line indented less than the one above", "a\n  b\n  c\n\nd", "d"),
    ("white space that indents a line", "a\n  b\n\tc", "  |\t"),
    ("white space at the end of a line", "a  \nb c", "  "),
    ("past column 80 of a line", "a" * 82, "aa"),
    ("in a list item after its bullet or number", "- a b\n2. c\nd", "a b|c"),
    ("in a row of a sign repeated four times or more", "----- ... ====", "--|="),
    ("in the text after the first colon of a line", "a: b: c\nd", " b: c"),
    ("a number in words", "Two or twofold, ten", "Two|ten"),
    ("a month", "in June, Mayor", "June"),
    ("a negation", "do not go, nothing", "not|nothing"),
]


@pytest.mark.parametrize(("label", "text", "expected"), CASES, ids=[case[0] for case in CASES])
def test_a_label_is_on_exactly_these_characters(label: str, text: str, expected: str):
    assert marked_text(label, text) == expected


PYTHON = [
    ("a Python keyword", "def|if|return|return"),
    ("the keyword return or yield", "return|return"),
    ("the name of a function being defined", "area"),
    ("the name of a parameter", "self|r|a"),
    ("in the parameters of a function", "self, r: float = 2.0, *a"),
    ("in the annotation of a parameter or return value", " float | float"),
    ("in the default of a parameter", " 2.0"),
    ("in the header of a function definition", " area(self, r: float = 2.0, *a) -> float"),
    ("the name of a Python builtin", "float|float"),
    ("the name self or cls", "self"),
    ("a Python integer", "0|2|0|1"),
    ("a Python number with a point or exponent", "2.0"),
    ("a comparison operator in Python", "!="),
    ("an arithmetic operator in Python", "*|**"),
    ("an asterisk before arguments", "*"),
    ("an arrow before a return type", "->"),
    ("the sign of an assignment", "="),
    ("the equals sign of a named argument or default", "=|="),
    ("a colon that opens a block", ":|:"),
    ("a colon inside brackets", ":"),
    ("the prefix of a string (r, b, f, u)", "f"),
    ("the name of something called", "g"),
    ("the name of an argument in a call", "y"),
    ("a name that a statement assigns", "x"),
    ("in a Python string", '"""Area.\n\n    >>> area(1)\n    """|"a{r}"'),
    ("in a docstring", 'Area.\n\n    >>> area(1)\n    """'),
    ("in the first line of a docstring", "Area."),
    ("in an example of a docstring (>>>)", "area(1)"),
    ("in an f-string", 'a{r}"'),
    ("in a Python comment", "# Pi here|# end"),
    ("the first word of a comment", "Pi|end"),
    ("in a decorator", "@cached"),
    ("in a return or yield statement", " pi * r**2| [x[0], g(y=1)]"),
    ("in the condition of an if, elif or while", " r != 0"),
    ("on the right of an assignment", ' f"a{r}"  # end'),
    ("in a subscript", "0"),
    ("in a list display or comprehension", "x|, g"),
    ("in the arguments of a call", "y=1"),
    ("in the body of an if or else", "\n        return pi * r**2\n    "),
    ("the first token of a deeper block of Python", '"|r'),
    ("the first token after a block of Python ends", "x"),
    ("the first token of a Python statement", '@|d|"|i|r|x|r'),
    ("inside brackets, two deep", "0|y=1"),
]


@pytest.mark.parametrize(("label", "expected"), PYTHON, ids=[case[0] for case in PYTHON])
def test_a_label_of_python_is_on_exactly_these_characters(label: str, expected: str):
    assert marked_text(label, CODE, path="a.py") == expected


def test_python_labels_are_on_no_other_text():
    labels = all_labels(stream_of([list(CODE)], n_ctx=100_000))
    found = {label.name for label, where in labels.items() if label.family.startswith("Python") and len(where)}
    assert found == set()


def test_a_piece_that_may_begin_in_a_docstring_is_known_from_its_first_sure_line():
    piece = 'Returns the sum, if any.\n"""\n    return 1\n\ndef f(x):\n    return x\n'
    assert marked_text("the keyword return or yield", piece, path="a.py:120") == "return"
    assert marked_text("in a Python string", piece, path="a.py:120") == ""
    assert marked_text("in a Python string", piece, path="a.py:1").startswith('"""\n    return')
    assert marked_text("a Python keyword", "return 1 if x\n", path="a.py:120") == ""


def test_a_broken_end_of_python_keeps_what_came_before():
    assert marked_text("in a Python string", "x = '''a\nb", path="a.py") == "'''a\nb"
    assert marked_text("in a Python string", "x = 'a\nb", path="a.py") == "'a"
    assert marked_text("inside brackets, one deep", "f(a,\n  b", path="a.py") == "a,\n  b"


def test_a_token_bears_a_label_if_its_last_byte_lies_in_the_span():
    assert marked("in the word after a comma", ["a", ", b", "c,", " d"]) == [", b", " d"]
    assert marked("inside round brackets", ["f", "(a", ") b", "(", "c)"]) == ["(a"]
    assert marked("in a year", ["in", " 19", "99", "."]) == [" 19", "99"]


def test_pieces_of_a_character_stand_where_it_stands():
    pieces = [b"(", b"\xf0\x9f", b"\x99\x82", b")", b"\xe6", b"\x97\xa5"]
    assert marked("inside round brackets", pieces) == ["\\xf0\\x9f", "\\x99\\x82"]
    assert marked("an emoji or pictograph", pieces) == ["\\xf0\\x9f", "\\x99\\x82"]
    assert marked("a Han character", pieces) == ["\\xe6", "\\x97\\xa5"]


def test_bytes_that_are_not_text_keep_their_neighbours_in_place():
    assert marked("in a word that begins with a capital", [b"\xff\xfe", b" ", b"Ab", b"\xff", b" c"]) == ["Ab"]
    assert marked("inside round brackets", [b"\x80", b"(", b"\xc3", b")", b"\xa9"]) == ["\\xc3"]


def test_carriage_returns_tabs_and_nothing_at_all_are_text():
    assert marked_text("the first word of a line", "ab\r\ncd\r\n") == "ab|cd"
    assert marked_text("in a Python comment", "x # a\r\ny\r\n", path="a.py") == "# a"
    labels = all_labels(stream_of([[], ["a"], []]))
    assert all(set(where.tolist()) <= {1} for where in labels.values())


def test_the_place_in_a_word_is_labelled_by_token():
    pieces = [" un", "der", "sta", "nd", " a", " cat", "s"]
    assert marked("a word's first token", pieces) == [" un", " a", " cat"]
    assert marked("a word's second token", pieces) == ["der", "s"]
    assert marked("a word's third or later token", pieces) == ["sta", "nd"]
    assert marked("a word's last token of several", pieces) == ["nd", "s"]
    assert marked("a word of one token", pieces) == [" a"]


def test_classes_are_of_the_single_token():
    pieces = [" the", "Cat", " NATO", "1", "ing", " walking", "\n", b"\xff"]
    assert marked("digits", pieces) == ["1"]
    assert marked("ALL CAPS", pieces) == [" NATO"]
    assert marked("a token that ends in -ing", pieces) == [" walking"]
    assert marked("a byte piece", pieces) == ["\\xff"]
    assert marked("a token of four to six bytes", pieces) == [" the", " NATO"]


def test_positions_count_from_one_in_row_and_document():
    stream = stream_of([list("abc"), list("defghij")], n_ctx=4)
    labels = {label.name: where.tolist() for label, where in all_labels(stream).items()}
    assert labels["at row position 1"] == [0, 4, 8]
    assert labels["at row positions 3 to 4"] == [2, 6, 7, 10]
    assert labels["at document position 1"] == [0, 4]
    assert labels["at document positions 5 to 8"] == [8, 9, 10]
    assert labels["the last token of a document"] == [2, 10]
    assert labels["in a document whose start lies outside the row"] == [8, 9, 10]


def test_induction_looks_back_within_the_row_and_not_across_separators():
    stream = stream_of([["a", "b", "c", "a", "b", "d", "a", "c"], ["b", "b"]], n_ctx=16)
    labels = {label.name: where.tolist() for label, where in all_labels(stream).items()}
    assert labels["a token that came before in the row"] == [3, 4, 6, 7, 9, 10]
    assert labels["a token's second occurrence in the row"] == [3, 4, 7]
    assert labels["the same token twice in succession"] == [10]
    assert labels["after a token that was followed by something before in the row"] == [4, 5, 7, 10]
    assert labels["the token that followed the last occurrence of the token before it"] == [4]
    assert labels["a token that came after the same token before in the row"] == [4]
    assert labels["the second occurrence of a bigram in the row"] == [4]
    assert labels["after a token seen before, but never followed by this one"] == [5, 7, 10]
    assert labels["a token that came before in its document"] == [3, 4, 6, 7, 10]
    short = stream_of([["a", "b", "c", "a", "b"]], n_ctx=3)
    assert not {label.name: where.tolist() for label, where in all_labels(short).items()}[
        "a token that came after the same token before in the row"
    ]


def test_frequent_words_are_chosen_on_training_text_and_found_across_tokens():
    training = [["the", " riv", "er", " the", " sea", " of", " the", " riv", "er"], ["the", " the", " the"], ["the"]]
    stream = stream_of([["The", " ri", "ver", " of", " the", " sea", " other"]], training=training)
    words, pairs = counted(stream)
    assert words == ["the", "of", "river", "sea"]
    assert pairs[0] == ("of", "the")
    labels = {label.name: where.tolist() for label, where in all_labels(stream).items()}
    assert labels["the word `the`"] == [0, 4]
    assert labels["the word `river`"] == [1, 2]
    assert labels["`river` right after `the`"] == [1, 2]
    assert labels["in the word after `of`"] == [4]
    assert labels["in the word after `the`"] == [1, 2, 5]
    assert "the word `other`" not in labels


def test_topic_source_and_language_are_on_whole_documents():
    english = [f"{word} " for word in re.findall(r"\w+", "The cat is in the house of the king")]
    french = [f"{word} " for word in re.findall(r"\w+", "le chat est dans la maison de la reine")]
    stream = stream_of([english, french, ["x"]], topics=["Arts", None, "Arts"])
    labels = {label.name: where.tolist() for label, where in all_labels(stream).items()}
    first, second = list(range(len(english))), [len(english) + 1 + i for i in range(len(french))]
    assert labels["in a document on Arts"] == [*first, len(stream) - 2]
    assert labels["in a document in English"] == first
    assert labels["in a document in French"] == second
    assert len(labels["in a document from made-up"]) == len(stream) - 3
