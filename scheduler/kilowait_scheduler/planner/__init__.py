"""Choices, pure: given intensity, capacity and jobs on a grid of slots, which windows?

`problem` is what is asked and answered, `joint` the plan of all jobs: `arrays` lays the problem out, `prices` finds
what scarce GPUs are worth and the bound that proves, `search` makes the plan, `check` judges it independently.
`kernels` (one job) and `sweeps` (many) are compiled; `schedule` is one job in numpy. `replan` is the service's
question, with `knowledge` in and decisions out over a `grid` of time; `problem_json` the outside format. Nothing here
knows what time it is, what a cluster is, or how a number was obtained.
"""
