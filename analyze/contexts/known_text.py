"""Text of the sorts that the headline was fitted on: English, and code."""

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from analyze.labels.families.origin import language_of
from analyze.text.stream import once_for_data, stream_of
from train.data.tokens import TokenFile

LANGUAGE = "English"


@once_for_data
def known_text_on(data: TokenFile) -> Bool[ndarray, "s"]:
    """Whether each position of a data directory's held-out stream lies in a document of code or of English.

    A document of prose too short to tell (`language_of`) goes with most of the others.
    """
    stream = stream_of(data)
    languages = [language_of(passage) for passage in stream.passages]
    told = [language == LANGUAGE for language in languages if language is not None]
    mostly = bool(told) and 2 * sum(told) > len(told)
    of_document = [
        content == "code" or language == LANGUAGE or (language is None and content == "prose" and mostly)
        for content, language in zip(stream.content, languages)
    ]
    known = np.zeros(len(stream), bool)
    known[stream.positions] = np.repeat(np.array(of_document, bool), stream.lengths)
    return known
