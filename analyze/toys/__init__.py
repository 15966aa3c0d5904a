"""Reads finished toys: geometry of features, neurons and motifs, phases, losses split, measures and verdicts."""
