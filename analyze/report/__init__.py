"""One page about a results directory."""
