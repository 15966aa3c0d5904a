"""Cases of known truth for the rules of toys: one file a toy or for close kin, found by TRIALS."""
