"""A template for a test: the API's own way takes several requests."""

from typing import Any

from tests.support.api import Api
from tidings import ids
from tidings.domain import templates
from tidings.rendering.template import content_hash, prepare


async def new_template(api: Api, **fields: Any) -> str:
    """The wire id of one that is made; `fields` are those of `prepare`."""
    given = {"channel": "email", "format": "html", "subject": "Hi {{ name }}", "body": "<p>Dear {{ name }}</p>", "variables": [], **fields}
    content = prepare(tenant_id=api.tenant.id, **given)
    revision = templates.Revision(content, content_hash(content), "test")
    made = await api.db.write(templates.create, api.tenant.id, f"Offer {given['channel']}", revision, now=api.at)
    return ids.spell("template", made.id)
