"""What people review: a savings report as one value, and its renderings (table, JSON, CSV, one HTML page).

`model` is the report, `build` computes it from measured energy and realised intensity (pure), the rest draws. Nothing
here reads a database or asks a provider.
"""
