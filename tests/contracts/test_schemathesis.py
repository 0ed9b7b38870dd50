"""Requests made up from the description of the API, right ones and wrong ones: every answer is one that the description has, in its shape."""

import asyncio
import re
from typing import Any, cast

import httpx2
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.contracts.furnished import Furnished
from tests.support.api import PUBLIC_URL, Api
from tidings.api import routes

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
Operation = APIOperation[Any, Any, Any, Any]
VARIABLE = re.compile(r"\{(\w+)\}")
CHANGING = [f"{route.method} {route.path}" for table in routes.CONTRACTS for route in table if route.method != "GET"]
NOT_REACHED = "no request was granted: give the furnished house what it needs"
SIGNED = ("POST /api/v1/callbacks/", "POST /api/v1/inbound/")
"""Operations that only a provider's signature is granted: what it says is tested with the provider."""
EXAMPLES = 20
SETTINGS = settings(
    max_examples=EXAMPLES,
    database=None,
    derandomize=True,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
async def house(api: Api) -> Furnished:
    furnished = Furnished(api)
    await furnished.furnish()
    return furnished


async def description(api: Api) -> dict[str, Operation]:
    """Every operation of the document that is served."""
    document = (await api.stranger.get("/openapi.json")).json()
    schema = schemathesis.openapi.from_dict(document)
    return {operation.label: operation for operation in (found.ok() for found in schema.get_all_operations())}


@pytest.mark.parametrize("label", CHANGING)
async def test_every_answer_to_what_changes_something_is_as_described(house: Furnished, label: str):
    statuses = await answers(house, (await description(house.api))[label])
    assert min(statuses) < 300 or label.startswith(SIGNED), NOT_REACHED


async def test_every_answer_to_what_only_asks_is_as_described(house: Furnished):
    for label, operation in (await description(house.api)).items():
        if label not in CHANGING:
            assert min(await answers(house, operation)) < 400, f"{label}: {NOT_REACHED}"


async def answers(house: Furnished, operation: Operation) -> set[int]:
    """The statuses that the made-up requests got, each answer checked."""
    loop, seen = asyncio.get_running_loop(), set[int]()

    def check(case: Case) -> None:
        answer = asyncio.run_coroutine_threadsafe(asked(house.api.client, case), loop).result(30)
        seen.add(answer.status_code)
        case.validate_response(answer, checks=cast(Any, CHECKS))

    await asyncio.to_thread(SETTINGS(given(cases(house, operation))(check)))
    return seen


def cases(house: Furnished, operation: Operation) -> st.SearchStrategy[Case]:
    """Requests that the description allows, with names of what is there and without, and requests that it does not allow."""
    allowed = operation.as_strategy()
    return st.one_of(
        allowed.map(lambda case: bare(house, named(house, case))),
        allowed.map(lambda case: named(house, case)),
        allowed,
        operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
    )


def named(house: Furnished, case: Case) -> Case:
    """The same with ids, addresses and instants that mean something."""
    for name in VARIABLE.findall(case.operation.path):
        case.path_parameters[name] = house.segment(case.method, case.operation.path, name)
    if isinstance(case.body, dict):
        case.body |= {name: value for name, value in house.fields.items() if name in case.body}
    for name in set(case.query) & set(house.fields):
        case.query[name] = house.fields[name]
    return case


def bare(house: Furnished, case: Case) -> Case:
    """The same with what is required and known, and nothing else."""
    case.query = {name: value for name, value in case.query.items() if name in house.fields}
    if isinstance(case.body, dict):
        case.body = house.body(case.operation.label) or {name: house.fields.get(name, "Hello") for name in case.body}
    return case


async def asked(client: httpx2.AsyncClient, case: Case) -> httpx2.Response:
    """Sends it, with a good key whatever was made up for one."""
    made = requests.Request(**case.as_transport_kwargs(base_url=PUBLIC_URL)).prepare()
    headers = {name: value for name, value in made.headers.items() if name.lower() not in {"authorization", "content-length"}}
    return await client.request(cast(str, made.method), cast(str, made.url), headers=headers, content=made.body)
