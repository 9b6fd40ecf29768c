"""From the agents' wire messages to readings worth keeping: checks, units, times, whose energy it is.

Knows the wire format and the core's words; stores nothing itself.
"""
