"""Use cases: what the server does for people and on its own, on top of rules, planner, clusters and store.

`compose` is the only composition root: it builds providers, store, executors and the control loop from settings. The
others are given what they need. Doors (`api`, `web`, `cli`) call in here and hold no rules of their own.
"""
