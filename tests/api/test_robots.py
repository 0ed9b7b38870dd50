"""Who is taken for a machine, and who is not: user agents and headers as they come, each with the reason."""

import pytest

from tidings.api.robots import recognise

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36"
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"

PEOPLE = [
    (FIREFOX, "a browser"),
    (CHROME, "a browser"),
    (SAFARI, "a browser on a telephone"),
    (CHROME + " Edg/138.0.0.0", "today's Edge, not the one that Gmail poses as"),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 Safari/537.36 Edge/12.246",
        "the first Edge",
    ),
    (CHROME + " Avast/131.0.0.0", "the browser of a maker of scanners"),
    (
        "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
        "Gmail fetches it as its reader opens the mail",
    ),
    ("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", "Yahoo does likewise, and is no crawler for its address"),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)", "Apple Mail without its protection"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.3.1", "a mail program"),
    ("Mozilla/4.0 (compatible; ms-office; MSOffice 16)", "Outlook, which shows pictures when asked to"),
    ("Outlook-iOS/725.1.prod.iphone (5.2527.0)", "Outlook on a telephone"),
    ("Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/AP2A)", "an Android mail program's pictures"),
    ("okhttp/4.12.0", "the same through another library"),
    ("Spark/3.19 CFNetwork/1568.200.51 Darwin/24.1.0", "a Mac mail program's pictures"),
    (
        "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Mobile Safari/537.36",
        "a telephone called Cubot",
    ),
    ("Javelin/1.0", "not Java"),
    ("Gothic/2.0", "not got"),
    ("Nodes Mail/1.0", "not node"),
]

MACHINES = [
    ("", "nameless", "a browser always says what it is"),
    ("   ", "nameless", "the same"),
    ("Mozilla/5.0", "prefetch", "Apple Mail Privacy Protection, ahead of any reading"),
    (" Mozilla/5.0 ", "prefetch", "the same"),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0",
        "prefetch",
        "Gmail, ahead of any reading",
    ),
    ("Barracuda Sentinel (EE)", "scanner", "a mail gateway"),
    (CHROME + " Proofpoint", "scanner", "a mail gateway"),
    ("Mimecast-URL-Check", "scanner", "a mail gateway"),
    ("Mozilla/5.0 (compatible; Google-Safety; +http://www.google.com/bot.html)", "scanner", "looks for malware"),
    ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "preview", "pasted into Slack"),
    ("Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5", "preview", "pasted into Teams"),
    ("Mozilla/5.0 (compatible; MicrosoftPreview/2.0; +https://aka.ms/MicrosoftPreview) Chrome/138.0", "preview", "Outlook's preview"),
    ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "preview", "pasted into Facebook"),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1 Safari/601.2.4 facebookexternalhit/1.1"
        " Facebot Twitterbot/1.0",
        "preview",
        "pasted into Apple's Messages",
    ),
    ("WhatsApp/2.23.20.0 A", "preview", "pasted into WhatsApp"),
    ("TelegramBot (like TwitterBot)", "preview", "pasted into Telegram"),
    (CHROME.replace("Chrome/", "HeadlessChrome/"), "headless", "Chrome with nobody before it"),
    (CHROME + " Chrome-Lighthouse", "headless", "a measurement"),
    ("Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1", "headless", "the same"),
    ("curl/8.14.1", "library", "a command"),
    ("Wget/1.25.0", "library", "a command"),
    ("python-requests/2.32.4", "library", "a program"),
    ("Python/3.12 aiohttp/3.11", "library", "a program"),
    ("python-httpx2/1.0", "library", "a program"),
    ("Go-http-client/2.0", "library", "a program"),
    ("Java/17.0.9", "library", "a program"),
    ("Apache-HttpClient/4.5.14 (Java/17)", "library", "a program"),
    ("axios/1.10.0", "library", "a program"),
    ("node", "library", "node's own fetch"),
    ("Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.26100.1", "library", "a command"),
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "crawler", "a search engine"),
    ("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)", "crawler", "gathers text"),
    ("Mozilla/5.0 (compatible; Baiduspider/2.0)", "crawler", "a search engine"),
    ("Example Fetcher 1 (+https://example.org/about)", "crawler", "says where it is explained"),
]  # fmt: skip


@pytest.mark.parametrize(("agent", "why"), PEOPLE)
def test_a_person_may_be_behind_it(agent: str, why: str):
    assert recognise({"user-agent": agent}) is None, why


@pytest.mark.parametrize(("agent", "kind", "why"), MACHINES)
def test_it_is_a_machine(agent: str, kind: str, why: str):
    assert recognise({"user-agent": agent}) == kind, why


def test_a_request_without_a_user_agent_is_a_machines():
    assert recognise({}) == "nameless"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sec-purpose", "prefetch"),
        ("sec-purpose", "prefetch;prerender"),
        ("sec-purpose", "prefetch;anonymous-client-ip"),
        ("purpose", "prefetch"),
        ("purpose", "Prefetch"),
        ("x-purpose", "preview"),
        ("x-purpose", "prefetch"),
        ("x-moz", "prefetch"),
    ],
)
def test_a_browser_that_fetches_ahead_says_so(name: str, value: str):
    assert recognise({"user-agent": FIREFOX, name: value}) == "prefetch"


@pytest.mark.parametrize(("name", "value"), [("purpose", "reading"), ("x-moz", ""), ("x-requested-with", "prefetch")])
def test_other_purposes_are_no_machines(name: str, value: str):
    assert recognise({"user-agent": FIREFOX, name: value}) is None


def test_names_are_known_in_any_case():
    for agent, kind, why in MACHINES:
        if kind != "prefetch":
            assert recognise({"user-agent": agent.upper()}) == kind, why
