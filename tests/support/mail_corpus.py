"""HTML mails, built as those of the well-known sets of templates are. Written for these tests.

Each is compact: one of a few skeletons (nested tables, MJML's columns, div and span, plain paragraphs, a whole
document with a head) around content as services send it.
"""

# ruff: noqa: E501 - data

from __future__ import annotations

from collections.abc import Mapping

_FILLER = "&#847;&zwnj;&nbsp;" * 20
_HEAD = (
    "<!doctype html PUBLIC '-//W3C//DTD XHTML 1.0 Transitional//EN'><html xmlns='http://www.w3.org/1999/xhtml'><head>"
    "<meta charset=utf-8><title>Not shown</title><style>@media (max-width:600px){.x>p{color:red}} a{color:#06c}</style>"
    "<!--[if gte mso 9]><xml><o:OfficeDocumentSettings/></xml><![endif]--></head><body style='margin:0'>{}</body></html>"
)
_TABLE = (
    "<table role=presentation width=100%><tr><td align=center><!--[if mso]><table><tr><td width=600><![endif]-->"
    "<table class='c'><tbody><tr><td>{}</td></tr></tbody></table><!--[if mso]></td></tr></table><![endif]--></td></tr>"
    "</table>"
)
_MJML = (
    "<div style='background:#eee'><!--[if mso | IE]><table><tr><td><![endif]--><div style='margin:0 auto'><table><tbody>"
    "<tr><td style='font-size:0px;padding:20px'><div class=mj-column-per-100><table><tr><td><div style='font-size:13px'>"
    "{}</div></td></tr></table></div></td></tr></tbody></table></div></div>"
)
_HIDDEN = "<div style='display:none;font-size:1px;max-height:0;overflow:hidden'>{}" + _FILLER + "</div>"


def _button(url: str, label: str) -> str:
    return (
        f"<table border=0><tr><td bgcolor='#06c'><a href=\"{url}\" target=_blank style='color:#fff'>"
        f"<strong>{label}</strong></a></td></tr></table>"
    )


CORPUS: Mapping[str, str] = {
    "welcome": _HEAD.replace(
        "{}",
        _HIDDEN.replace("{}", "Your account is ready")
        + _TABLE.replace(
            "{}",
            "<h1>Welcome, Mai!</h1><p>Good to see you.</p>" + _button("https://x.example/start", "Begin"),
        ),
    ),
    "reset": _TABLE.replace(
        "{}",
        "<p>Someone asked for a new password.</p>"
        "<a href='https://x.example/r?token=a_b-c==&amp;user=1&amp;copy=2'>Reset password</a><p>Or ignore this mail.</p>",
    ),
    "unescaped_query": '<p><a href="https://x.example/?q=1&currency=VND&timestamp=5&notify=1&para=2">Order</a></p>',
    "receipt": _HEAD.replace(
        "{}",
        "<table><thead><tr><th>Item</th><th>Price</th></tr></thead><tbody><tr><td>Phở bò</td><td>65.000&nbsp;₫</td></tr>"
        "<tr><td>Trà đá</td><td>5.000&nbsp;₫</td></tr></tbody><tfoot><tr><td>Total</td><td>70.000&nbsp;₫</td></tr></tfoot>"
        "</table><p><a href=https://x.example/orders/17>Order 17</a></p>",
    ),
    "mjml": _MJML.replace("{}", "<p>One column</p><a href='https://x.example/mj'>Read&nbsp;on</a>"),
    "columns": _MJML.replace("{}", "<div>Left</div>") + _MJML.replace("{}", "<div>Right</div>"),
    "image_links": "<a href='https://x.example/shop'><img src='https://x.example/b.png' alt='Shop now' width=600></a>"
    '<a href="https://x.example/tw"><img src=t.png alt="Our channel"></a>',
    "image_without_alt": "<p>Look:</p><a href='https://x.example/pixel'><img src=p.png></a><img src=q.png alt=''>",
    "contact": "<p>Write to <a href='mailto:help@x.example?subject=Order%2017'>us</a> or call "
    "<a href='tel:+84 28 1234'>our line</a>.</p>",
    "address_as_text": "<p><a href='mailto:help@x.example'>help@x.example</a> <a href='https://x.example/a'>"
    "https://x.example/a</a></p>",
    "quoted_sign": "<a title='Next > page' href='https://x.example/next'>Next</a> <a alt=\"a<b>c\" "
    "href='https://x.example/prev'>Previous</a>",
    "no_blanks": "<a class='b'href='https://x.example/1'target='_blank'>One</a><br/><a\nhref\n=\n"
    "https://x.example/2>Two</a>",
    "broken_lines": "<a href='https://x.example/very/\n long/address'>Long</a><a href='\thttps://x.example/tab\n'>Tab</a>",
    "arabic": "<div dir=rtl><p>مرحبا يا سامي، طلبك رقم 17 جاهز.</p><p><a href='https://x.example/ar'>عرض الطلب</a></p></div>",
    "hebrew": "<p>שלום דנה, ההזמנה מוכנה.</p><ul><li>מרק<li>לחם</ul>",
    "mixed": "<p>Hello דנה, your table is ready.</p><p>Xin chào, мир!</p>",
    "lists": "<ol><li>Wash<li>Cut<ul><li>thin<li>thick</ul><li>Cook</ol><dl><dt>Time</dt><dd>20 min</dd></dl>",
    "outlook": "<!--[if mso]><p>Only Outlook</p><![endif]--><!--[if !mso]><!--><p>All others</p><!--<![endif]-->"
    "<![if !mso]><p>These too</p><![endif]>",
    "empty_comment": "<p>Before</p><!--><p>Between</p><!---><p>After</p><!-- a > b --!><p>End</p>",
    "unclosed": "<table><tr><td><p>First<p>Second <b>bold<td>Next cell<tr><td><a href=https://x.example/u>Link</table>",
    "capitals": "<TABLE><TR><TD><FONT COLOR=red>Old</FONT> <A HREF='HTTPS://x.example/UP'>Caps</A></TD></TR></TABLE>",
    "inline": "<span>One</span><span> word</span><em>.</em> <code>x=1</code> <del>old</del> <mark>new</mark>",
    "headings": "<h1>A</h1><h2>B</h2><h3>C</h3><h4>D</h4><h5>E</h5><h6>F</h6><hr><p>G</p>",
    "entities": "<p>1 &lt; 2 &amp; 3 &gt; 2 &copy 2026 &mdash; caf&eacute; &#128512; &#x1F35C; &unknown; AT&T</p>",
    "bare_address": "<p>Confirm: https://x.example/c?t=abc&amp;u=1.</p><p>(see https://x.example/a_(b))</p>",
    "preformatted": "<pre>a\n  b &lt;c&gt;\n</pre><blockquote>Quoted<br>twice</blockquote>",
    "preheader_span": "<span style='visibility:hidden;mso-hide:all'>Peek</span><p>Body</p><p hidden>Never</p>",
    "preheader_flat": "<div style='max-height:0px;overflow:hidden;mso-hide:all'>Flat peek</div><div>Body text</div>",
    "deep": "<table><tr><td>" * 25 + "<p>Deep</p><p>Deeper</p>" + "</td></tr></table>" * 25,
    "invoice": _TABLE.replace(
        "{}",
        "<table role=presentation><tr><td><b>Invoice 17</b></td><td align=right>30.11.2026</td></tr></table>"
        "<table border=1 cellspacing=0><caption>Your order</caption><colgroup><col><col></colgroup><tr><th scope=col>Item</th>"
        "<th>Pieces</th><th style='text-align:right'>Price</th></tr><tr><td>Phở bò tái</td><td>2</td><td align=right>130.000</td></tr>"
        "<tr><td>寿司 🍣</td><td>10</td><td align=right>1.200.000</td></tr><tr><td colspan=2>Total</td><td>1.330.000</td></tr></table>",
    ),
    "wide_table": "<table><tr><th>Reason</th><td>"
    + "words " * 20
    + "</td></tr><tr><th>Help</th><td><p>One</p><p>Two</p></td></tr></table>",
    "navigation": "<table width=100%><tr><td><a href='https://x.example/new'>New</a></td><td>&nbsp;</td><td>"
    "<a href='https://x.example/sale'>Sale</a></td></tr></table>",
    "steps": "<ol start=3><li>Wash</li><li value='10'>Cut<ol type=a><li>thin<li>thick</ol></li><li><p>Cook</p><p>Twenty minutes.</p></li></ol>"
    "<ol type=I reversed><li>One<li>Two</ol><ol start=-1><li>Below<li>Zero</ol>",
    "quoted_answer": "<p>Thank you!</p><blockquote type=cite><p>Is it open?</p><blockquote>We wrote:<br>soon</blockquote></blockquote><hr><p>Mai</p>",
    "log": "<p>Output:</p><pre><code>job  7\n\n\n\tfailed\n<b>exit</b>   1\n</code></pre>",
    "no_end_tags": "<p>Line" * 45
    + "<ul>"
    + "<li>Item <b>bold</b>" * 40
    + "</ul><dl><dt>Key<dd>Value<dt>Other<dd>Value</dl>",
    "very_deep": "<div><table><tr><td>" * 40
    + "<p><a href='https://x.example/deep'><b>Deep</b></a></p><p>End</p>"
    + "</td></tr></table></div>" * 40,
    "linked_blocks": "<a href='https://x.example/card'><div><h2>Card</h2><p>All of it</p></div></a><p>Behind</p>"
    "<p><a href='https://x.example/row'><table><tr><td><img src=a.png alt='A bowl'></td><td>Soup</td></tr></table></a></p>",
    "crossed_tables": "<table><tr><td>One</div></td><td>Two<tr><td>Three<td>Four</table></td></tr></table><p>Rest</p>",
    "sections": "<main><header>Top</header><section><article>Story</article></section><aside>Note</aside>"
    "<figure><img src=f.png alt='A bowl'><figcaption>Soup</figcaption></figure><footer>Bottom</footer></main>",
}
HIDDEN: Mapping[str, str] = {
    "welcome": "Your account is ready",
    "preheader_span": "Peek Never",
    "preheader_flat": "Flat peek",
}
"""What of them only inboxes show."""
