"""GET and POST /dynamic-search: words, filters, order and pages, as the contract says, on each database."""

from typing import Any

import httpx2
import pytest

from tests.support.api import Api

PATH = "/api/v1/communications/dynamic-search"
PAGE = {
    "content",
    "empty",
    "first",
    "last",
    "number",
    "numberOfElements",
    "pageable",
    "size",
    "sort",
    "totalElements",
    "totalPages",
}


async def found(client: httpx2.AsyncClient, **params: Any) -> list[str]:
    """The subjects of what is found, in the order of the answer."""
    answer = await client.get(PATH, params=params)
    assert answer.status_code == 200, answer.text
    assert answer.json()["totalElements"] == len(answer.json()["content"])
    return [record["subject"] for record in answer.json()["content"]]


async def posted(client: httpx2.AsyncClient, **body: Any) -> list[str]:
    answer = await client.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    return [record["subject"] for record in answer.json()["content"]]


async def refused(client: httpx2.AsyncClient, **params: Any) -> str:
    answer = await client.get(PATH, params=params)
    assert (answer.status_code, set(answer.json())) == (400, {"detail", "time", "title"}), answer.text
    return answer.json()["detail"]


async def test_a_page_has_exactly_the_shape_of_springs(api: Api):
    made = [await api.send(subject=f"Offer {number}") for number in range(3)]
    page = (await api.client.get(PATH, params={"size": 2, "page": 1, "sort": "subject:asc"})).json()
    assert set(page) == PAGE
    assert page.pop("content") == [made[2]]
    sort = {"empty": False, "sorted": True, "unsorted": False}
    assert page == {
        "empty": False,
        "first": False,
        "last": True,
        "number": 1,
        "numberOfElements": 1,
        "pageable": {"offset": 2, "pageNumber": 1, "pageSize": 2, "paged": True, "sort": sort, "unpaged": False},
        "size": 2,
        "sort": sort,
        "totalElements": 3,
        "totalPages": 2,
    }


async def test_a_page_past_the_end_is_empty_and_knows_the_total(api: Api):
    await api.send()
    for params in ({}, {"search": "subject:hello"}, {"filters": "status:PENDING"}):
        page = (await api.client.get(PATH, params={"page": 7, **params})).json()
        assert (page["content"], page["empty"], page["last"], page["totalElements"], page["number"]) == ([], True, True, 1, 7)
    nothing = (await api.client.get(PATH, params={"search": "subject:nowhere"})).json()
    assert (nothing["totalElements"], nothing["totalPages"], nothing["first"], nothing["last"]) == (0, 0, True, True)


async def test_sizes_and_pages_out_of_range_are_brought_into_it_and_garbage_is_a_400(api: Api):
    await api.send()
    for size, shown in ((0, 20), (-5, 20), (101, 100), (7, 7)):
        assert (await api.client.get(PATH, params={"size": size})).json()["size"] == shown
        assert (await api.client.post(PATH, json={"size": size})).json()["size"] == shown
    assert (await api.client.get(PATH, params={"page": -1})).json()["number"] == 0
    assert (await api.client.post(PATH, json={"page": -1})).json()["number"] == 0
    assert "page" in await refused(api.client, page="one")
    assert "size" in await refused(api.client, size="1.5")
    assert (await api.client.post(PATH, json={"page": "0"})).status_code == 400
    assert (await api.client.get(PATH, params={"page": "9" * 30})).json()["content"] == []


async def test_without_anything_the_newest_come_first(api: Api):
    for number in range(3):
        await api.send(subject=f"{number}")
    assert await found(api.client) == await posted(api.client) == ["2", "1", "0"]
    assert (await api.client.post(PATH)).json()["totalElements"] == 3


async def test_all_words_of_an_entry_occur_and_any_entry_will_do(api: Api):
    await api.send(subject="Your ORDER is ready", body="<p>Come and fetch it</p>")
    await api.send(subject="Order late", body="<p>It is not yet <b>ready</b></p>")
    await api.send(subject="News", body="<p>nothing</p>")
    assert await found(api.client, search="subject:ready order") == ["Your ORDER is ready"]
    assert await found(api.client, search="subject:rde") == ["Order late", "Your ORDER is ready"]
    assert await found(api.client, search=["subject:news", "body:FETCH come"]) == ["News", "Your ORDER is ready"]
    assert await found(api.client, search="subject:news,body:fetch") == ["News", "Your ORDER is ready"]
    assert await found(api.client, search="originalBody:not yet ready") == ["Order late"]
    assert await posted(api.client, search=["subject:order", "body:nothing"]) == ["News", "Order late", "Your ORDER is ready"]
    assert await found(api.client, search="subject:order", filters="subject:like:late") == ["Order late"]


@pytest.mark.parametrize("text", ["100%", "a_b", "back\\slash", "it's", 'say "so"', "ÄRGER", "straße", "🎉", "{{ name }}", "x, y", "a:b"])
async def test_what_is_searched_is_text_and_no_pattern(api: Api, text: str):
    await api.send(subject=f"Now {text} there", body=f"<p>{text.replace('<', '')}</p>")
    await api.send(subject="Now 100 a-b back/slash it is aXb rger", body="<p>nothing</p>")
    expected = [f"Now {text} there"]
    for word in (text, text.upper() if text != "straße" else text, text.lower()):
        assert await found(api.client, search=f"subject:{word}") == expected
        assert await posted(api.client, search=[f"body:{word}"]) == expected
        assert await posted(api.client, filters={"subject": {"like": word}}) == expected


async def test_a_mail_with_variables_is_found_by_what_it_says(api: Api):
    template = await api.client.post(
        "/api/v1/templates", json={"name": "Bill", "channel": "email", "subject": "Bill for {{ who }}", "body": "<p>You owe {{ sum }}</p>"}
    )
    assert template.status_code == 201, template.text
    path = f"/api/v1/communications/send-template/{template.json()['id']}"
    for who, owed in (("Ann", "12 euros"), ("Bob", "99 pounds")):
        body = {"recipients": ["ann@example.test"], "variables": {"who": who, "sum": owed}}
        assert (await api.client.post(path, json=body)).status_code == 200
    await api.send(subject="Dear {{ who }}", body="<p>{{ who }}!</p>", variables={"who": "Cid"})
    assert await found(api.client, search="subject:ann") == ["Bill for Ann"]
    assert await found(api.client, search="body:POUNDS owe") == ["Bill for Bob"]
    assert await found(api.client, search="subject:dear cid") == ["Dear Cid"]
    assert await found(api.client, search="subject:{{") == []
    assert await found(api.client, search="templateName:bill", sort="subject:desc") == ["Bill for Bob", "Bill for Ann"]
    assert await found(api.client, filters="templateName:Bill", sort="subject") == ["Bill for Ann", "Bill for Bob"]
    records = (await api.client.get(PATH, params={"search": "subject:ann"})).json()["content"]
    assert (await api.client.delete(f"/api/v1/communications/{records[0]['id']}")).status_code == 204
    assert await found(api.client, search="subject:ann") == []
    assert await api.rows("SELECT COUNT(*) FROM renderings WHERE tenant_id = :t", t=api.tenant.id) == [(2,)]


async def test_recipients_are_found_whoever_else_is_written_to(api: Api):
    await api.send(subject="one", recipients=["Ann@Example.test"])
    await api.send(subject="named", recipients=['"Ann \\"the boss\\" Öz" <ann@example.test>'])
    await api.send(subject="several", recipients=["bob@example.test"], cc=["ann@example.test"], bcc=["cid@example.test"])
    assert await found(api.client, search="recipients:ann") == ["named", "one"]
    assert await found(api.client, search='recipients:öz "THE boss') == ["named"]
    assert await found(api.client, search="cc:ann") == ["several"]
    assert await found(api.client, search="bcc:ann") == []
    assert await found(api.client, filters="recipients:ann@example.test") == ["named", "one"]
    assert await found(api.client, filters="recipients:in:bob@example.test|nobody@example.test") == ["several"]
    assert await found(api.client, filters="recipients:ne:ann@example.test") == ["several"]
    assert await found(api.client, filters="bcc:cid@example.test") == ["several"]
    assert await found(api.client, filters="cc:exists:false") == ["named", "one"]
    assert await found(api.client, filters="recipients:ann@example.tes") == []


async def test_campaign_mail_is_found_by_its_content_and_its_contact(api: Api):
    contact_id, campaign_id = await api.contact("dora@example.test"), await api.campaign()
    content = (await api.send(subject="Spring sale", body="<p>Tulips</p>"))["id"]
    await api.run(
        "INSERT INTO communications (tenant_id, channel, state, lane, contact_id, content_id, campaign_id, message_id, enrollment_id, type, address,"
        " track_opens, track_links, created_at, updated_at) SELECT tenant_id, 'email', 'pending', 1, :contact, content_id, :campaign, 1, 1,"
        " 'CAMPAIGN', 'dora@example.test', 1, 1, 5, 5 FROM communications WHERE tenant_id = :t",
        t=api.tenant.id,
        contact=contact_id,
        campaign=campaign_id,
    )
    assert await found(api.client, search="body:tulip") == ["Spring sale", "Spring sale"]
    only = (await api.client.get(PATH, params={"search": "recipients:DORA"})).json()["content"]
    assert [record["recipients"] for record in only] == [["dora@example.test"]]
    assert only[0]["id"] != content
    assert await found(api.client, filters="type:CAMPAIGN") == ["Spring sale"]


async def test_filters_compare_by_every_operator(api: Api):
    for number, opened in enumerate((0, 3, 12)):
        record = await api.send(subject=f"{number}", replyTo="desk@acme.test" if number else None, type=f"KIND_{number}")
        assert record
        await api.run(
            "UPDATE communications SET open_count = :n, opened_at = :at WHERE tenant_id = :t AND open_count = 0 AND type = :type",
            n=opened,
            at=api.at if opened else None,
            t=api.tenant.id,
            type=f"KIND_{number}",
        )
        api.at += 1000
    wanted = {
        "openCount:3": "1",
        "openCount:eq:3": "1",
        "openCount:ne:3": "02",
        "openCount:gt:3": "2",
        "openCount:gte:3": "12",
        "openCount:lt:3": "0",
        "openCount:lte:3": "01",
        "openCount:in:0|12": "02",
        "openCount:nin:0|12": "1",
        "openedAt:exists:true": "12",
        "openedAt:exists:false": "0",
        "opened:true": "12",
        "opened:ne:true": "0",
        "replyTo:desk@acme.test": "12",
        "replyTo:ne:desk@acme.test": "0",
        "replyTo:like:ACME": "12",
        "replyTo:exists:false": "0",
        "type:gte:KIND_1": "12",
        "type:in:KIND_0|KIND_2": "02",
        "created:2025-06-18T12:00:01Z": "1",
        "created:gt:2025-06-18T12:00:00.000Z": "12",
        "created:gte:2025-06-18T14:00:01+02:00": "12",
        "created:lt:2025-06-19": "012",
        "status:PENDING": "012",
        "status:in:SENT|pending": "012",
        "status:ne:PENDING": "",
        "senderEmail:hello@acme.test": "012",
        "trackingEnabled:false": "",
        "createdBy:test": "012",
        "errorMessage:exists:true": "",
        "subject:1": "1",
        "subject:gt:0": "12",
    }
    for text, subjects in wanted.items():
        assert await found(api.client, filters=text, sort="subject:asc") == list(subjects), text
    assert await found(api.client, filters=["openCount:gte:3", "subject:ne:1"]) == ["2"]
    assert await found(api.client, filters="openCount:gte:3,subject:ne:1") == ["2"]


async def test_a_body_filters_by_scalars_arrays_operators_and_null(api: Api):
    await api.send(
        subject="a", variables={"order": {"total": 12, "paid": True}, "who": "Ann"}, relatedEntityType="Lead", relatedEntityId="7"
    )
    await api.send(subject="b", variables={"order": {"total": 9.5}, "who": "Bob"})
    await api.send(subject="c")
    assert await posted(api.client, filters={"subject": "a"}) == ["a"]
    assert await posted(api.client, filters={"subject": ["a", "c"]}) == ["c", "a"]
    assert await posted(api.client, filters={"relatedEntityId": None}) == ["c", "b"]
    assert await posted(api.client, filters={"variables.who": "Bob"}) == ["b"]
    assert await posted(api.client, filters={"variables.order.total": {"gte": 10}}) == ["a"]
    assert await posted(api.client, filters={"variables.order.total": {"gt": 9, "lt": 10}}) == ["b"]
    assert await posted(api.client, filters={"variables.order.total": 12}) == ["a"]
    assert await posted(api.client, filters={"variables.order.paid": True}) == ["a"]
    assert await posted(api.client, filters={"variables.who": {"exists": False}}) == ["c"]
    assert await posted(api.client, filters={"variables.who": {"in": ["Ann", "Bob"]}, "subject": {"ne": "a"}}) == ["b"]
    assert await posted(api.client, search=["variables.who:NN"]) == ["a"]
    assert await posted(api.client, sort=[{"field": "subject", "ascending": True}]) == ["a", "b", "c"]


async def test_as_much_as_may_be_asked_is_answered(api: Api):
    await api.send(subject="Hello ninety")
    words = [[f"w{entry}_{number}%" for number in range(10)] for entry in range(20)]
    entries = [f"recipients:{' '.join(words[0])}", "subject:ninety"] + [f"body:{' '.join(some)}" for some in words[2:]]
    filters = {"subject": {"like": "nine", "ne": "x"}, "type": [f"KIND_{number}" for number in range(199)] + ["OFFERTE"]}
    sort = [{"field": name} for name in ("subject", "type", "status", "created", "sentAt", "senderName", "templateName", "conversationId")]
    assert await posted(api.client, search=entries, filters=filters, sort=sort) == ["Hello ninety"]


async def test_ids_are_compared_in_alphas_spelling(api: Api):
    one, two = await api.send(subject="1", conversationId="deal-1"), await api.send(subject="2")
    assert await found(api.client, filters=f"id:{one['id']}") == ["1"]
    assert await found(api.client, filters=f"id:ne:{one['id']}") == ["2"]
    assert await found(api.client, search=f"id:{two['id']}") == ["2"]
    assert await found(api.client, filters="id:1") == []
    assert await found(api.client, filters=f"tenantId:{one['tenantId']}", sort="id:asc") == ["1", "2"]
    assert await found(api.client, filters="conversationId:deal-1") == ["1"]
    assert await found(api.client, filters=f"conversationId:{two['conversationId']}") == ["2"]
    assert await found(api.client, filters="templateId:exists:false") == ["2", "1"]


async def test_the_order_goes_by_several_fields_and_then_by_the_id(api: Api):
    for subject, kind in (("b", "ONE"), ("a", "TWO"), ("a", "ONE")):
        await api.send(subject=subject, type=kind)
        api.at += 1
    assert await found(api.client, sort="subject,type:desc") == ["a", "a", "b"]
    answer = await api.client.get(PATH, params={"sort": "subject:asc,type:desc"})
    assert [(record["subject"], record["type"]) for record in answer.json()["content"]] == [("a", "TWO"), ("a", "ONE"), ("b", "ONE")]
    assert await found(api.client, sort="created:asc") == ["b", "a", "a"]
    assert await found(api.client, sort=["status", "created:desc"]) == ["a", "a", "b"]


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"search": "nope:x"}, "nope"),
        ({"search": "subject:"}, "subject"),
        ({"search": "no colon"}, "field:words"),
        ({"search": "openCount:3"}, "openCount"),
        ({"search": ["subject:" + " ".join(map(str, range(11)))]}, "10"),
        ({"search": [f"subject:{number}" for number in range(21)]}, "20"),
        ({"search": "subject:" + "x" * 1001}, "1000"),
        ({"filters": "nope:1"}, "nope"),
        ({"filters": "clickedLinks:1"}, "clickedLinks"),
        ({"filters": "events:1"}, "events"),
        ({"filters": "variables.:1"}, "variables"),
        ({"filters": "subject"}, "field:value"),
        ({"filters": "subject:about:1"}, "about"),
        ({"filters": "openCount:like:1"}, "like"),
        ({"filters": "openCount:gt:many"}, "openCount"),
        ({"filters": "created:yesterday"}, "created"),
        ({"filters": "opened:maybe"}, "opened"),
        ({"filters": "status:LOST"}, "status"),
        ({"filters": "status:gt:SENT"}, "status"),
        ({"filters": "subject:exists:perhaps"}, "subject"),
        ({"sort": "nope"}, "nope"),
        ({"sort": "subject:up"}, "asc"),
        ({"sort": "events"}, "events"),
        ({"sort": "body"}, "body"),
    ],
)
async def test_what_cannot_be_asked_is_a_400_that_names_it(api: Api, params: dict[str, Any], word: str):
    assert word in await refused(api.client, **params)


async def test_a_body_that_cannot_be_asked_is_a_400(api: Api):
    for body in (
        {"filters": {"nope": 1}},
        {"filters": {"subject": {"about": 1}}},
        {"filters": {"subject": [{"a": 1}]}},
        {"filters": {"subject": []}},
        {"search": ["nope:1"]},
        {"search": "subject:x"},
        {"sort": [{"field": "nope"}]},
        {"sort": [{"ascending": True}]},
        {"filters": []},
        [],
    ):
        answer = await api.client.post(PATH, json=body)
        assert (answer.status_code, set(answer.json())) == (400, {"detail", "time", "title"}), body


async def test_another_tenants_are_never_found(api: Api):
    record = await api.send(subject="Ours", recipients=["ann@example.test"], cc=["bob@example.test"])
    await api.send(subject="Dear {{ who }}", body="<p>{{ who }}</p>", variables={"who": "Ours"})
    rival = await api.rival()
    for params in ({}, {"search": "subject:ours"}, {"search": "recipients:ann"}, {"search": "cc:bob"}, {"filters": f"id:{record['id']}"}):
        page = (await rival.get(PATH, params=params)).json()
        assert (page["content"], page["totalElements"]) == ([], 0)
    await rival.aclose()
    assert (await api.stranger.get(PATH)).status_code == 401
    assert (await api.stranger.post(PATH, json={})).status_code == 401
