"""What a layer of neurons did on held-out text: collected once, sealed, read by every later stage."""
