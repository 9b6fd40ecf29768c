"""`regions find`: which grid a place or a cloud region draws from, and what the services call it. Needs no server."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from . import output
from .connect import OutputOption, UsageError, finite
from .output import Format, say, table


def find(
    lat: Annotated[float | None, typer.Option(help="Latitude in degrees, north positive.", callback=finite)] = None,
    lon: Annotated[float | None, typer.Option(help="Longitude in degrees, east positive.", callback=finite)] = None,
    cloud: Annotated[str | None, typer.Option(help="Cloud region, e.g. aws:us-west-2, or aws for all of AWS.")] = None,
    o: OutputOption = Format.TABLE,
) -> None:
    """Find the grid zone of a place or cloud region, its PUE, and what the services call it."""
    found = _found(lat, lon, cloud)
    if o is not Format.TABLE:
        output.data(found if cloud is not None and ":" not in cloud else found[0], o, rows=found)
        return
    if len(found) == 1:
        shown = table("what", "it is")
        for key, value in found[0].items():
            text = ", ".join(value) if isinstance(value, list) else "-" if value is None else str(value)
            shown.add_row(key.replace("_", " "), text)
    else:
        shown = table("region", "zone", "WattTime", "EIA", ">PUE")
        for row in found:
            sure = "" if row["watttime_confirmed"] or not row["watttime_region"] else "?"
            shown.add_row(
                row["region"],
                row["zone"],
                f"{row['watttime_region'] or '-'}{sure}",
                row["eia_respondent"] or "-",
                f"{row['pue']:.2f}{'~' if row['pue_estimated'] else ''}",
            )
    output.out.print(shown)
    if cloud is None:
        say(f"the zone of the nearest region known, {found[0]['distance_km']:g} km away; near a border, check it")
    if len(found) > 1 and any(row["pue_estimated"] for row in found):
        say("~ mean of the operator's fleet: the region has no published figure")
    if any(row["watttime_region"] and not row["watttime_confirmed"] for row in found):
        say("? inferred from the zone; confirm it with WattTime's region-from-loc")


def _found(lat: float | None, lon: float | None, cloud: str | None) -> list[dict[str, Any]]:
    from kilowait_forecasters.cloud import cloud_region, cloud_regions, nearest
    from kilowait_forecasters.errors import Refused

    try:
        if lat is not None and lon is not None and cloud is None:
            region, distance_km = nearest(lat, lon)
            return [{**_row(region), "distance_km": round(distance_km, 1)}]
        if cloud is not None and lat is None and lon is None:
            all_of = [_row(one) for one in cloud_regions() if one.cloud == cloud.lower()]
            return all_of or [_row(cloud_region(cloud))]
    except Refused as error:
        raise UsageError(f"regions find: {error}") from None
    raise UsageError("regions find: give --lat and --lon, e.g. --lat 53.3 --lon -6.3, or --cloud aws:us-west-2")


def _row(region: Any) -> dict[str, Any]:
    """What is known of one region; `providers` are those that know its zone, in the server's default order."""
    from kilowait_forecasters.providers import eia, energy_charts, entsoe

    zone = region.zone.id
    serves = {
        "electricity-maps": True,
        "neso": zone == "GB",
        "entsoe": zone in entsoe.AREAS,
        "eia": zone in eia.RESPONDENTS,
        "energy-charts": zone in energy_charts.COUNTRIES,
    }
    return {
        "region": region.id,
        "place": region.place,
        "latitude": region.latitude,
        "longitude": region.longitude,
        "zone": zone,
        "electricity_maps_zone": zone,
        "watttime_region": region.watttime_region,
        "watttime_confirmed": region.watttime_confirmed,
        "eia_respondent": eia.RESPONDENTS.get(zone),
        "entsoe_area": entsoe.AREAS.get(zone),
        "neso": zone == "GB",
        "pue": region.pue.value,
        "pue_source": region.pue.source,
        "pue_estimated": region.pue.estimated,
        "providers": [name for name, known in serves.items() if known],
    }
