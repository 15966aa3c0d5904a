"""Words that belong together: closed classes of English and small word lists, in any case."""

import re
from collections.abc import Iterator

from analyze.labels.base import Passage, Span, declared, span_family

MONTHS = "January February March April May June July August September October November December"
_LISTS = {
    "a month": MONTHS.replace(" May", ""),
    "a day of the week": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "a number in words": "zero one two "
    "three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand "
    "million billion trillion dozen half",
    "an ordinal in words": "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth last",
    "an article": "a an the",
    "a personal pronoun": "i you he she it we they me him us them",
    "a male pronoun": "he him his himself",
    "a female pronoun": "she her hers herself",
    "a plural pronoun": "we they us them our their ours theirs ourselves themselves",
    "a possessive pronoun": "my your his her its our their whose mine yours hers ours theirs",
    "a demonstrative": "this that these those",
    "a question word": "who whom whose which what when where why how",
    "a form of to be": "be is are was were been being am",
    "a form of to have": "have has had having",
    "a form of to do": "do does did done doing",
    "a modal verb": "can could may might must shall should will would cannot",
    "a negation": "no not nor neither never none nothing nobody nowhere without cannot",
    "a preposition": "of in to for on with as by from at into during through between under over against among within "
    "without across along around near toward towards upon via throughout beyond behind beneath beside despite",
    "a coordinating conjunction": "and or but nor yet",
    "a subordinating conjunction": "because although though while whereas if unless until since whether",
    "a quantifier": "some any all many much few several most more less each every both either neither other another",
    "a comparative or superlative": "more most less least better best worse worst larger largest smaller smallest "
    "higher highest lower lowest greater greatest older oldest earlier earliest later latest longer longest",
    "an adverb of degree or time": "also often usually sometimes always now then very generally especially mainly "
    "approximately about only even still",
    "a verb of saying or naming": "said says called named known described considered referred termed defined",
    "a compass direction": "north south east west northern southern eastern western northeast northwest southeast "
    "southwest central",
    "a colour": "red orange yellow green blue purple brown black white grey gray pink violet",
    "a country": "England "
    "France Germany Italy Spain China Japan India Russia Canada Australia Brazil Mexico Egypt Iran "
    "Iraq Turkey Greece Poland Sweden Norway Denmark Finland Netherlands Belgium Switzerland Austria Portugal Ireland "
    "Scotland Wales Ukraine Israel Pakistan Indonesia Vietnam Argentina Chile Peru Cuba Nigeria Kenya Ethiopia",
    "a nationality or language": "American "
    "British English French German Italian Spanish Chinese Japanese Indian Russian "
    "Canadian Australian Greek Roman Latin Arabic Persian Turkish Dutch Portuguese Swedish Irish Scottish Polish "
    "Egyptian Jewish Korean Mexican Brazilian European African Asian",
    "a continent or ocean": "Africa Asia Europe America Antarctica Oceania Atlantic Pacific Arctic Mediterranean",
    "a kind of settlement or division": "city town village country state province region district capital county "
    "municipality island kingdom empire republic nation territory",
    "a kind of water or land": "river lake sea ocean bay gulf strait coast mountain mountains valley desert forest "
    "plain peninsula canal",
    "a kind of family member": "father mother son daughter brother sister wife husband child children parents parent "
    "family uncle aunt cousin king queen prince princess",
    "an occupation": "actor actress author artist composer engineer historian journalist king lawyer mathematician "
    "musician novelist painter philosopher physicist poet politician president scientist singer soldier writer emperor",
    "a unit of time": "second seconds minute minutes hour hours day days week weeks month months year years decade "
    "decades century centuries millennium",
    "a chemical element": "hydrogen helium carbon nitrogen oxygen sodium magnesium silicon phosphorus sulfur chlorine "
    "potassium calcium iron copper zinc silver gold mercury lead uranium aluminium titanium",
    "a part of the body": "head face eye eyes ear ears nose mouth neck arm arms hand hands finger leg legs foot feet "
    "heart brain blood skin bone bones muscle liver kidney",
    "an animal": "animal animals bird birds fish dog dogs cat cats horse horses cattle sheep pig goat insect insects "
    "snake whale bear wolf lion elephant mouse rat mammal mammals reptiles",
    "a branch of learning": "mathematics physics chemistry biology philosophy history geography economics psychology "
    "medicine sociology astronomy geology linguistics engineering logic statistics geometry algebra",
    "a word about war": "war battle army military navy soldiers troops weapon weapons forces victory invasion siege",
    "a word about language": "word words language languages name term meaning letter letters alphabet grammar",
}

_LABELS = declared("word lists", "rule", False, *_LISTS, note="a word of a fixed list, in any case")
_SETS = {name: frozenset(words.lower().split()) for name, words in _LISTS.items()}
_BY_WORD = {word: [name for name, its in _SETS.items() if word in its] for words in _SETS.values() for word in words}
_WORD = re.compile(r"(?<![\w'’])[A-Za-z]+(?!\w)")


def regex_of(words: str) -> str:
    """Alternatives of a regular expression for words between blanks."""
    return "|".join(map(re.escape, words.split()))


def _spans(passage: Passage) -> Iterator[Span]:
    for match in _WORD.finditer(passage.text):
        for name in _BY_WORD.get(match.group().lower(), ()):
            yield Span(name, *match.span())


FAMILIES = (span_family(_LABELS, _spans),)
