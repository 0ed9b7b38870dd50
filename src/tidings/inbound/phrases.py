"""The words mail clients put around what they quote, in the languages they come in. Facts of the outside world; `quotes` uses them."""

# ruff: noqa: RUF001  the letters are Cyrillic because the words are
import re

_WROTE = """wrote|writes|schrieb|geschrieben|a\\ (?:é|e\u0301)crit|schreef|heeft\\ (?:[^\\n]{1,80}\\ )?(?:het\\ volgende\\ )?geschreven|
    escribi(?:ó|o\u0301)|ha\\ scritto|escreveu|skrev|kirjoitti|napisa(?:ł|l)(?:\\(a\\)|a)?|napsal\\(?a?\\)?|(?:на)?писал(?:а|\\(а\\))?|пише|
    kirjutas|rašė|scris|írta|έγραψε|yazdı"""
_START = """on|am|le|op|el|il(?:\\ giorno)?|em|den|den\\ |dne|w\\ dniu|dnia|pe|ma|vào|at|in|a|der|die|von|de|da|du|från|fra|
    на|в|пн|вт|ср|чт|пт|сб|вс"""

_DAYS = "mon|tue|wed|thu|fri|sat|sun|mo|di|mi|do|fr|sa|so|lun|mar|mer|jeu|ven|sam|dim|gio|wo|vr|za|zo"
ATTRIBUTION_START = re.compile(
    rf"""[ \t]*(?:(?:{_START}|{_DAYS})\b|[\[<"'(]?\d|\w[^\n]{{0,200}}(?:{_WROTE})|[^\n<]{{1,120}}<[^<>\n]*@[^<>\n]*>)""",
    re.IGNORECASE | re.VERBOSE,
)
ATTRIBUTION_OWN_START = re.compile(rf"[ \t]*(?:{_START})\b[^\n]*\d", re.IGNORECASE | re.VERBOSE)
"""A line that surely begins one, and does not go on with one from the line before."""
ATTRIBUTION = re.compile(
    rf"""[^\n]{{2,500}}?\b(?:{_WROTE})(?:[^\n]{{0,120}}?)?\s?[:\uff1a]|.{{4,200}}<[^<>\s]+@[^<>\s]+>\s?[:\uff1a]""",
    re.IGNORECASE | re.VERBOSE,
)
"""One line, joined of those it is broken into: `On 1 May 2024 at 10:00, Ann <ann@a.test> wrote:`."""
DATED = re.compile(r"\d{1,2}[.:/h-]\d{1,2}|\d{4}|\d{1,2}\.? \w+|@")
PRECISE = re.compile(r"\b\d{1,2}[:h.]\d\d(?![\d.])|<[^<>\s]+@[^<>\s]+>")
"""A time or an address: clients always name one of them, people who quote by hand hardly ever do."""

_ORIGINAL = """original\\ (?:message|appointment|mail|email)|urspr(?:ü|u\u0308|ue)ngliche\\ (?:nachricht|mail|e-?mail)|original-?nachricht|
    message\\ (?:d['\u2019]origine|original)|courriel\\ original|mail\\ original|oorspronkelijk\\ bericht|oorspronkelijke\\ (?:bericht|e-?mail)|
    origineel\\ bericht|mensaje\\ original|messaggio\\ originale|mensagem\\ original|originalmeddelande|ursprungligt\\ meddelande|
    oprindelig\\ (?:meddelelse|besked)|opprinnelig\\ melding|alkuper(?:ä|a\u0308)inen\\ viesti|(?:wiadomość\\ oryginalna|oryginalna\\ wiadomość)|
    původní\\ (?:zpráva|e-?mail)|исходное\\ сообщение|пересылаемое\\ сообщение"""
ORIGINAL = re.compile(rf"[-_*]{{2,}}[ \t]*(?:{_ORIGINAL})[ \t]*:?[ \t]*[-_*]{{2,}}", re.IGNORECASE | re.VERBOSE)
"""`-----Original Message-----`, alone on its line."""

_FORWARDED = """forwarded\\ (?:message|mail|by)|weitergeleitete\\ (?:nachricht|mail|e-?mail)|message\\ transf(?:é|e\u0301)r(?:é|e\u0301)|
    doorgestuurd\\ bericht|mensaje\\ reenviado|messaggio\\ inoltrato|mensagem\\ (?:encaminhada|reencaminhada)|vidarebefordrat\\ meddelande|
    videresendt\\ (?:meddelelse|melding)|przekazana\\ wiadomość"""
_BEGIN = """begin\\ forwarded\\ message|anfang\\ der\\ weitergeleiteten\\ (?:nachricht|e-?mail)|d(?:é|e\u0301)but\\ du\\ message\\
    (?:r(?:é|e\u0301)exp(?:é|e\u0301)di(?:é|e\u0301)|transf(?:é|e\u0301)r(?:é|e\u0301))|begin\\ doorgestuurd\\ bericht|
    inicio\\ del\\ mensaje\\ reenviado|inizio\\ messaggio\\ inoltrato"""
FORWARDED = re.compile(rf"[ \t]*(?:[-_*]{{2,}}[ \t]*(?:{_FORWARDED})\b|(?:{_BEGIN})\s?:)", re.IGNORECASE | re.VERBOSE)
"""What comes after is passed on, not quoted: to us it is new."""

REPLY_SUBJECT = re.compile(
    r"\s*(?:re|aw|antw|antwort|sv|vs|ref|odp|res|r|ynt|rif|回复|回覆|답장|ответ)\s?(?:\[\d+\]|\(\d+\)|\^\d+)?\s?[:\uff1a]", re.IGNORECASE
)
FORWARD_SUBJECT = re.compile(
    r"\s*(?:fwd?|wg|tr|rv|enc|i|vb|vl|doorst|pd|fs|ilt|转发|轉寄|пересл)\s?(?:\[\d+\])?\s?[:\uff1a]", re.IGNORECASE
)

_FIELDS = {
    "from": "from|von|de|van|da|från|fra|lähettäjä|od|от|expéditeur|afzender|mittente|remitente|差出人|发件人|寄件者|보낸 사람",
    "date": "sent|date|datum|gesendet|gesendet am|envoyé|envoyé le|verzonden|enviado|enviado el|enviado em|inviato|data|fecha|skickat|sendt|lähetetty|"
    "wysłano|odesláno|дата|отправлено|送信日時|日付|发送时间|日期|보낸 날짜",
    "to": "to|an|à|a|aan|para|till|til|vastaanottaja|do|komu|кому|destinataire|宛先|收件人|받는 사람",
    "subject": "subject|betreff|objet|onderwerp|asunto|oggetto|assunto|ämne|emne|aihe|temat|předmět|тема|件名|主题|主旨|제목",
    "cc": "cc|kopie|copie|copia|kopia|kopi|копия|importance|wichtigkeit|priority|priorität|attachments|anlagen",
}
_LABELS = {word: name for name, words in _FIELDS.items() for word in words.split("|")}
_LABEL = re.compile(
    r"[ \t]*\*{0,2}([^\W\d_][^\n:\uff1a *]{1,20}(?: [^\n:\uff1a *]{1,8})?|[aàAÀ])\*{0,2}[ \t\u00a0]?[:\uff1a]\*{0,2}(?:[ \t\u00a0]+|$)"
)

_DEVICES = r"""i-?phone|i-?pad|ios|android|outlook|gmail|yahoo|proton|samsung|galaxy|huawei|xiaomi|pixel|blackberry|nokia|aol|gmx|web\.de|t-online|
    mail\ (?:app|for\ windows)|mobile|handy|smartphone|mobiltelefon|portable|tel(?:efoon|efono|efon)|tablet|zoho|spark|thunderbird|windows|phone"""
_SENT = r"""sent|gesendet|gesandt|verschickt|versendet|envoy(?:é|e\u0301)|exp(?:é|e\u0301)di(?:é|e\u0301)|verstuurd|verzonden|enviado|inviato|spedito|
    skickat|sendt|lähetetty|wysłan[eoy]|отправлено"""
MOBILE = re.compile(
    rf"""(?:{_SENT})\ .{{0,40}}?\b(?:{_DEVICES})\b.{{0,80}}|.{{0,30}}\b(?:von|mit|aus|vom)\ .{{0,30}}\b(?:{_DEVICES})\b.{{0,30}}\ (?:{_SENT})\.?|
    (?:get|hol(?:en)?\ sie\ sich|laden\ sie|t(?:é|e\u0301)l(?:é|e\u0301)charge[rz]|download|scarica|obtener|obtén|ontvang)\ outlook\ .{{0,120}}|
    outlook\ (?:für|for|pour|para|voor|per)\ (?:ios|android)\b.{{0,120}}""",
    re.IGNORECASE | re.VERBOSE,
)
"""A line a mobile client adds below what was written."""


def header_of(line: str) -> str:
    """`from`, `date`, `to`, `subject` or `cc` for a line such as `*Gesendet:* Montag, …`; "" for any other."""
    found = _LABEL.match(line)
    return _LABELS.get(found[1].lower(), "") if found else ""
