"""The tokenizer: byte-level BPE with single digits and BOS, in the format of the `tokenizers` library."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from train.errors import BadInput

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BOS = "<|bos|>"
BOS_ID = 0
"""The trainer gives the first special token the first id."""


def train_tokenizer(
    texts: Iterator[str], d_vocab: int, min_frequency: int = 2, split_digits: bool = True
) -> "Tokenizer":
    """Fit a byte-level BPE. The same texts in the same order give the same tokenizer.

    Every byte has a token, so any text can be encoded. Digits stand alone, so that numbers share tokens, unless
    `split_digits` is false.

    Args:
        d_vocab: size with BOS and the 256 bytes; the result is smaller where the texts hold too few distinct pairs.
        min_frequency: pairs seen less often are not merged.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), bytes_]) if split_digits else bytes_
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=d_vocab,
        min_frequency=min_frequency,
        special_tokens=[BOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # A text that spells BOS is plain text while counting, too.
    tokenizer.encode_special_tokens = True
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(path: str | Path) -> "Tokenizer":
    """Read a tokenizer.json. Text that spells "<|bos|>" encodes as plain bytes, so no text can forge a BOS.

    The `tokenizers` library does not save that switch (`encode_special_tokens`): whoever opens the file by
    other means has to set it.

    Raises:
        BadInput: not there, or not a tokenizer.
    """
    from tokenizers import Tokenizer

    path = Path(path)
    if not path.is_file():
        raise BadInput(f"{path}: no such file")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as failure:  # the library raises bare Exception
        raise BadInput(f"{path}: not a tokenizer ({failure})") from None
    tokenizer.encode_special_tokens = True
    return tokenizer
