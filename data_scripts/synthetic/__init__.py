"""Procedural drawings that stand in for inspection photographs; see make_synthetic.py."""
