"""Weir: a gate and an event-sourced filesystem between coding agents and projects."""
