"""The chaos suite: the whole product under seeded faults, and a judge of what came out.

Here belong the faults (a TCP proxy with toxics, a nemesis that kills, pauses, parts and fills disks, clocks that can be
moved), the recorder of effects and the checker of the history. It starts the product as `tests/support/stack.py` does,
from outside, and looks at the agents' journals when all is over. Nothing of the product may import it; no test of a
single room belongs here.
"""
