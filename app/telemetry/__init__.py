"""Timers, histograms and budgets."""
