"""Made-up input for everything that reads what others wrote: only declared errors, no crash, nothing slow.

The inputs are the same in each run (`derandomize`), so that a failure is there again the next time. `python -m pytest
tests/fuzz --hypothesis-profile=long --timeout=0` draws others, and more of them.
"""
