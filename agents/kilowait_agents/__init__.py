"""Energy: what did the GPUs of this node draw, and for which job?

Belongs here: meters, the energy of an interval, which process belongs to which run, the split of a device's energy
among runs, the messages to the server, and the loop that ties them together on a GPU node. Does not belong here:
intensity, carbon, plans, budgets, anything that knows a grid. This package runs alone, beside other people's training,
so it imports the standard library and (lazily) pynvml, and nothing of the scheduler or the forecasters.

Energy is integer millijoules from the meter to the database; kWh appear only where people read them. For every device
and interval, the shares of the runs + idle + unattributed equal the device's energy, exactly.

`energy` and `wire` are pure and safe to import anywhere; the scheduler takes only these two.
"""
