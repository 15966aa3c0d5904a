"""Tests of truth in three layers."""
