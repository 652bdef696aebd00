"""The page that a browser gets: what may be asked, and a picture to try. Made of the OpenAPI document."""

from __future__ import annotations

from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem;
  color: #1a1a1a; background: #fff }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; background: #0000000d; border-radius: 4px }
code { padding: .1em .3em }
pre { padding: .8em; overflow-x: auto }
td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0 }
@media (prefers-color-scheme: dark) {
  body { color: #e6e6e6; background: #161616 } code, pre { background: #ffffff1a } a { color: #8ab4f8 } }
"""

_SCRIPT = """
document.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const out = document.querySelector("output");
  out.textContent = "…";
  const key = document.querySelector("#key").value;
  try {
    const answer = await fetch("v1/predict", {
      method: "POST", body: new FormData(event.target),
      headers: key ? { Authorization: `Bearer ${key}` } : {} });
    out.textContent = JSON.stringify(await answer.json(), null, 2);
  } catch (error) { out.textContent = String(error); }
});
"""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
"""Content-Security-Policy: the page loads nothing from anywhere."""


def page(document: dict[str, Any]) -> str:
    """HTML that needs nothing else, not even a network."""
    info = document["info"]
    rows = "".join(
        f"<tr><td><code>{escape(method.upper())}&nbsp;{escape(path)}</code></td>"
        f"<td>{escape(operation['summary'])}</td></tr>"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(info["title"])}</title><style>{_STYLE}</style>
</head>
<body>
<h1>{escape(info["title"])}</h1>
<p>{escape(info["description"])}</p>
<form>
<p><label>Pictures: <input type="file" name="pictures" accept="image/*" multiple required></label>
<button>Ask</button></p>
<p><label>API key, if this server wants one: <input id="key" type="password" autocomplete="off"></label></p>
</form>
<pre><output>{{}}</output></pre>
<table>{rows}</table>
<p>From a shell, one picture or several:</p>
<pre>curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' URL/v1/predict
curl -F pictures=@one.jpg -F pictures=@two.png 'URL/v1/predict?top=3'</pre>
<p>The whole description: <a href="openapi.json">openapi.json</a></p>
<script>{_SCRIPT}</script>
</body>
</html>
"""
