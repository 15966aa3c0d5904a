"""Truth in three layers: unions of features, directions in a trained model, features that others annotated."""
