"""Our own forecast of a zone's intensity, learned from its past alone or with its generation mix and weather.

Belongs here: arrays of hours, what is derived from them, the candidates, how they are weighed, their band. Does not
belong here: files, providers, clocks. Everything works on whole UTC hours counted from 1970 and is a function of what
was known when the forecast was issued: the same past gives the same forecast, whatever comes after.

Modules: `hours` (the arrays), `features`, `baselines`, `steady`, `ridge`, `boosting` (the candidates), `blend` (their
weights), `band` (the quantiles), `own` (all of it together). They need numpy and scikit-learn (extra `forecast`).
"""
