"""What becomes of a body when it is saved: expressions survive every tool, links are cut, a text is made, faults are named by line."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from minijinja import Environment, TemplateError

from tidings.domain.templates import Content
from tidings.errors import Invalid
from tidings.rendering.engine import Program
from tidings.rendering.segments import segments, tokens
from tidings.rendering.template import check_strict, content_hash, missing, prepare


def content(body: str, **more: Any) -> Content:
    options: dict[str, Any] = {"tenant_id": 7, "channel": "email", "format": "html", "subject": "Hello", "body": body} | more
    return prepare(**options)


def links(made: Content) -> list[str]:
    return msgspec.json.decode(made.links, type=list[str])


PIECES = st.lists(
    st.sampled_from(
        [
            "text ", "\n", "{{ a }}", "{{- a -}}", "{% if a %}yes{% else %}no{% endif %}", "{%- for i in [1,2] -%} {{ i }} {%- endfor -%}",
            "{# comment }} #}", "{#- c -#}", "{% raw %}{{ a }}{% endraw %}", "{%- raw -%} {{ {%- endraw -%}", "{{ '}}' }}", "{{ {'k': {'l': 1}}.k.l }}",
            "{% set a = 'new' %}", "{% set b %}<i>{% endset %}", "{{ b }}", "{% with z = 1 %}{{ z }}{% endwith %}", "  ", "<p>", "} % {",
            "{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(a) }}", "{{ \"it's %}\" }}", "{% filter upper %}loud{% endfilter %}", "{% set c = a == 'q' %}",
        ]
    ),
    max_size=10,
)  # fmt: skip


@settings(max_examples=500)
@given(PIECES)
def test_a_template_in_segments_renders_as_it_does_whole(pieces: list[str]) -> None:
    template = "".join(pieces)
    assert "".join(token.source for token in tokens(template)) == template
    env = Environment(undefined_behavior="chainable", keep_trailing_newline=True, auto_escape_callback=lambda _: True)
    try:
        whole = env.render_str(template, a="<&>")
    except TemplateError:
        reject()
    part = segments(template)
    values = iter(Program([(True, part)]).render({"a": "<&>"}))
    assert "".join(next(values) if segment.dynamic else segment.source for segment in part) == whole


MJML = (
    '<mjml><mj-head><mj-style inline="inline">.d { color: blue }</mj-style></mj-head><mj-body>{% if vip %}<mj-section><mj-column>'
    '<mj-text>Dear <b class="d">{{ first_name | default("you & me") }}</b></mj-text><mj-button href="https://a.test/{{ code }}?x=1&amp;y=2">Go</mj-button>'
    "<mj-table>{% for p in items %}<tr><td>{{ p }}</td></tr>{% endfor %}</mj-table></mj-column></mj-section>{% endif %}</mj-body></mjml>"
)


def test_expressions_survive_mjml_and_its_inline_styles() -> None:
    made = content(MJML, format="mjml")
    for expression in (
        "{% if vip %}",
        '{{ first_name | default("you & me") }}',
        "{% for p in items %}",
        "{{ p }}",
        "{% endfor %}",
        "{% endif %}",
    ):
        assert expression in made.html
        assert expression in made.text
    assert '<b class="d" style="color: blue;">' in made.html
    assert links(made) == ["https://a.test/{{ code }}?x=1&y=2"]
    assert "tjx" not in made.html + made.text


def test_css_is_inlined_and_what_cannot_be_stays() -> None:
    made = content(
        "<!DOCTYPE html><html><head><style>p{color:red} a:hover{color:pink} @media print{p{color:black}}</style></head>"
        '<body><p {% if a %}id="x"{% endif %} class="{{ c }}">{{ b }}</p><a href="{{ url }}">x</a></body></html>'
    )
    assert 'style="color: red;"' in made.html
    assert "a:hover" in made.html
    assert "@media print" in made.html
    assert "p{color:red} a" not in made.html
    assert '{% if a %}id="x"{% endif %}' in made.html
    assert made.html.startswith("<!DOCTYPE html>")
    assert "<html>" not in content("<style>p{color:red}</style><p>x</p>").html


def test_html_without_styles_is_left_to_the_letter() -> None:
    body = "<P Class=a>x<br/>&nbsp;{{ a }}<td>loose</P>"
    assert content(body).html.startswith(body)


@pytest.mark.parametrize(
    "body",
    [
        '<a href="mailto:a@b.test">x</a>', '<a href="tel:+1">x</a>', '<a href="#top">x</a>', '<a href="{{ unsubscribe_url }}">x</a>',
        '<a data-no-track href="https://a.test">x</a>', '<!--[if mso]><a href="https://a.test">x</a><![endif]-->', '<a name="https://a.test">x</a>',
        '{% for p in q %}<a href="{{ p.url }}">x</a>{% endfor %}', '{% set u = "https://a.test" %}<a href="{{ u }}">x</a>', "<p>https://a.test</p>",
        '<a data-href="https://a.test">x</a>', '<style>a{b:"<a href=https://a.test>"}</style>',
    ],
)  # fmt: skip
def test_what_is_not_to_be_tracked_is_left_alone(body: str) -> None:
    assert links(content(body)) == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<a href='https://a.test/?a=1&amp;b=2'>x</a>", ["https://a.test/?a=1&b=2"]),
        ("<A CLASS=x HREF=HTTP://a.test>x</A>", ["HTTP://a.test"]),
        ('<a href="https://a.test"></a><a href="https://a.test"></a>', ["https://a.test", "https://a.test"]),
        ('<map><area href="https://a.test"></map>', ["https://a.test"]),
        ('<a title="a > b" href=" https://a.test ">x</a>', ["https://a.test"]),
        ('{% for p in q %}<a href="https://a.test">x</a>{% endfor %}<a href="{{ p }}">y</a>', ["https://a.test", "{{ p }}"]),
        ('<a href="https://{{ host }}/{{ a > b }}">x</a>', ["https://{{ host }}/{{ a > b }}"]),
    ],
)
def test_web_links_are_cut_in_document_order(body: str, expected: list[str]) -> None:
    assert links(content(body)) == expected


def test_bare_urls_of_a_text_are_cut_without_their_punctuation() -> None:
    made = content("See https://a.test/x(1), (https://b.test/). https://c.test/{{ d }} https://e.test!", format="text")
    assert links(made) == ["https://a.test/x(1)", "https://b.test/", "https://e.test"]
    assert "https://c.test/{{ d }}" in made.text
    assert links(content("see https://a.test", channel="sms", format="text", subject="")) == []


def test_a_given_text_shares_the_slots_of_the_html() -> None:
    made = content('<a href="https://a.test">x</a>', text="https://b.test https://a.test")
    assert links(made) == ["https://a.test", "https://b.test"]
    assert made.text.index("\U0010f0001") < made.text.index("\U0010f0000")


def test_the_text_reads_as_one_would_type_it() -> None:
    made = content(
        "<html><head><title>T</title></head><body><div style='display:none'>hidden</div><h1>Big  news</h1><p>One<br>two&nbsp;three</p>"
        "<ul><li>first</li><li>second <b>bold</b><ol><li>a</li><li>b</li></ol></li></ul><table><tr><td>Cup</td><td>2</td></tr>"
        "<tr><td>Pot</td><td>1</td></tr></table><blockquote>said</blockquote><hr><p><img alt='Logo' src=x> <a href='mailto:a@b.test'>a@b.test</a>"
        " <a href='tel:+31'>call</a> <a href='https://n.test' data-no-track>n.test</a></p></body></html>"
    )
    assert made.text == (
        "Big news\n\nOne\ntwo three\n\n- first\n- second bold\n  1. a\n  2. b\n\nCup 2\nPot 1\n\n> said\n\n" + "-" * 40 + "\n\n"
        "Logo a@b.test call (+31) n.test\n"
    )


def test_the_pixel_stands_before_the_end_of_the_body() -> None:
    assert content("<html><body>x</BODY ></html>").html.endswith("x\U0010f000p\U0010f001</BODY ></html>")
    assert content("x").html.endswith("x\U0010f000p\U0010f001")


@pytest.mark.parametrize(
    ("field", "template", "said"),
    [
        ("body", "a\n\n{{ b + }}", "line 3: "),
        ("body", "a\n{% if x %}", "line 2: "),
        ("body", "a\n{{ x | nonsense }}", "line 2: there is no filter named nonsense"),
        ("body", "{% include 'x' %}", "line 1: include is not available"),
        ("subject", "{{", "line 1: "),
        ("subject", "a\r\nBcc: x", "must not contain line breaks"),
        ("text", "\n{% endif %}", "line 2: unknown statement endif"),
        ("body", " ", "must not be empty"),
        (
            "body",
            "{% set n = namespace(x='a') %}\n{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
            "line 2: n.x grows without limit",
        ),
        (
            "body",
            "{% set n = namespace(x='a') %}{% for i in y %}{% set t = n.x %}{% set n.x = t ~ n.x %}{% endfor %}",
            "grows without limit",
        ),
        ("body", "{% set x = y ~ y %}" + "{% set x = x ~ x %}" * 40, "x grows too large"),
        ("body", "{% set x %}{{ x }}{{ x }}{% endset %}" * 40, "x grows too large"),
        ("body", "{% macro f(a) %}{{ f(a ~ a) }}{% endmacro %}", "macro f calls itself"),
        ("body", "{{ [1] * 100000000 }}", "cannot be repeated"),
        ("body", "{{ '{:999999999}'.format(1) }}", "no method format"),
    ],
)
def test_a_fault_is_named_by_field_and_line(field: str, template: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        content(**{"body": "x", field: template})
    assert list(caught.value.fields) == [field]
    assert said in caught.value.fields[field][0]
    assert caught.value.message.startswith(field)


def test_broken_mjml_is_refused_in_words() -> None:
    for body in ("<div>", "<mjml><mj-body><mj-foo></mj-body></mjml>"):
        with pytest.raises(Invalid, match=r"body: .*MJML: "):
            content(body, format="mjml")


@pytest.mark.parametrize(
    "template",
    [
        "{% set n = namespace(t=0) %}{% for p in q %}{% set line = p.price * p.qty %}{% set n.t = n.t + line %}{% endfor %}{{ n.t }}",
        "{% macro b(u, t) %}<a href='{{ u }}'>{{ t }}</a>{% endmacro %}{{ b('https://a.test', 'x') }}{{ b('https://b.test', 'y') }}",
        "{% for p in q %}{% set x = p.a ~ ' ' ~ p.b ~ ' ' ~ p.c %}{{ x }}{% endfor %}",
    ],
)
def test_honest_sums_and_macros_are_no_growth(template: str) -> None:
    assert content(template).html


def test_strict_mode_names_what_nobody_declared() -> None:
    made = content(
        "<p>{{ first_name }}{{ code }}\n{{ nope }}{{ also | default('x') }}{% if maybe is defined %}{{ maybe }}{% endif %}"
        "{% for p in nothere %}{{ p.x }}{{ loop.index }}{% endfor %}",
        subject="{{ who }}",
        variables=[{"name": "code", "required": True}],
    )
    with pytest.raises(Invalid) as caught:
        check_strict(made, ["town"])
    assert caught.value.fields == {
        "subject": ["line 1: who is not defined"],
        "body": ["line 2: nope is not defined", "line 2: nothere is not defined"],
    }
    check_strict(made, ["nope", "who", "nothere"])
    assert missing(made, []) == ["code"]
    assert missing(made, ["code"]) == []


def test_the_hash_is_the_contents_and_nothing_elses() -> None:
    first, again, other = content("<p>a"), content("<p>a", tenant_id=8), content("<p>a", subject="Other")
    assert content_hash(first) == content_hash(again)
    assert content_hash(first) != content_hash(other)
    assert len(content_hash(first)) == 64


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"channel": "fax"}, "channel"), ({"format": "pdf"}, "format"), ({"channel": "sms"}, "format"), ({"variables": [{"nome": "x"}]}, "variables"),
     ({"variables": [{"name": "a b"}]}, "variables")],
)  # fmt: skip
def test_a_wrong_form_is_refused_by_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        content("x", **changes)
    assert list(caught.value.fields) == [field]


@pytest.mark.parametrize(
    "body",
    [
        "{{ " + "-" * 600 + "1 }}",
        "{{ " + "not " * 600 + "1 }}",
        "{{ 1" + "+1" * 600 + " }}",
        "{{ a" + ".b" * 600 + " }}",
        "{{ a" + "[0]" * 600 + " }}",
        "{{ a" + "|upper" * 600 + " }}",
        '{{ "' + '" ~ "' * 600 + '" }}',
        "{% set a = " + "-" * 600 + "1 %}",
        "{% if a %}" + "{% elif a %}" * 600 + "{% endif %}",
        "<div>" * 300,
        "<!-->" + "<div></span>" * 300,
        "<svg>" + "<li>" * 300,
        "<style>div{color:red}</style>" + "<b>" * 300,
    ],
)
def test_what_nests_so_deeply_that_it_could_end_the_process_is_refused(body: str) -> None:
    with pytest.raises(Invalid, match=r"^body: line 1: more than 500 |^body has elements nested more than 200 deep"):
        prepare(tenant_id=1, channel="email", format="html", subject="x", body=body)


def test_mjml_is_held_to_the_same_depth() -> None:
    body = "<mjml><mj-body>" + "<mj-wrapper>" * 300 + "</mj-wrapper>" * 300 + "</mj-body></mjml>"
    with pytest.raises(Invalid, match="nested more than 200 deep"):
        prepare(tenant_id=1, channel="email", format="mjml", subject="x", body=body)


@pytest.mark.parametrize(
    "body",
    [
        "<ul>" + "<li>one" * 1000 + "</ul>",
        "<table>" + "<tr><td>one" * 1000 + "</table>",
        "<p>one<br/><img src='x'/>" * 1000,
        "<!--[if mso]><table><tr><td><![endif]-->" * 500 + "x",
        "<div>" * 150 + "x" + "</div>" * 150,
        "{% set a = [" + "{'b': 1, 'c': 'two - three'}, " * 150 + "] %}{{ a }}",
        "{{ a }} - {{ b.c }}" * 1000,
    ],
)
def test_length_is_not_depth(body: str) -> None:
    assert prepare(tenant_id=1, channel="email", format="html", subject="x", body=body).html
