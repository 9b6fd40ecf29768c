"""The HTTP seam: each way in which a service can fail becomes one line, of the kind that says what to do next."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from forecasters.fake_grid import FakeGrid, Question, Reply
from kilowait_forecasters.errors import ForecastersError, Permanent, Transient
from kilowait_forecasters.providers import http
from kilowait_forecasters.providers.http import Http, Patience, retry_after_s

SECRET = "s3cr3t-value"
PAGE = "<!DOCTYPE html><html><head><title>Attention Required!</title></head><body>error code: 1010</body></html>"


@pytest.fixture
def ask(grid: FakeGrid, client: httpx.AsyncClient, patience: Patience) -> Callable[[], Any]:
    service = Http(
        client,
        grid.url,
        name="grid",
        setting="the grid token",
        headers={"auth-token": SECRET},
        passing=("no recent data",),
        patience=patience,
    )
    return lambda: service.get("intensity", {"zone": "DE"}, about="zone DE")


def always(grid: FakeGrid, reply: Reply) -> None:
    def answer(_: Question) -> Reply:
        return reply

    grid.answer = answer


async def failure(ask: Callable[[], Any]) -> ForecastersError:
    with pytest.raises(ForecastersError) as caught:
        await ask()
    message = str(caught.value)
    assert "\n" not in message
    assert SECRET not in message
    assert message.startswith("grid intensity for zone DE: ")
    return caught.value


async def test_a_good_answer_is_parsed_and_the_question_carries_our_name_and_key(
    grid: FakeGrid, ask: Callable[[], Any]
) -> None:
    always(grid, Reply(body={"value": [1, None]}))

    assert await ask() == {"value": [1, None]}
    (question,) = grid.questions
    assert question.params == {"zone": "DE"}
    assert question.headers["auth-token"] == SECRET
    assert question.headers["user-agent"].startswith("kilowait/")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "the answer is empty"),
        (b" \n", "the answer is empty"),
        (PAGE, "a web page came instead of JSON: Attention Required! error code: 1010"),
        ('{"forecast": [{"carbonIn', "not whole JSON"),
        ('{"value": NaN}', "not whole JSON"),
        (b"\xff\xfe\x00", "not whole JSON"),
        (b"[" * 200_000, "not whole JSON"),
    ],
)
async def test_a_body_that_is_no_json_is_a_passing_failure(
    grid: FakeGrid, ask: Callable[[], Any], body: bytes | str, told: str
) -> None:
    always(grid, Reply(body=body))

    error = await failure(ask)
    assert isinstance(error, Transient)
    assert told in str(error)
    assert len(grid.questions) == 3


async def test_a_body_cut_off_by_the_connection_is_a_passing_failure(grid: FakeGrid, ask: Callable[[], Any]) -> None:
    always(grid, Reply(body={"value": 1}, truncate=True))

    error = await failure(ask)
    assert isinstance(error, Transient)
    assert "broke off" in str(error)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", [{"error": "Invalid auth-token"}, PAGE, b""])
async def test_a_refused_key_is_permanent_and_names_the_setting(
    grid: FakeGrid, ask: Callable[[], Any], status: int, body: Any
) -> None:
    always(grid, Reply(status, body))

    error = await failure(ask)
    assert isinstance(error, Permanent)
    assert "check the grid token" in str(error)
    assert len(grid.questions) == 1


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (400, {"error": "Valid breakdown types are: normal, flow-traced"}, "Valid breakdown types"),
        (400, {"error": {"code": "400 Bad Request", "message": "Please enter a valid postcode"}}, "a valid postcode"),
        (404, {"error": "Not found.", "code": 404}, "404: Not found."),
        (422, {"detail": [{"loc": ["query", "start"], "msg": "no zone"}]}, "422"),
        (302, "", "mend its URL"),
    ],
)
async def test_a_wrong_question_is_permanent_in_the_services_own_words(
    grid: FakeGrid, ask: Callable[[], Any], status: int, body: Any, told: str
) -> None:
    always(grid, Reply(status, body))

    error = await failure(ask)
    assert isinstance(error, Permanent)
    assert told in str(error)
    assert len(grid.questions) == 1


async def test_a_404_that_describes_a_passing_state_is_a_passing_failure(
    grid: FakeGrid, ask: Callable[[], Any]
) -> None:
    always(grid, Reply(404, {"error": 'No recent data for zone "DE"'}))

    assert isinstance(await failure(ask), Transient)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_busy_or_broken_service_is_asked_again_and_may_recover(
    grid: FakeGrid, ask: Callable[[], Any], status: int
) -> None:
    grid.faults = [Reply(status, "busy"), Reply(status, "busy")]
    always(grid, Reply(body={"value": 1}))

    assert await ask() == {"value": 1}
    assert len(grid.questions) == 3


async def test_a_service_that_stays_broken_is_given_up_after_a_few_attempts(
    grid: FakeGrid, ask: Callable[[], Any]
) -> None:
    always(
        grid, Reply(500, {"error": {"code": "500 Internal Server Error", "message": "Requested resource not found."}})
    )

    error = await failure(ask)
    assert isinstance(error, Transient)
    assert error.retry_after_s is None
    assert "500: 500" not in str(error)
    assert "Requested resource not found." in str(error)
    assert len(grid.questions) == 3


async def test_a_wish_to_wait_longer_than_we_are_willing_to_ends_the_attempts_and_is_passed_on(
    grid: FakeGrid, ask: Callable[[], Any]
) -> None:
    always(grid, Reply(429, {"message": "Too many requests"}, {"Retry-After": "120"}))

    error = await failure(ask)
    assert isinstance(error, Transient)
    assert error.retry_after_s == 120
    assert "asked to wait 120 s" in str(error)
    assert len(grid.questions) == 1


async def test_while_a_service_wants_to_be_left_alone_it_is_asked_nothing_else(
    grid: FakeGrid, client: httpx.AsyncClient, patience: Patience
) -> None:
    service = Http(client, grid.url, name="grid", setting="", patience=patience, busy_s=600)
    always(grid, Reply(429, "Max allowed requests per minute"))

    for path in ("forecast", "history", "mix", "history"):
        with pytest.raises(Transient) as caught:
            await service.get(path)
        assert caught.value.retry_after_s == pytest.approx(600, abs=30)
    assert "not asked, as it wished; free again in" in str(caught.value)
    assert len(grid.questions) == 1


async def test_a_short_wish_to_wait_is_honoured_before_the_next_attempt(grid: FakeGrid, ask: Callable[[], Any]) -> None:
    grid.faults = [Reply(429, "", {"Retry-After": "0"})]
    always(grid, Reply(body=[]))

    assert await ask() == []
    assert len(grid.questions) == 2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "Mon, 14 Sep 2026 09:16:00 GMT", "date": "Mon, 14 Sep 2026 09:14:30 GMT"}, 90.0),
        ({"retry-after": "Mon, 14 Sep 2026 09:10:00 GMT", "date": "Mon, 14 Sep 2026 09:14:30 GMT"}, 0.0),
        ({"retry-after": "Mon, 14 Sep 2026 09:16:00 GMT"}, None),
        ({"retry-after": "soon", "date": "Mon, 14 Sep 2026 09:14:30 GMT"}, None),
        ({"retry-after": "-5"}, None),
        ({}, None),
    ],
)
def test_both_forms_of_retry_after_are_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


async def test_a_silent_service_costs_no_more_than_the_patience_we_have(
    grid: FakeGrid, client: httpx.AsyncClient
) -> None:
    always(grid, Reply(body={}, hold=True))
    impatient = Patience(read_s=0.05, total_s=5, attempts=2, first_wait_s=0)
    service = Http(client, grid.url, name="grid", setting="", patience=impatient)

    with pytest.raises(Transient, match=r"silent for 0\.05 s"):
        await service.get("intensity")
    assert len(grid.questions) == 2


async def test_the_whole_question_is_bounded_even_while_single_reads_are_not(
    grid: FakeGrid, client: httpx.AsyncClient
) -> None:
    always(grid, Reply(body={}, hold=True))
    service = Http(client, grid.url, name="grid", setting="", patience=Patience(read_s=5, total_s=0.1))

    with pytest.raises(Transient, match=r"no whole answer within 0\.1 s"):
        await service.get("intensity")


async def test_the_last_failure_is_told_when_time_runs_out_between_attempts(
    grid: FakeGrid, client: httpx.AsyncClient
) -> None:
    grid.faults = [Reply(503, "maintenance")]
    always(grid, Reply(body={}, hold=True))
    service = Http(client, grid.url, name="grid", setting="", patience=Patience(read_s=5, total_s=0.4, first_wait_s=0))

    with pytest.raises(Transient, match="503: maintenance"):
        await service.get("intensity")


async def test_a_service_that_is_not_there_is_a_passing_failure(client: httpx.AsyncClient, patience: Patience) -> None:
    service = Http(client, "http://127.0.0.1:1", name="grid", setting="", patience=patience)

    with pytest.raises(Transient, match="cannot connect"):
        await service.get("intensity")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:80"])
async def test_an_address_that_is_none_is_permanent(client: httpx.AsyncClient, url: str, patience: Patience) -> None:
    with pytest.raises(Permanent, match="mend the URL"):
        await Http(client, url, name="grid", setting="", patience=patience).get("intensity")


async def test_an_endless_answer_is_not_read_on(
    grid: FakeGrid, ask: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "LARGEST_BODY_BYTES", 1000)
    always(grid, Reply(body=json.dumps(list(range(1000)))))

    assert "not read on" in str(await failure(ask))


async def test_a_key_that_the_service_repeats_is_cut_out_of_the_message(grid: FakeGrid, ask: Callable[[], Any]) -> None:
    always(grid, Reply(401, {"error": f"token {SECRET} is\nunknown"}))

    assert "token *** is unknown" in str(await failure(ask))


def test_a_key_with_a_line_break_is_refused_without_showing_it(client: httpx.AsyncClient) -> None:
    with pytest.raises(Permanent, match="the grid token holds a line break") as caught:
        Http(client, "http://127.0.0.1", name="grid", setting="the grid token", headers={"k": SECRET + "\n"})
    assert SECRET not in str(caught.value)


def test_date_headers_need_no_clock_of_ours() -> None:
    # The service's Date is an hour off; the wait is still 30 s.
    wrong = datetime(2026, 9, 14, 8, 14, 30, tzinfo=UTC)
    headers = {"date": f"{wrong:%a, %d %b %Y %H:%M:%S} GMT", "retry-after": "Mon, 14 Sep 2026 08:15:00 GMT"}

    assert retry_after_s(headers) == 30


async def test_a_key_among_the_parameters_goes_with_every_question_and_into_no_message(
    grid: FakeGrid, client: httpx.AsyncClient, patience: Patience
) -> None:
    service = Http(
        client, f"{grid.url}/api", name="grid", setting="the grid key", key={"securityToken": SECRET}, patience=patience
    )
    grid.answer = lambda question: Reply(400, f"what is {question.params['securityToken']}?")

    with pytest.raises(Permanent, match=r"^grid for zone DE: 400: what is \*\*\*\?$"):
        await service.get_text("", {"in": "DE"}, about="zone DE")
    (question,) = grid.questions
    assert question.path == "/api"
    assert question.params == {"in": "DE", "securityToken": SECRET}


@pytest.mark.parametrize("key", ["ab+c/d=e", "ab&c d%e"])
async def test_a_key_that_the_service_repeats_as_in_the_address_is_cut_out_too(
    grid: FakeGrid, client: httpx.AsyncClient, patience: Patience, key: str
) -> None:
    service = Http(client, grid.url, name="grid", setting="", key={"k": key}, patience=patience)
    address = httpx.URL(grid.url, params={"k": key})
    always(grid, Reply(400, f"no {address} nor {str(address).lower()} nor {quote(key, safe='')}"))

    with pytest.raises(Permanent, match=r"^grid: 400: no \S+\?k=\*\*\* nor \S+\?k=\*\*\* nor \*\*\*$"):
        await service.get_text("")


async def test_a_text_is_given_as_it_is_and_bytes_that_are_none_are_a_passing_failure(
    grid: FakeGrid, client: httpx.AsyncClient, patience: Patience
) -> None:
    service = Http(client, grid.url, name="grid", setting="", patience=patience)
    always(grid, Reply(body="\ufeff<a>ä</a>"))
    assert await service.get_text("document") == "<a>ä</a>"
    always(grid, Reply(body=b"\xff\xfe"))
    with pytest.raises(Transient, match="no text in UTF-8"):
        await service.get_text("document")


async def test_a_later_token_takes_the_place_of_the_earlier_one_and_neither_is_shown(
    grid: FakeGrid, client: httpx.AsyncClient, patience: Patience
) -> None:
    service = Http(client, grid.url, name="grid", setting="", patience=patience)
    grid.answer = lambda question: Reply(400, question.headers["authorization"])
    for token in ("first", "second"):
        service.use_token(token)
        with pytest.raises(Permanent, match=r"Bearer \*\*\*"):
            await service.get("intensity")
        assert grid.questions[-1].headers["authorization"] == f"Bearer {token}"


async def test_what_a_service_does_not_offer_is_permanent_and_not_asked_for_again(
    grid: FakeGrid, ask: Callable[[], Any]
) -> None:
    always(grid, Reply(501, {"title": "NotImplementedException"}))

    error = await failure(ask)
    assert isinstance(error, Permanent)
    assert error.status == 501
    assert len(grid.questions) == 1


async def test_a_429_without_a_wait_stands_for_the_one_that_is_known_of_the_service(
    grid: FakeGrid, client: httpx.AsyncClient, patience: Patience
) -> None:
    service = Http(client, grid.url, name="grid", setting="", busy_s=600, patience=patience)
    always(grid, Reply(429, "Too many"))

    with pytest.raises(Transient) as caught:
        await service.get("intensity")
    assert caught.value.retry_after_s == 600
    assert len(grid.questions) == 1


async def test_a_status_whose_body_is_an_answer_is_no_failure(
    grid: FakeGrid, client: httpx.AsyncClient, patience: Patience
) -> None:
    service = Http(client, grid.url, name="grid", setting="", answers=frozenset({200, 400}), patience=patience)
    always(grid, Reply(400, {"reason": "no data"}))

    assert await service.get("intensity") == {"reason": "no data"}
