"""Simulated guests behind real UNIX sockets, for scale and for hostile answers.

What they do was seen on real guests first; each behaviour names the test that showed it. Figures
about the product's behaviour with an agent come from tests/guests, never from here.
"""
