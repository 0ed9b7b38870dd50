"""Which requests for a pixel or a link a machine made: told by what the request says of itself, without asking anybody.

Only what a machine admits is seen here. A scanner that poses as a browser passes, as it does everywhere; how soon after the sending
it came is looked at where that is known, in `domain.communications.report`.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal

Machine = Literal["prefetch", "nameless", "scanner", "preview", "crawler", "library", "headless"]
"""Why a request is held to be a machine's."""

_PURPOSES: Final = ("sec-purpose", "purpose", "x-purpose", "x-moz")
"""Headers of a request for something that nobody has asked for yet.

`Sec-Purpose` is the standard's (https://fetch.spec.whatwg.org/#sec-purpose-header), `Purpose` what Chrome sends in its place for a link
of `rel=prefetch` and `X-Moz` what Firefox sent before 115 (https://developer.mozilla.org/docs/Web/HTTP/Headers/Sec-Purpose), `X-Purpose`
what Safari's previews say (https://github.com/piwik/piwik/issues/3285).
"""
_AHEAD = re.compile(r"\b(?:prefetch|prerender|preview|instant)\b", re.IGNORECASE)

_READERS_PROXY = re.compile(r"GoogleImageProxy|YahooMailProxy", re.IGNORECASE)
"""Mail providers that fetch a picture for their reader at the moment of reading, to hide where that is: a person is behind it.

Gmail: "When your users open email messages, Gmail uses Google's secure proxy servers to serve images"
(https://support.google.com/a/answer/3299041; seen so by others too: https://www.scientiamobile.com/what-is-google-image-proxy/).
Yahoo: https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html.
"""

_PREFETCHERS = re.compile(r"Mozilla/5\.0|.*Chrome/42\.0\.2311\.135 Safari/537\.36 Edge/12\.246 Mozilla/5\.0")
"""Mail programs that fetch every picture ahead of any reading, by their whole user agent.

Apple Mail Privacy Protection, "Mozilla/5.0" and not a word more (https://github.com/ua-parser/uap-core/issues/509): it fetches and keeps
pictures "whether the email has been opened by the intended recipient or not"
(https://docs.sendgrid.com/for-developers/tracking-events/understanding-apple-mail-privacy-protection-and-open-events); a reading later
is answered from what it kept.
Gmail while its reader is signed in, apart from the proxy above: https://bird.com/blog/gmail-prefetching-images.
"""

# Link scanners that put their name into the user agent; most do not
# (https://university.act-on.com/Product_Features/Reports/Sent_Email_Reports/Identifying_False_Positives_in_Email_Clicks).
# Google's: https://developers.google.com/crawling/docs/crawlers-fetchers/google-special-case-crawlers
_SCANNERS = r"Barracuda|Proofpoint|Mimecast|IronPort|CiscoSecureEmail|FortiGuard|MessageLabs|Google-Safety|VirusTotal|urlscan"
# Somebody pasted the link into a conversation: https://api.slack.com/robots,
# https://developers.facebook.com/docs/sharing/webmasters/web-crawlers (Apple's Messages goes by that name too),
# https://www.bing.com/webmasters/help/which-crawlers-does-bing-use-8c184ec0, https://opengraphplus.com/consumers/teams/crawling
_PREVIEWS = (
    r"^WhatsApp/|Slackbot|Slack-ImgProxy|facebookexternalhit|Facebot|meta-externalfetcher|Twitterbot|LinkedInBot|TelegramBot|Discordbot"
    r"|SkypeUriPreview|MicrosoftPreview|BingPreview|Embedly|Iframely|vkShare"
)
# A browser that nobody sits before: https://developer.chrome.com/docs/chromium/headless, https://developer.chrome.com/docs/lighthouse
_HEADLESS = r"Headless|PhantomJS|Chrome-Lighthouse|Puppeteer|Playwright|Selenium|Prerender"
# Programs, by the name that their HTTP library gives itself unless told otherwise. Not okhttp, Dalvik and CFNetwork: mail programs on
# telephones and on the Mac fetch their reader's pictures through these.
_LIBRARIES = (
    r"^(?:curl|Wget|Python|httpx|aiohttp|Go-http-client|Java|Apache-HttpClient|axios|node|undici|got|libwww-perl|PHP|GuzzleHttp|Ruby|Faraday"
    r"|Scrapy|PostmanRuntime|Insomnia|HTTPie|reqwest)\b|PowerShell/"
)
# What crawlers are agreed to call themselves: a word that ends in "bot", or the address of a page about them behind a plus sign
# (https://developers.google.com/search/docs/crawling-indexing/overview-google-crawlers). Cubot makes telephones.
_CRAWLERS = (
    r"(?<!\bcu)bot\b|crawl|spider|slurp|archiver|feedfetcher|Mediapartners-Google|ChatGPT-User|Claude-User|Perplexity-User|\+https?://"
)
_KINDS: Final[tuple[tuple[Machine, re.Pattern[str]], ...]] = (
    ("scanner", re.compile(_SCANNERS, re.IGNORECASE)),
    ("preview", re.compile(_PREVIEWS, re.IGNORECASE)),
    ("headless", re.compile(_HEADLESS, re.IGNORECASE)),
    ("library", re.compile(_LIBRARIES, re.IGNORECASE)),
    ("crawler", re.compile(_CRAWLERS, re.IGNORECASE)),
)


def recognise(headers: Mapping[str, str]) -> Machine | None:
    """What kind of machine made the request with these headers (names in lower case), or None for what a person may have done.

    A mark for reports and no lock: whoever wants to be taken for a person will be.
    """
    for name in _PURPOSES:
        value = headers.get(name)
        if value is not None and _AHEAD.search(value):
            return "prefetch"
    return told_by(headers.get("user-agent", ""))


@lru_cache(maxsize=4096)
def told_by(user_agent: str) -> Machine | None:
    """The same by the user agent alone: readers of one mailing come with few different ones."""
    user_agent = user_agent.strip()
    if not user_agent:
        return "nameless"
    if _READERS_PROXY.search(user_agent):
        return None
    if _PREFETCHERS.fullmatch(user_agent):
        return "prefetch"
    return next((kind for kind, pattern in _KINDS if pattern.search(user_agent)), None)
