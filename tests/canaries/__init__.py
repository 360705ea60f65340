"""Unique secrets, the canaries, are sent through everything there is, then looked for everywhere they must not be.

`secrets.py` makes them, `search.py` finds them in any spelling, `stores.py` reads what the product keeps, `watch.py` looks
at its processes all the while, `case.py` is what an executor brings along, `flight.py` sends them through.
`test_canaries.py` judges.
"""
