"""Cloud regions: every one has a zone and a PUE with its source; places find the region they are near."""

from __future__ import annotations

from collections import Counter

import pytest

from kilowait_forecasters.cloud import cloud_region, cloud_regions, nearest
from kilowait_forecasters.errors import Refused


def test_all_regions_are_there_once() -> None:
    found = cloud_regions()
    assert Counter(region.cloud for region in found) == {"aws": 37, "azure": 60, "gcp": 44}
    assert len({region.id for region in found}) == len(found)


def test_every_region_has_a_place_a_zone_and_a_believable_pue() -> None:
    for region in cloud_regions():
        assert region.place, region.id
        assert -60 < region.latitude < 70, region.id
        assert 1.0 < region.pue.value < 1.6, region.id
        assert region.pue.source, region.id
        assert region.zone.id, region.id


def test_a_region_is_found_by_cloud_and_name_with_the_ids_of_the_services() -> None:
    west = cloud_region("AWS:us-west-1")
    assert (west.zone.id, west.eia_authority) == ("US-CAL-CISO", "CISO")
    assert cloud_region("azure:northeurope").zone.id == "IE"
    assert cloud_region("gcp:europe-west3").entsoe_area


def test_a_pue_that_is_not_the_regions_own_says_so() -> None:
    own = cloud_region("aws:ap-northeast-1").pue
    assert (own.value, own.estimated) == (1.27, False)
    fleet = cloud_region("aws:ap-east-1").pue
    assert (fleet.value, fleet.estimated, fleet.source) == (1.135, True, "mean of the aws fleet")


def test_a_name_that_is_nearly_right_gets_a_suggestion() -> None:
    with pytest.raises(Refused, match=r"did you mean .*aws:us-west-2"):
        cloud_region("aws:us-west2")
    with pytest.raises(Refused, match="write it as aws:NAME"):
        cloud_region("xyzzy")


def test_a_place_finds_the_region_it_is_near_with_the_distance() -> None:
    found, distance_km = nearest(50.1, 8.7)
    assert found.zone.id == "DE"
    assert distance_km < 20
    for region in cloud_regions():
        assert nearest(region.latitude, region.longitude)[1] < 1e-3


def test_the_date_line_is_no_wall() -> None:
    with pytest.raises(Refused, match="km from the nearest"):
        nearest(-36.8, -179.0)
    assert nearest(-36.85, 174.76)[0].zone.id == "NZ"


def test_oceans_and_places_that_are_none_are_refused() -> None:
    with pytest.raises(Refused, match="too far to tell its zone"):
        nearest(0, -30)
    with pytest.raises(Refused, match="is no place"):
        nearest(91, 0)
