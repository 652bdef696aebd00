"""Draws docs/weights-and-work.svg: each layer's share of the weights and of the multiply-adds.

Run by `make golden`; a test compares the file with what this computes.
"""

from __future__ import annotations

from pathlib import Path

from alexnet import NOTES, Summary, summarize

PICTURE = Path(__file__).with_name("weights-and-work.svg")

_LEFT, _TOP, _ROW, _BAR = 150, 64, 34, 250  # pixels: names, heading, a layer, a whole bar
_GAP = 110  # between the two columns of bars

_STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1b1b1f; } .head { font-weight: 600; }
.weights { fill: #3b6fb6; } .work { fill: #d9772b; }
@media (prefers-color-scheme: dark) {
  text { fill: #e8e8ee; } .weights { fill: #7aa7e8; } .work { fill: #f0a060; } }
"""


def draw(summary: Summary) -> str:
    """The picture as SVG text."""
    layers = [layer for layer in summary.layers if layer.weights]
    width, height = _LEFT + 2 * _BAR + 2 * _GAP, _TOP + _ROW * len(layers) + 12
    second = _LEFT + _BAR + _GAP
    title = f"Where the weights are, and where the work is: AlexNet of the {summary.network.name}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{title}</title><style>{_STYLE}</style>",
        f'<text class="head" x="{_LEFT}" y="24">{summary.weights:,} weights</text>',
        f'<text class="head" x="{second}" y="24">{summary.macs:,} multiply-adds</text>',
    ]
    for row, layer in enumerate(layers):
        y = _TOP + row * _ROW
        parts.append(f'<text x="{_LEFT - 12}" y="{y + 5}" text-anchor="end">{layer.name}</text>')
        for kind, x, share in (
            ("weights", _LEFT, layer.weights / summary.weights),
            ("work", second, layer.macs / summary.macs),
        ):
            bar = max(1, round(share * _BAR))
            parts.append(f'<rect class="{kind}" x="{x}" y="{y - 10}" width="{bar}" height="20" rx="2"/>')
            parts.append(f'<text x="{x + bar + 8}" y="{y + 5}">{share:.1%}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(draw(summarize(NOTES)), encoding="utf-8")
