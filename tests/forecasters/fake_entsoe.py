"""ENTSO-E as it answers: market documents in XML, whole market days, and an acknowledgement where it has nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from kilowait_forecasters.mix import FACTORS
from kilowait_forecasters.providers.entsoe import AREAS

SECURITY_TOKEN = "7a0e1f2c-entsoe"
HOUR, QUARTER = timedelta(hours=1), timedelta(minutes=15)


@dataclass
class Series:
    """One TimeSeries: values by position from `start` on. That of load has no type, and is consumed."""

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
        psr_type = f"<MktPSRType><psrType>{self.psr_type}</psrType></MktPSRType>" if self.psr_type else ""
        points = "".join(
            f"<Point><position>{position}</position><quantity>{quantity!r}</quantity></Point>"
            for position, quantity in self.points.items()
        )
        return (
            f"<TimeSeries><mRID>1</mRID><{domain} codingScheme='A01'>x</{domain}>"
            f"<quantity_Measure_Unit.name>{self.unit}</quantity_Measure_Unit.name><curveType>{self.curve}</curveType>"
            f"{psr_type}"
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


def announced(psr_type: str, moment: datetime) -> float:
    """MW by quarter-hour; at night nothing changes of the sun, nor of load within an hour."""
    quarters = moment.hour * 4 + moment.minute // 15
    values = {
        "B16": max(0.0, 40.0 * (quarters - 24) * (76 - quarters)),
        "B18": 3000.0 + quarters,
        "B19": 9000.0 - 3 * quarters,
        "": 50_000.0 + 100 * moment.hour,
    }
    return values[psr_type] + moment.day


def announced_hour(psr_type: str, hour: datetime) -> float:
    """The mean of its quarter-hours."""
    return sum(announced(psr_type, hour + n * QUARTER) for n in range(4)) / 4


def published_until(kind: str, now: datetime) -> datetime:
    """The end of the last market day announced: tomorrow's load at ten in the morning, its wind and sun at six."""
    today = market_day(now)
    out = today + (12 if kind == "A65" else 20) * HOUR
    return today + (48 if now >= out else 24) * HOUR


def market_day(moment: datetime) -> datetime:
    """When the market day of `moment` began, here in Central European summer time."""
    begins = moment.replace(hour=22, minute=0, second=0, microsecond=0)
    return begins if begins <= moment else begins - 24 * HOUR


# Documents: what they are asked for by, and the parameter that the area goes in.
QUESTIONS = {("A75", "A16"): "in_Domain", ("A69", "A01"): "in_Domain", ("A65", "A01"): "outBiddingZone_Domain"}


def answer(params: dict[str, str], *, value: Callable[[datetime], float | None], now: datetime) -> tuple[int, str]:
    """Status and body: what was generated, in hours that ended half an hour ago or more, or what is announced."""
    if params.get("securityToken") != SECURITY_TOKEN:
        return (
            401,
            "<html><head><title>Unauthorized</title></head><body>Missing or invalid security token</body></html>",
        )
    kind = params.get("documentType", "")
    domain = QUESTIONS.get((kind, params.get("processType", "")))
    if domain is None:
        return 400, acknowledgement("999", "Wrong documentType")
    if params.get(domain) not in AREAS.values():
        return 400, acknowledgement("999", "Unknown area")
    start, end = (moment(params[key]) for key in ("periodStart", "periodEnd"))
    if end - start > timedelta(days=366):
        return 400, acknowledgement("999", "The amount of requested data exceeds allowed limit of one year")
    # Widened to whole market days.
    first = market_day(start)
    series: list[Series] = []
    while first < end:
        if kind == "A75":
            series += generated_on(first, value=value, now=now)
        elif first < published_until(kind, now):
            series += announced_on(first, kind)
        first += 24 * HOUR
    return (200, document(series)) if series else (200, NO_DATA)


def generated_on(day: datetime, *, value: Callable[[datetime], float | None], now: datetime) -> list[Series]:
    points: tuple[dict[int, float], dict[int, float]] = ({}, {})
    for position in range(1, 25):
        at = day + (position - 1) * HOUR
        if at + HOUR <= now - HOUR / 2 and (g_per_kwh := value(at)) is not None:
            for into, megawatts in zip(points, mixture(g_per_kwh), strict=True):
                into[position] = megawatts
    if not points[0]:
        return []
    last = day + 24 * HOUR
    pumped = Series("B10", dict.fromkeys(points[0], 900.0), day, last, consumed=True)
    return [Series("B05", points[0], day, last), Series("B19", points[1], day, last), pumped]


def announced_on(day: datetime, kind: str) -> list[Series]:
    """Quarter-hours as A03 curves, which leave out what repeats."""
    load = kind == "A65"
    found = []
    for psr_type in ("",) if load else ("B16", "B18", "B19"):
        values = [announced(psr_type, day + n * QUARTER) for n in range(96)]
        points = {n + 1: mw for n, mw in enumerate(values) if n == 0 or mw != values[n - 1]}
        found.append(Series(psr_type, points, day, day + 24 * HOUR, "PT15M", "A03", consumed=load))
    return found
