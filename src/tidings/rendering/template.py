"""Turns a body as somebody wrote it into Content, once, when it is saved: MJML compiled, CSS inlined, links cut, a text part made, all checked."""

import hashlib
import html as htmllib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import css_inline
import msgspec
from mjml import mjml2html

from tidings.domain.templates import Content
from tidings.errors import Invalid
from tidings.message import plaintext
from tidings.message.address import refuse_control
from tidings.rendering import bounds, links, marks
from tidings.rendering.context import KNOWN, Variable
from tidings.rendering.engine import FUNCTIONS, bare_source, compile_check, environment, refusal
from tidings.rendering.guard import check_growth
from tidings.rendering.segments import line_of, tokens
from tidings.rendering.shield import Shield

MAX_SOURCE = 2 * 1024 * 1024
"""Characters a template body may have; mail above a tenth of it is cut off by the large mailbox hosts anyway."""
FORMATS = {"email": ("html", "mjml", "text"), "sms": ("text",)}

_STYLE = re.compile(r"<style\b", re.IGNORECASE)
_MJ_INLINE = re.compile(r"<mj-style\b[^>]*\binline\s*=\s*[\"']inline[\"'][^>]*>(.*?)</mj-style\s*>", re.IGNORECASE | re.DOTALL)
_DOCUMENT = re.compile(r"<(html|body|!doctype)\b", re.IGNORECASE)


def prepare(
    *,
    tenant_id: int,
    channel: str,
    format: str,  # noqa: A002  # the field's name on the wire and in the row
    subject: str,
    body: str,
    text: str | None = None,
    variables: Sequence[Mapping[str, Any]] = (),
) -> Content:
    """Content (id 0) from a body. `text`, when given, is the template of a mail's text part; else it is read off the HTML.

    Raises Invalid naming the field, and for a template's fault the line: `body: line 3: …`.
    """
    _check_form(channel, format, body)
    refuse_control(subject, "subject")
    for field, template in (("subject", subject), ("body", body), ("text", text or "")):
        compile_check(template, field)
        check_growth(template, field)
    declared = msgspec.json.encode(_declared(variables)).decode()
    clean = marks.strip(body)
    targets: list[str] = []
    if format == "text":
        prepared, plain = "", links.cut_text(clean, targets) if channel == "email" else clean
    else:
        prepared, plain, targets = _html(clean, format)
        if text is not None:
            plain = links.cut_text(marks.strip(text), targets)
    for field, template in (("body", prepared), ("text", plain)):
        compile_check(template, field)
    return Content(
        id=0,
        tenant_id=tenant_id,
        channel=channel,
        format=format,
        subject=marks.strip(subject),
        source=body,
        html=prepared,
        text=plain,
        links=msgspec.json.encode(targets).decode(),
        variables=declared,
    )


def check_strict(content: Content, known: Iterable[str] = ()) -> None:
    """Raises Invalid naming each variable nobody declared, with field and line. `known` adds names (attributes of contacts, say).

    A name that is always asked about first (`is defined`, `| default`) counts as optional, not as undefined.
    """
    declared = {variable.name for variable in msgspec.json.decode(content.variables, type=list[Variable])}
    allowed = KNOWN | FUNCTIONS | declared | set(known)
    complaints: dict[str, list[str]] = {}
    given = content.text if content.format != "text" and content.source else ""
    for field, template in (("subject", content.subject), ("body", content.source), ("text", given)):
        unknown = environment().undeclared_variables_in_str(template) - allowed
        for line, name in sorted(_places(template, unknown)):
            if field == "text" and any(name in said for said in complaints.get("body", [])):
                continue
            complaints.setdefault(field, []).append(f"line {line}: {name} is not defined")
    if complaints:
        field, said = next(iter(complaints.items()))
        raise Invalid(f"{field}: {said[0]}", complaints)


def content_hash(content: Content) -> str:
    """A SHA-256 in hex: equal for contents that would go out equal (channel, format, subject, source, text, variables)."""
    parts = (content.channel, content.format, content.subject, content.source, content.text, content.variables)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def missing(content: Content, given: Iterable[str]) -> list[str]:
    """Names of required variables that `given` lacks and that have no default, in the order they were declared."""
    names = set(given)
    return [
        variable.name
        for variable in msgspec.json.decode(content.variables, type=list[Variable])
        if variable.required and variable.default is None and variable.name not in names
    ]


def _check_form(channel: str, form: str, body: str) -> None:
    if channel not in FORMATS:
        raise Invalid.field("channel", "must be email or sms")
    if form not in FORMATS[channel]:
        raise Invalid.field("format", f"must be one of {', '.join(FORMATS[channel])} for {channel}")
    if not body.strip():
        raise Invalid.field("body", "must not be empty")
    if len(body) > MAX_SOURCE:
        raise Invalid.field("body", f"must not be longer than {MAX_SOURCE} characters")


def _declared(variables: Sequence[Mapping[str, Any]]) -> list[Variable]:
    try:
        declared = msgspec.convert(list(variables), list[Variable])
    except msgspec.ValidationError as error:
        raise Invalid.field("variables", f"must be a list of {{name, required, default}}: {error}") from error
    for variable in declared:
        if not variable.name.isidentifier():
            raise Invalid.field("variables", f"{variable.name!a} is not a name a template can use")
    return declared


def _html(body: str, form: str) -> tuple[str, str, list[str]]:
    """(prepared HTML, text derived from it, link targets)."""
    shield = Shield(body)
    bounds.check_depth(shield.hidden, xml=form == "mjml")
    hidden = _compiled_mjml(shield) if form == "mjml" else shield.hidden
    if form == "html" and _STYLE.search(hidden):
        # Expressions that make up tags or rules cannot be parsed around; such a body keeps its <style> as it is.
        inlined = _inlined(hidden)
        hidden = inlined if shield.survives(inlined) else hidden
    cut, targets = links.cut_html(shield, hidden)
    try:
        plain = _derived_text(shield, plaintext.from_html(cut, plaintext.Marks(marks.SLOT, targets, shield.places)))
    except RecursionError as error:
        raise bounds.too_deep() from error
    return links.place_pixel(shield.restore(cut)), plain, targets


def _derived_text(shield: Shield, hidden: str) -> str:
    text = shield.restore(shield.joined_lines(hidden))
    try:
        compile_check(text, "text")
    except Invalid:
        # A block that begins in what a text has not (the head, a comment) and ends in what it has: the text goes without blocks.
        return shield.restore(shield.without_blocks(hidden))
    return text


def _compiled_mjml(shield: Shield) -> str:
    # The compiler leaves `inline="inline"` styles in a <style>; they are taken out here and inlined after it.
    extra = "\n".join(_MJ_INLINE.findall(shield.hidden))
    source = _MJ_INLINE.sub("", shield.hidden)
    try:
        compiled = mjml2html(source)
    except ValueError as error:
        raise _mjml_refusal(source, str(error)) from error
    return _inlined(compiled, extra) if extra.strip() else compiled


def _mjml_refusal(source: str, complaint: str) -> Invalid:
    found = re.search(r"position (\d+)", complaint)
    line = line_of(source, int(found.group(1))) if found else None
    return refusal("body", line, f"MJML: {complaint}")


def _inlined(hidden: str, extra: str = "") -> str:
    """CSS moved into style attributes. Rules that cannot be (media queries, `:hover`) stay in their <style>."""
    inliner = css_inline.CSSInliner(
        load_remote_stylesheets=False,
        keep_link_tags=True,
        keep_style_tags=True,
        remove_inlined_selectors=not extra,
        inline_style_tags=not extra,
        extra_css=extra or None,
    )
    try:
        if _DOCUMENT.search(hidden):
            return inliner.inline(hidden)
        return _without_shell(inliner.inline(hidden))
    except css_inline.InlineError as error:
        raise Invalid.field("body", f"has CSS that cannot be inlined: {htmllib.unescape(str(error))}") from error


def _without_shell(document: str) -> str:
    """The fragment one put in, without the <html> and <body> the inliner wrapped around it; what is left of its styles in front."""
    return re.sub(r"</?(?:html|head|body)>", "", document)


def _places(template: str, names: Iterable[str]) -> list[tuple[int, str]]:
    """(line, name) of the first use of each name that is used without asking whether it is there."""
    found: dict[str, int] = {}
    wanted = {
        name: re.compile(rf"(?<![\w.]){re.escape(name)}(?!\w)(?!\s*\|\s*d(?:efault)?\b)(?!\s+is\s+(?:not\s+)?(?:un)?defined)")
        for name in names
    }
    asked = {name for name in wanted if re.search(rf"(?<![\w.]){re.escape(name)}\s+is\s+(?:not\s+)?(?:un)?defined", template)}
    for token in tokens(template):
        if token.kind not in ("print", "tag"):
            continue
        bare = bare_source(token.source)
        for name, pattern in wanted.items():
            if name not in found and name not in asked and (use := pattern.search(bare)):
                found[name] = line_of(template, token.start) + bare.count("\n", 0, use.start())
    return [(line, name) for name, line in found.items()]
