"""One file a family of models: where its MLP neurons are."""
