"""Models that polysem did not train: their MLP neurons, through `transformers` and one small adapter a family."""
