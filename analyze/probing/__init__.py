"""Linear probes on few neurons: choosing them, fitting them, judging them."""
