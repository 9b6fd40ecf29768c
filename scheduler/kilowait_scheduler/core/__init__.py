"""The rules of Kilowait, pure: carbon, windows, regions, jobs, lifecycle, ledger, baselines, savings, reasons.

No I/O, no clock, no randomness, no frameworks. Whatever is here can be tested by calling it.
"""
