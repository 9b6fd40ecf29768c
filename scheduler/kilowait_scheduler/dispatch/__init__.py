"""Effects on Ray clusters: submit, observe, stop; one executor per region, all behind one protocol.

`executor` has the protocol, the value types and the errors; `ray_jobs` speaks Ray's Jobs REST API (`ray_answers` reads
what it says, `breaker` spares a cluster that does not answer); `fake` is a cluster in memory, for tests and what-if;
`ray_packages` makes the archive of a working directory; `local_heads` and `head_keeper` start and stop real Ray heads
on this machine. Ray itself is never imported here: a server needs httpx and nothing else.

What does not belong here: which job runs when (planner), what an answer means for a job (core.lifecycle), SQL (store).
"""
