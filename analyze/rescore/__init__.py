"""Trained runs scored anew with P(one feature), beside their nulls and K_eff."""
