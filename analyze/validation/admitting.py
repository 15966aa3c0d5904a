"""Which of our features may be planted on a corpus."""

import numpy as np

from analyze.labels.bank import bank_on
from analyze.rules.build import grammar_on
from analyze.validation.admission import Admitted, LabelSets, RuleSets, admit
from analyze.validation.parsed_text import ParsedText
from analyze.validation.plant import Corpus


def admit_on(corpus: Corpus) -> Admitted:
    """The features of a corpus that neither the grammar nor the label bank reads."""
    positions = np.asarray(corpus.tokens.stream_position, np.int64)
    grammar = grammar_on(corpus.data, positions, np.asarray(corpus.tokens.is_fit))
    score_sets = (RuleSets(grammar, positions), LabelSets(bank_on(corpus.data), positions))
    return admit(ParsedText.of(corpus.data), positions, score_sets)
