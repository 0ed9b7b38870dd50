"""HTML that came by mail, made fit for showing: what it says and roughly how it looks, and nothing that runs, asks or pretends.

Images from elsewhere stay, loaded late and without telling where from; a page that shows such HTML decides by its own
Content-Security-Policy whether they load at all. It should stand in a frame of its own in any case: styles are limited, not understood.
"""

import re

import nh3

_TEXT = """a abbr acronym address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd del dfn div dl dt em
figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li main mark nav ol p pre q s samp section small span strike strong
sub sup table tbody td tfoot th thead time tr tt u ul var wbr""".split()
_EVERYWHERE = {"dir", "lang", "style", "title"}
_SIZED = {"align", "valign", "width", "height", "bgcolor"}
_CELL = {*_SIZED, "colspan", "rowspan", "nowrap"}
_ATTRIBUTES = {
    "*": _EVERYWHERE,
    "a": {"href", "name"},
    "img": {"src", "alt", "border", "hspace", "vspace", *_SIZED},
    "table": {"border", "cellpadding", "cellspacing", *_SIZED},
    "td": _CELL, "th": _CELL, "tr": _SIZED, "tbody": _SIZED, "thead": _SIZED, "tfoot": _SIZED, "col": {"span", "width"},
    "colgroup": {"span", "width"}, "div": {"align"}, "p": {"align"}, "hr": _SIZED, "font": {"color", "face", "size"}, "ol": {"start", "type"},
    "ul": {"type"}, "li": {"value"}, "blockquote": {"type"}, "time": {"datetime"},
}  # fmt: skip
# No property that takes a url(), and none that moves a thing to where it does not stand: mail must not paint over the page around it.
_STYLES = {
    "background-color", "border", "border-bottom", "border-bottom-color", "border-bottom-style", "border-bottom-width", "border-collapse",
    "border-color", "border-left", "border-left-color", "border-left-style", "border-left-width", "border-radius", "border-right",
    "border-right-color", "border-right-style", "border-right-width", "border-spacing", "border-style", "border-top", "border-top-color",
    "border-top-style", "border-top-width", "border-width", "color", "direction", "display", "font", "font-family", "font-size", "font-style",
    "font-variant", "font-weight", "height", "letter-spacing", "line-height", "list-style-type", "max-width", "min-width", "padding",
    "padding-bottom", "padding-left", "padding-right", "padding-top", "table-layout", "text-align", "text-decoration", "text-indent",
    "text-transform", "vertical-align", "white-space", "width", "word-break", "word-wrap", "overflow-wrap",
}  # fmt: skip
_LINK = re.compile(r"(?:https?://|mailto:|tel:|#)", re.IGNORECASE)
_IMAGE = re.compile(r"(?:https?://|cid:|data:image/(?:png|jpe?g|gif|webp);base64,)", re.IGNORECASE)
_IGNORED_IN_URLS = re.compile("[\x00-\x20\x7f-\xa0\u2028\u2029\ufeff]+")


def clean(html: str) -> str:
    """`html` without scripts, forms, frames, style sheets, event handlers, ids and classes; what is left is well-formed.

    Links go to http, https, mailto and tel and carry `rel="noopener noreferrer nofollow"`. Images come by http, https, from the mail
    itself (`cid:`, RFC 2392) or stand in place (`data:` of the usual bitmaps); they carry `loading="lazy"` and
    `referrerpolicy="no-referrer"`. Give it what `message.incoming` has read: the parser is slow on HTML that nests without end.
    """
    return _CLEANER.clean(html)


def _attribute(tag: str, name: str, value: str) -> str | None:
    if name == "href":
        return value if _LINK.match(_IGNORED_IN_URLS.sub("", value)) else None
    if name == "src":
        return value if _IMAGE.match(_IGNORED_IN_URLS.sub("", value)) else None
    if name == "name":
        return None if tag != "a" else f"mail-{value}"
    return value


_CLEANER = nh3.Cleaner(
    tags=set(_TEXT),
    clean_content_tags={"script", "style", "title", "template", "noscript"},
    attributes=_ATTRIBUTES,
    attribute_filter=_attribute,
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"img": {"loading": "lazy", "referrerpolicy": "no-referrer"}},
    url_schemes={"http", "https", "mailto", "tel", "cid", "data"},
    url_relative="deny",
    filter_style_properties=_STYLES,
)
