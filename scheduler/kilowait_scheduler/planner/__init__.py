"""Choices, pure: given intensity, capacity and jobs on a grid of slots, which windows?

`problem` is what is asked, `schedule` the exact best windows of one job, `insert` all jobs one after the other under
capacity, `check` an independent judge of the answer, `problem_json` the outside format. Nothing here knows what time
it is, what a cluster is, or how a number was obtained.
"""
