"""Figures as HTML, read back by Python's HTML parser: the same cells and remarks, nothing that breaks out."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from alexnet import NETWORKS, NOTES, MisfitError, Network, edit, summarize
from alexnet.architecture import tables


class Fragment(HTMLParser):
    """The rows, the list's items and the style of a fragment all of whose elements are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.items: list[str] = []
        self.said: list[str] = []
        self.style = ""
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert [name for name, _ in attrs if name != "class"] == []
        if tag != "br":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "li":
            self.items.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        match self.open[-1] if self.open else "":
            case "td" | "th":
                self.rows[-1][-1] += data
            case "li":
                self.items[-1] += data
            case "style":
                self.style += data
            case _:
                self.said.append(data)


def test_one_layer_is_told_of_as_one() -> None:
    alone = replace(NOTES, layers=NOTES.layers[:1])
    assert tables.remarks(summarize(alone))[0] == "1 layer carries weights (conv1); pooling is not counted."


def test_what_has_no_column_is_told_below_the_table() -> None:
    more = edit(NETWORKS["paper"], "conv1.extra_padding=1", "input=226")
    told = tables.remarks(summarize(more))
    assert "conv1: padding of 1 more, at the bottom and on the right only." in told
    # 195 + (6 - 1) x 32 = 355 behind the last pooling.
    assert "Receptive fields count padding: flatten's 355 pixels reach beyond the picture's 226." in told
    assert not [each for each in tables.remarks(summarize(NOTES)) if "count padding" in each]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_html_has_the_cells_and_remarks_of_the_markdown_table(network: Network) -> None:
    lines = summarize(network).markdown().splitlines()
    expected = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")
    ]
    del expected[1]  # the rule below the head
    fragment = Fragment(summarize(network).html())
    assert fragment.rows == expected
    assert fragment.items == [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    assert network.source in fragment.said


def test_html_with_formulas_has_every_formula_of_every_layer() -> None:
    summary = summarize(NOTES)
    fragment = Fragment(summary.html(formulas=True))
    told = [row[1] for row in fragment.rows if len(row) == 2]
    assert told == [formula for layer in summary.layers for formula in layer.formulas.values()]
    # conv1 of the notes: (227 - 11)/4 + 1 = 55.
    assert ["height", "(227 - 11 + 2x0)/4 + 1 = 55"] in fragment.rows


def test_a_notebook_shows_the_html_also_of_what_breaks() -> None:
    assert summarize(NOTES)._repr_html_() == summarize(NOTES).html()
    with pytest.raises(MisfitError) as caught:
        summarize(edit(NOTES, "pool1.stride=4", "pool2.stride=3"))
    names = [row[0] for row in Fragment(caught.value.summary._repr_html_()).rows]
    assert names == ["layer", "conv1", "pool1", "conv2", "pool2", "conv3", "total"]


def test_names_cannot_break_out_of_the_html() -> None:
    hostile = replace(NOTES, name='<script>alert(1)</script>"', source="</div> & <b>")
    fragment = Fragment(summarize(hostile).html(formulas=True))
    assert not fragment.tags & {"script", "b"}
    assert any('<script>alert(1)</script>"' in said for said in fragment.said)


def test_the_style_is_the_fragment_s_own_and_takes_the_page_s_colours() -> None:
    style = Fragment(summarize(NOTES).html()).style
    rules = [rule.partition("{")[0] for rule in style.split("}") if rule.strip()]
    for rule in rules:
        assert all(selector.strip().startswith(".alexnet-summary ") for selector in rule.split(","))
    assert "color: inherit" in style
    assert "#" not in style


def test_a_table_without_a_head_has_none() -> None:
    assert Fragment(tables.html_table(None, [("a<b", "1")])).rows == [["a<b", "1"]]
    assert "th" not in Fragment(tables.html_table(None, [("a", "1")])).tags
