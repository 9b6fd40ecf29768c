"""Sources of intensity numbers, one module each, all behind `base.Provider`.

Belongs here: speaking to one service or reading one kind of file, and turning what it says into values that state
their zone, signal, issue time and whether they are estimates. Does not belong here: the order of sources and what to
do when one fails (`kilowait_forecasters.cascade`), retries other than those of the one HTTP seam (`http`).

- over the network: `electricity_maps`, `neso`
- from what is on disk or configured: `replay`, `static`; typical days are in `kilowait_forecasters.profiles`
- shared: `base` (the protocol and its rules), `http` (the only module that opens connections), `payload` (reading
  JSON nobody can vouch for)
"""
