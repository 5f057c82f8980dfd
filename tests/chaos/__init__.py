"""Months of bad luck in minutes: random users, faults and crashes, and a verdict at the end.

``python -m chaos --minutes 10 --seed 1`` or, for the shortest run, ``test_chaos.py``.
"""
