"""The demonstration: everything real but the grid clock.

`scenario` picks a day and jobs that show delay, move, suspend and resume; `stage` starts heads, server and agents and
ends them again; `view` draws; `run` is the play itself. `workload/` is the program the jobs run.
"""
