"""The advisor: what a job's own record says would have made it cleaner, and by how much. Pure.

May import reports, planner and core.
"""
