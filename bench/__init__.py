"""Benchmarks anyone can run again: `scripts/bench NAME` runs `bench/NAME.py` against programs of its own."""
