"""Which grid zone a cloud region, or a place on the map, draws its electricity from; with what is known of its PUE."""

from __future__ import annotations

import csv
import difflib
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from .errors import Refused
from .zone import Zone

# Means over each operator's fleet, as Cloud Carbon Footprint uses them, for regions without a figure of their own.
_FLEET_PUE = {"aws": 1.135, "azure": 1.185, "gcp": 1.10}
_EARTH_RADIUS_KM = 6371.0
# Beyond this from the next data centre known, the zone of a place is a guess.
_NEAR_KM = 150.0


@dataclass(frozen=True)
class Pue:
    """Power usage effectiveness; `estimated` where it is not the region's own figure, `source` says whose it is."""

    value: float
    source: str
    estimated: bool


@dataclass(frozen=True)
class CloudRegion:
    """One region of `cloud` (aws, azure, gcp). Ids are those of the services; None where a service has none for it.

    `watttime_confirmed`: the id was published for this region, not inferred from its zone.
    """

    cloud: str
    name: str
    place: str
    latitude: float
    longitude: float
    zone: Zone
    pue: Pue
    watttime_region: str | None
    watttime_confirmed: bool
    eia_authority: str | None
    entsoe_area: str | None

    @property
    def id(self) -> str:
        """As people write it: `aws:us-west-2`."""
        return f"{self.cloud}:{self.name}"


@cache
def cloud_regions() -> tuple[CloudRegion, ...]:
    """All regions known, by cloud and name."""
    text = files(__package__).joinpath("data/cloud_regions.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return tuple(sorted((_region(row) for row in rows), key=lambda region: region.id))


def cloud_region(region_id: str) -> CloudRegion:
    """The region written `cloud:name`, e.g. `gcp:europe-west1`. Raises Refused, with the nearest names there are."""
    known = {region.id: region for region in cloud_regions()}
    found = known.get(region_id.strip().lower())
    if found is not None:
        return found
    near = difflib.get_close_matches(region_id.lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "write it as aws:NAME, azure:NAME or gcp:NAME"
    raise Refused(f"no cloud region {region_id!r} is known; {hint}")


def nearest(latitude: float, longitude: float) -> tuple[CloudRegion, float]:
    """The region nearest to a place (degrees, north and east positive), and how far it is in km.

    Raises Refused where the place is none, or farther from every region than its zone can be told from.
    """
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise Refused(f"{latitude}, {longitude} is no place; give latitude (-90 to 90) and longitude (-180 to 180)")
    distance_km, found = min(
        ((_distance_km(latitude, longitude, region), region) for region in cloud_regions()), key=lambda pair: pair[0]
    )
    if distance_km > _NEAR_KM:
        raise Refused(
            f"{latitude}, {longitude} is {distance_km:.0f} km from the nearest region known ({found.id}, zone "
            f"{found.zone}); too far to tell its zone, name it yourself"
        )
    return found, distance_km


def places_in(zone: Zone) -> list[tuple[float, float]]:
    """Where the cloud regions of `zone` are, to a tenth of a degree, each place once; (latitude, longitude)."""
    return sorted({(round(one.latitude, 1), round(one.longitude, 1)) for one in cloud_regions() if one.zone == zone})


def _region(row: dict[str, str]) -> CloudRegion:
    cloud = row["cloud"]
    pue = (
        Pue(float(row["pue"]), f"published by {cloud} for the region, {row['pue_year']}", estimated=False)
        if row["pue"]
        else Pue(_FLEET_PUE[cloud], f"mean of the {cloud} fleet", estimated=True)
    )
    return CloudRegion(
        cloud=cloud,
        name=row["region"],
        place=row["place"],
        latitude=float(row["latitude"]),
        longitude=float(row["longitude"]),
        zone=Zone(row["zone"]),
        pue=pue,
        watttime_region=row["watttime"] or None,
        watttime_confirmed=row["watttime_from"] == "published",
        eia_authority=row["eia_authority"] or None,
        entsoe_area=row["entsoe_area"] or None,
    )


def _distance_km(latitude: float, longitude: float, region: CloudRegion) -> float:
    """Along the great circle, by the haversine formula."""
    here, there = math.radians(latitude), math.radians(region.latitude)
    east = math.radians(region.longitude - longitude)
    chord = math.sin((there - here) / 2) ** 2 + math.cos(here) * math.cos(there) * math.sin(east / 2) ** 2
    return 2 * _EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(chord)))
