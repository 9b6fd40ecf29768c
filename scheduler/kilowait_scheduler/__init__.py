"""Carbon: when and where does a job run, under which budget, and what did it save?

The flow is forecast -> plan -> dispatch -> measure -> account -> report. Rooms, from the inside out:
`core` (formulas and rules, pure), `planner` (choices, pure), `dispatch` (effects on Ray clusters), `intake` (readings
from agents), `store` (SQL), `reports`, `service` (use cases; the only place that wires the parts), and the doors `api`,
`web` and `cli`.
"""
