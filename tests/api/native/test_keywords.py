"""A tenant's own words and answers are set as a whole, checked, and used; another tenant has its own."""

import pytest

from tests.support.api import Api
from tidings.domain import tenants
from tidings.message import keywords
from tidings.message.keywords import Answers

PATH = "/api/v1/keywords"
USUAL = {"stop": Answers().stop, "start": Answers().start, "help": Answers().help}


async def test_to_begin_with_there_are_the_usual_ones(api: Api):
    answer = await api.client.get(PATH)
    assert (answer.status_code, answer.json()) == (200, {"stop": [], "start": [], "help": [], "answers": USUAL})


async def test_words_and_answers_are_set_as_a_whole(api: Api):
    first = {"stop": [" ARRÊT "], "start": ["OUI"], "answers": {"stop": "{sender}: au revoir.", "help": ""}}
    answer = await api.client.put(PATH, json=first)
    stored = {"stop": ["ARRÊT"], "start": ["OUI"], "help": [], "answers": {**USUAL, "stop": "{sender}: au revoir.", "help": ""}}
    assert (answer.status_code, answer.json()) == (200, stored)
    assert (await api.client.get(PATH)).json() == stored
    tenant = await api.db.read(tenants.get, api.tenant.id)
    assert keywords.parse(tenant.keywords).find("Arrêt !") == "stop"
    assert (await api.client.put(PATH, json={})).json() == {"stop": [], "start": [], "help": [], "answers": USUAL}
    rival = await api.rival()
    await api.client.put(PATH, json=first)
    assert (await rival.get(PATH)).json()["stop"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"stop": ["yes"]}, "stop"),
        ({"stop": ["a"], "help": ["A."]}, "help"),
        ({"start": ["..."]}, "start"),
        ({"start": ["x" * 41]}, "start"),
        ({"stop": [f"w{number}" for number in range(51)]}, "stop"),
        ({"stop": "ende"}, "stop"),
        ({"stop": [7]}, "stop"),
        ({"answers": {"stop": "{{ first_name }}"}}, "answers.stop"),
        ({"answers": {"stop": "x" * 641}}, "answers"),
        ({"ende": []}, "ende"),
    ],
)
async def test_what_cannot_be_used_is_refused_naming_the_field(api: Api, body: dict[str, object], field: str):
    answer = await api.client.put(PATH, json=body)
    assert answer.status_code == 422, answer.text
    assert list(answer.json()["errors"]) == [field]
    assert (await api.client.get(PATH)).json()["stop"] == []


async def test_they_belong_to_the_administration(api: Api):
    other = api.client_for(await api.new_key(api.tenant, "contacts:write"))
    assert (await other.get(PATH)).status_code == 403
    assert (await other.put(PATH, json={})).status_code == 403
