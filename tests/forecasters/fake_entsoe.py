"""ENTSO-E as it answers: market documents in XML, whole market days, and an acknowledgement where it has nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from kilowait_forecasters.mix import FACTORS
from kilowait_forecasters.providers.entsoe import AREAS

SECURITY_TOKEN = "7a0e1f2c-entsoe"
HOUR = timedelta(hours=1)


@dataclass
class Series:
    """One TimeSeries: values by position from `start` on."""

    psr_type: str
    points: dict[int, float]
    start: datetime
    end: datetime
    resolution: str = "PT60M"
    curve: str = "A01"
    consumed: bool = False
    unit: str = "MAW"
    extra: list[str] = field(default_factory=list)

    def xml(self) -> str:
        domain = "outBiddingZone_Domain.mRID" if self.consumed else "inBiddingZone_Domain.mRID"
        points = "".join(
            f"<Point><position>{position}</position><quantity>{quantity!r}</quantity></Point>"
            for position, quantity in self.points.items()
        )
        return (
            f"<TimeSeries><mRID>1</mRID><{domain} codingScheme='A01'>x</{domain}>"
            f"<quantity_Measure_Unit.name>{self.unit}</quantity_Measure_Unit.name><curveType>{self.curve}</curveType>"
            f"<MktPSRType><psrType>{self.psr_type}</psrType></MktPSRType>"
            f"<Period><timeInterval><start>{stamp(self.start)}</start><end>{stamp(self.end)}</end></timeInterval>"
            f"<resolution>{self.resolution}</resolution>{points}{''.join(self.extra)}</Period></TimeSeries>"
        )


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%MZ")


def moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%d%H%M").replace(tzinfo=UTC)


def document(series: Iterable[Series], *, version: str = "3:0") -> str:
    namespace = f"urn:iec62325.351:tc57wg16:451-6:generationloaddocument:{version}"
    body = "".join(one.xml() for one in series)
    return f'<?xml version="1.0" encoding="UTF-8"?><GL_MarketDocument xmlns="{namespace}">{body}</GL_MarketDocument>'


def acknowledgement(code: str, text: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><Acknowledgement_MarketDocument '
        'xmlns="urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:7:0"><mRID>a</mRID>'
        f"<Reason><code>{code}</code><text>{text}</text></Reason></Acknowledgement_MarketDocument>"
    )


NO_DATA = acknowledgement("999", "No matching data found for Data item Actual Generation Per Type [16.1.B&amp;C]")


def mixture(g_per_kwh: float) -> tuple[float, float]:
    """MW of coal and of wind that together make `g_per_kwh`, lifecycle."""
    coal, wind = FACTORS["coal"][0], FACTORS["wind"][0]
    share = (g_per_kwh - wind) / (coal - wind)
    return 10_000 * share, 10_000 * (1 - share)


def answer(params: dict[str, str], *, value: Callable[[datetime], float | None], now: datetime) -> tuple[int, str]:
    """Status and body for a question about generation; values come for hours that ended half an hour ago or more."""
    if params.get("securityToken") != SECURITY_TOKEN:
        return (
            401,
            "<html><head><title>Unauthorized</title></head><body>Missing or invalid security token</body></html>",
        )
    if params.get("documentType") != "A75" or params.get("processType") != "A16":
        return 400, acknowledgement("999", "Wrong documentType")
    if params.get("in_Domain") not in AREAS.values():
        return 400, acknowledgement("999", "Unknown area")
    start, end = (
        datetime.strptime(params[key], "%Y%m%d%H%M").replace(tzinfo=UTC) for key in ("periodStart", "periodEnd")
    )
    if end - start > timedelta(days=366):
        return 400, acknowledgement("999", "The amount of requested data exceeds allowed limit of one year")
    # Widened to whole market days, here those of Central European summer time.
    first = (start - 22 * HOUR).replace(hour=22, minute=0) if start.hour < 22 else start.replace(hour=22, minute=0)
    first -= timedelta(days=0 if first <= start else 1)
    series = []
    while first < end:
        points: tuple[dict[int, float], dict[int, float]] = ({}, {})
        for position in range(1, 25):
            at = first + (position - 1) * HOUR
            if at + HOUR <= now - HOUR / 2 and (g_per_kwh := value(at)) is not None:
                for into, megawatts in zip(points, mixture(g_per_kwh), strict=True):
                    into[position] = megawatts
        if points[0]:
            last = first + 24 * HOUR
            series += [Series("B05", points[0], first, last), Series("B19", points[1], first, last)]
            series.append(Series("B10", dict.fromkeys(points[0], 900.0), first, last, consumed=True))
        first += 24 * HOUR
    return (200, document(series)) if series else (200, NO_DATA)
