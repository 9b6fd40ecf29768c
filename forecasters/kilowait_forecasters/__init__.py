"""Grid intensity: how dirty is a kWh, there and then, and how sure are we?

Belongs here: zones, signals, intensity series, forecasts as issued, the providers they come from, the order in which
providers are asked, and typical days as the last resort. Does not belong here: energy, jobs, carbon (the scheduler
multiplies), anything that knows what a job is.

Modules without I/O (`zone`, `signal`, `intensity`, `forecast`, `errors`) are safe to import anywhere, cheaply.
"""
