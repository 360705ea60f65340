"""HTTP: the agents' endpoints (contract 1.2), the operators' routes, and the waiting that happens between requests.

Routes translate and wait; every rule is in `services`. Each route declares who may call it by the router it is made
with (`access`), so none can forget to. All answers have the same envelope (`envelope`).
"""
