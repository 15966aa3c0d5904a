"""Letters of other scripts, and signs."""

from analyze.labels.base import Pattern, pattern_family

_SCRIPTS = {
    "a Latin letter with an accent or of an extended alphabet": "À-ÖØ-öø-ʯḀ-ỿ",
    "a Greek letter": "Ͱ-Ͽἀ-῿",
    "a Cyrillic letter": "Ѐ-ԯ",
    "a Hebrew or Arabic letter": "֐-ۿݐ-ݿ",
    "a letter of an Indic script": "ऀ-෿",
    "a Han character": "一-鿿㐀-䶿",
    "a Japanese kana or Korean syllable": "぀-ヿ가-힯",
    "a sign of the phonetic alphabet": "ɐ-˿",
    "an emoji or pictograph": "\U0001f300-\U0001faff☀-➿",
    "a mathematical sign or arrow": "←-⋿×÷±",
    "a dash longer than a hyphen": "–—",
    "a curly quotation mark": "“”‘’",
    "a superscript, subscript or fraction": "²³¹⁰-₟¼-¾⅐-⅞",
    "a currency sign": "$€£¥¢₠-⃀",
}
_IN_SCRIPT = [Pattern(name, f"[{members}]+", True, "exact") for name, members in _SCRIPTS.items()]

FAMILY = pattern_family("scripts and signs", _IN_SCRIPT)
