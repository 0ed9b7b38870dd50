"""The new part of an answer, without what it quotes. Nothing new is ever cut away: in doubt the whole text is the answer.

By the marks that clients leave: in HTML the elements they put quotes into, in text the lines they put before them
(the phrases stand in `phrases`).
"""

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from tidings.inbound import phrases
from tidings.message.incoming import Incoming
from tidings.message.plaintext import from_html

_LONGEST = 500_000
"""Characters of a text that is searched; beyond, all of it is the answer."""
_QUOTING = ", ".join(
    (
        ".gmail_quote", ".gmail_extra", ".yahoo_quoted", ".protonmail_quote", ".tutanota_quote", ".zmail_extra", ".moz-cite-prefix",
        "blockquote[type=cite]", "div[name=quote]", "#isReplyContent", "#mail-editor-reference-message-container",
        ".ms-outlook-mobile-reference-message", "#OLK_SRC_BODY_SECTION", "#reply-intro", "#replyBody",
    )
)  # fmt: skip
_TO_THE_END = "#divRplyFwdMsg, hr#zwchr, #appendonsend + hr"
"""After these everything in the same element is the quote."""
_QUOTED_LINE = re.compile(r"[ \t]{0,3}>")
_SIGNATURE = re.compile(r"^-- ?$")
_MOST_SIGNED = 15
_RULE = re.compile(r"[ \t]*(?:_{8,}|-{20,}|\*{20,}|={20,})[ \t]*")
_ATTRIBUTION_LENGTH = 600
_BLOCK_REACH = 12
"""Lines within which the header block of a quoted mail is complete, folded lists of recipients included."""


def new_part(mail: Incoming, *, signature: bool = False) -> str:
    """What the sender of `mail` has written this time: words of `mail.text` in their order; all of it when that is not clear.

    A signature behind `-- ` and the advertisement of a mobile client are left out unless `signature`.
    """
    full = mail.text.strip()
    if len(full) > _LONGEST or not full:
        return full
    answers = bool(mail.in_reply_to or mail.references) or phrases.REPLY_SUBJECT.match(mail.subject) is not None
    forwards = phrases.FORWARD_SUBJECT.match(mail.subject) is not None
    if mail.text_is_derived:
        kept = _kept_of_html(mail.html, answers=answers, forwards=forwards)
    else:
        kept = _kept(mail.text.split("\n"), answers=answers, forwards=forwards)
        if mail.html and _squeezed("\n".join(kept)) == _squeezed(full):
            by_html = _kept_of_html(mail.html, answers=answers, forwards=forwards)
            # The two are laid out differently; from the HTML only what the text has as well, in one piece.
            kept = by_html if _squeezed("\n".join(by_html)) in _squeezed(full) else kept
    answer = "\n".join(kept if signature else _unsigned(kept)).strip() or "\n".join(kept).strip()
    return answer if answer and _is_part(answer, full) else full


def _kept_of_html(html: str, *, answers: bool, forwards: bool) -> list[str]:
    if forwards:
        return from_html(html).split("\n")
    tree = LexborHTMLParser(html)
    settled: set[int] = set()
    quotes: list[LexborNode] = []
    for node in tree.css(_QUOTING):
        if not _within(node, settled):
            settled.add(node.mem_id)
            quotes += [] if _forwarded(node) else [node]
    for node in tree.css(_TO_THE_END):
        if not _within(node, settled) and node.parent is not None:
            settled.add(node.parent.mem_id)
            while node is not None:
                quotes.append(node)
                node = node.next
    for node in quotes:
        node.decompose()
    return _kept(from_html(tree.html or "").split("\n"), answers=answers or bool(quotes), forwards=forwards)


def _within(node: LexborNode, settled: set[int]) -> bool:
    outer = node
    while outer is not None:
        if outer.mem_id in settled:
            return True
        outer = outer.parent
    return False


def _forwarded(node: LexborNode) -> bool:
    return phrases.FORWARDED.match(node.text(deep=True).lstrip()[:200]) is not None


def _kept(lines: list[str], *, answers: bool, forwards: bool) -> list[str]:
    """The lines that are no quote. Quoted lines go one by one, for people answer between them; behind a separator all goes."""
    kept: list[str] = []
    attributed = False
    at = 0
    while at < len(lines):
        if phrases.FORWARDED.match(lines[at]):
            return kept + lines[at:]
        span = _attribution(lines, at)
        if span and _next_is_quoted(lines, at + span):
            attributed = True
            at += span
            continue
        if answers and not forwards and (_is_strict(lines, at, span) or _separates(lines, at)):
            break
        if not (_QUOTED_LINE.match(lines[at]) and (attributed or answers)):
            kept.append(lines[at])
        at += 1
    return kept


def _attribution(lines: list[str], at: int) -> int:
    """How many lines from `at` are "On …, … wrote:", 0 when they are not. Clients break it at 70-odd characters, so it may take four."""
    if not phrases.ATTRIBUTION_START.match(lines[at]):
        return 0
    joined = ""
    for count, line in enumerate(lines[at : at + 4], 1):
        if not line.strip():
            return 0
        if count > 1 and phrases.ATTRIBUTION_OWN_START.match(line) and _attribution(lines, at + count - 1):
            return 0
        joined = f"{joined} {line.strip()}".strip()[:_ATTRIBUTION_LENGTH]
        if joined.endswith((":", "\uff1a")) and phrases.ATTRIBUTION.fullmatch(joined) and phrases.DATED.search(joined):
            return count
    return 0


def _is_strict(lines: list[str], at: int, span: int) -> bool:
    """Whether an attribution of that span, without quoted lines behind it, is a client's: it stands alone, and names a time or an address."""
    if not span:
        return False
    alone = at == 0 or not lines[at - 1].strip() or _RULE.fullmatch(lines[at - 1]) is not None
    return alone and phrases.PRECISE.search(" ".join(lines[at : at + span])) is not None


def _next_is_quoted(lines: list[str], at: int) -> bool:
    for line in lines[at : at + 3]:
        if line.strip():
            return _QUOTED_LINE.match(line) is not None
    return False


def _separates(lines: list[str], at: int) -> bool:
    """Whether the quoted mail begins at this line: "-----Original Message-----", or a rule or nothing and then From, Sent, To, Subject."""
    line = lines[at].strip()
    if phrases.ORIGINAL.fullmatch(line):
        return True
    begin = at
    if _RULE.fullmatch(line):
        begin = next((index for index in range(at + 1, min(at + 4, len(lines))) if lines[index].strip()), at)
    return _is_header_block(lines, begin)


def _is_header_block(lines: list[str], at: int) -> bool:
    first = phrases.header_of(lines[at])
    if first not in ("from", "date"):
        return False
    seen = {first}
    for line in lines[at + 1 : at + _BLOCK_REACH]:
        if not line.strip() and len(seen) >= 3:
            break
        name = phrases.header_of(line)
        if name:
            seen.add(name)
    return "from" in seen and "date" in seen and bool(seen & {"to", "subject"})


def _unsigned(lines: list[str]) -> list[str]:
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    for index in range(max(0, end - _MOST_SIGNED), end):
        if _SIGNATURE.match(lines[index]):
            end = index
            break
    while end and (not lines[end - 1].strip() or phrases.MOBILE.fullmatch(lines[end - 1].strip())):
        end -= 1
    return lines[:end]


def _is_part(answer: str, full: str) -> bool:
    words = iter(full.split())
    return all(word in words for word in answer.split())


def _squeezed(text: str) -> str:
    return "".join(text.split())
