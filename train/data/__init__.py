"""Text into tokens: corpora, tokenizer, packed rows, and what counting alone predicts."""
