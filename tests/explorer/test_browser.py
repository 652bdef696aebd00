"""The explorer as a visitor has it, in Chromium: served, and opened from a disk."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from alexnet.explorer.gallery import Gallery
from alexnet.explorer.site import write_site
from alexnet.inside.heat import place, spread

pytestmark = pytest.mark.slow

LAYERS = ("conv1", "relu1", "norm1", "pool1", "conv2", "pool2", "flat", "drop", "fc1", "relu2", "fc2")
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
"""What the pages looked like; not part of the project."""

Start = tuple[list[str], dict[str, str]]
Open = Callable[[str], Page]


@contextmanager
def serving(python: Start, *arguments: str | Path) -> Iterator[str]:
    """The address of an explorer in a process of its own, which ends by SIGTERM, as it should."""
    command, environment = python
    server = subprocess.Popen(
        [*command, "-m", "alexnet", "explore", *arguments, "--port", "0"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stderr is not None
        told = server.stderr.readline()
        assert told.startswith("open http://127.0.0.1:"), told
        yield told.removeprefix("open ").strip()
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0


@pytest.fixture(scope="module")
def served(every_kind: Path, photographs: list[Path], python: Start) -> Iterator[str]:
    """The address of an explorer with two models and two pictures."""
    chosen = [part for path in photographs for part in ("--picture", path)]
    with serving(python, every_kind, every_kind, *chosen) as address:
        yield address


@pytest.fixture
def site(gallery: Gallery, tmp_path: Path) -> str:
    """The address of the same, with one model, as files."""
    return write_site(gallery, tmp_path / "site")[0].as_uri()


@contextmanager
def visited(browser: Browser, address: str) -> Iterator[Page]:
    """The page at the address; errors on its console and requests to elsewhere fail the test at its end."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    home = address.rpartition("/")[0]
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith((home, "data:", "blob:")) else wrong.append(request.url)
        ),
    )
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    yield page
    page.close()
    assert wrong == []


def look_at(page: Page, layer: str, key: str = "picture-1") -> None:
    page.locator(f".strip [data-layer={layer}]").click()
    page.wait_for_selector(f".view[data-ready='layer {layer} {key}']")
    page.mouse.move(0, 0)  # the sentence is that of the layer under the pointer, where there is one


def assert_sum_is_the_networks(page: Page) -> None:
    computed = float(page.locator("[data-sum]").get_attribute("data-sum") or "nan")
    network = float(page.locator("[data-network]").get_attribute("data-network") or "nan")
    assert computed == pytest.approx(network, rel=1e-5, abs=1e-5)


def assert_answers(page: Page, gallery: Gallery, key: str) -> None:
    """Those of the gallery's first model for that picture, once the page has them."""
    for number, answer in enumerate(gallery.studies[0].look(key)["answers"]):
        shown = page.locator(".answers button").nth(number)
        expect(shown).to_have_text(f"{answer['name']}{100 * answer['probability']:.1f} %")
    expect(page.locator(".answers button")).to_have_count(3)


def keep(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(SCREENSHOTS / f"{name}.png"), full_page=True)


def assert_accessible(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert [
        (each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")
    ] == []


@pytest.mark.parametrize("place", ["served", "site"])
def test_every_layers_values_are_what_the_arithmetic_makes(
    browser: Browser, gallery: Gallery, place: str, request: pytest.FixtureRequest
) -> None:
    with visited(browser, request.getfixturevalue(place)) as page:
        for layer in LAYERS:
            look_at(page, layer)
            expect(page.locator(".sentence")).to_contain_text(layer)
            assert_sum_is_the_networks(page)
            # The value that is chosen first is the layer's largest.
            network = float(page.locator("[data-network]").get_attribute("data-network") or "nan")
            assert network == pytest.approx(
                float(gallery.studies[0].maps("picture-1", layer).max()), rel=1e-5
            )
            # And the one in the corner, where windows reach into the padding.
            page.locator("[data-focus=board] canvas").click(position={"x": 2, "y": 2})
            corner = "row 0, column 0" if page.locator("[data-channel]").count() else "unit 0:"
            expect(page.locator("figcaption[role=status]")).to_contain_text(corner)
            page.wait_for_timeout(50)
            assert_sum_is_the_networks(page)
        keep(page, f"layer-{place}")


@pytest.mark.parametrize("place", ["served", "site"])
def test_a_change_that_breaks_the_network_is_explained_and_mended(
    browser: Browser, place: str, request: pytest.FixtureRequest
) -> None:
    with visited(browser, request.getfixturevalue(place)) as page:
        page.get_by_role("link", name="What if").click()
        change(page, "conv1.stride", "4", free=place == "served")
        expect(page.locator("tr.changed").first).to_contain_text("14x14x8")
        expect(page.locator("tr.changed").first).to_contain_text("7x7x8")
        page.get_by_role("button", name="Undo").click()
        expect(page.locator("tr.changed")).to_have_count(0)
        change(page, "conv2.kernel", "11", free=place == "served")
        reason = page.locator(".breaks")
        expect(reason).to_contain_text("Layer 'conv2': an 11x11 window does not fit in 7x7")
        keep(page, f"what-if-{place}")
        assert_accessible(page)
        reason.get_by_role("button").first.click()
        expect(page.locator(".breaks")).to_have_count(0)


def change(page: Page, target: str, value: str, *, free: bool = True) -> None:
    page.locator("#target").select_option(target)
    if free:
        page.locator("#value").fill(value)
    else:
        page.locator("#value").select_option(value)
    page.get_by_role("button", name="See", exact=True).click()


def test_the_strides_that_the_notes_print_break_their_network_at_conv4(
    browser: Browser, notes_weights: Path, photographs: list[Path], python: Start
) -> None:
    with (
        serving(python, notes_weights, "--picture", photographs[0]) as address,
        visited(browser, address) as page,
    ):
        look_at(page, "conv2")
        assert_sum_is_the_networks(page)
        page.get_by_role("link", name="What if").click()
        change(page, "pool1.stride", "4")
        expect(page.locator(".breaks")).to_contain_text("Layer 'conv4': a 3x3 window does not fit in 2x2")
        change(page, "pool2.stride", "3")
        expect(page.locator(".breaks")).to_contain_text("Layer 'conv4': a 3x3 window does not fit in 1x1")
        keep(page, "notes-as-printed")
        page.get_by_role("link", name="Tour").click()
        for _ in range(9):
            page.get_by_role("button", name="Next").click()
        expect(page.locator(".tour")).to_contain_text("3 figures of the lecture notes disagree")


@pytest.mark.parametrize("place", ["served", "site"])
def test_pictures_are_answered_and_an_answer_shows_where_the_network_looked(
    browser: Browser, gallery: Gallery, place: str, request: pytest.FixtureRequest
) -> None:
    with visited(browser, request.getfixturevalue(place)) as page:
        page.get_by_role("button", name="two.png").click()
        assert_answers(page, gallery, "picture-2")
        page.locator(".answers button").first.click()
        expect(page.get_by_role("img", name="Grad-CAM")).to_be_visible()


@pytest.mark.parametrize("layer", ["conv1", "conv2", "pool2"])
def test_heat_lies_where_visualize_lays_it(
    browser: Browser, served: str, gallery: Gallery, layer: str
) -> None:
    """Of each pixel of the page's canvas the opacity, which grows with the heat as a power of 0.7."""
    row = next(each for each in gallery.studies[0].summary.layers if each.name == layer)
    heat = np.random.default_rng(2).random(row.output[:2])
    side = (28, 28)
    told = {name: getattr(row, f"receptive_{name}") for name in ("field", "stride", "start")}
    with visited(browser, served) as page:
        alpha = page.evaluate(
            """async ({ shape, values, row, side }) => {
              const { paintHeat } = await import("explorer/colours.js");
              const canvas = document.createElement("canvas");
              paintHeat(canvas, { shape, values }, row, side);
              const pixels = canvas.getContext("2d").getImageData(0, 0, side[1], side[0]).data;
              return Array.from(pixels.filter((_, index) => index % 4 === 3));
            }""",
            {
                "shape": heat.shape,
                "values": heat.ravel().tolist(),
                "row": {f"receptive_{name}": value for name, value in told.items()},
                "side": side,
            },
        )
    pixels = np.arange(28, dtype=np.float64) + 0.5
    laid = spread(heat / heat.max(), place(row, side), pixels, pixels)
    np.testing.assert_allclose(np.reshape(alpha, side), 255 * 0.8 * laid**0.7, atol=1)
    assert laid.min() < 0.1 < laid.max()


@pytest.mark.parametrize(
    "event",
    ["new DragEvent('drop', {dataTransfer})", "new ClipboardEvent('paste', {clipboardData: dataTransfer})"],
    ids=["dropped", "pasted"],
)
def test_a_picture_of_ones_own_is_answered_like_the_same_one_given_at_the_start(
    browser: Browser, served: str, gallery: Gallery, photographs: list[Path], event: str
) -> None:
    with visited(browser, served) as page:
        data = photographs[1].read_bytes().hex()
        page.evaluate(
            f"""hex => {{
              const bytes = Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
              const dataTransfer = new DataTransfer();
              dataTransfer.items.add(new File([bytes], "mine.png", {{type: "image/png"}}));
              document.dispatchEvent({event});
            }}""",
            data,
        )
        expect(page.get_by_role("button", name="mine.png")).to_have_attribute("aria-pressed", "true")
        assert_answers(page, gallery, "picture-2")


def test_a_picture_of_the_camera_is_answered(browser: Browser, served: str) -> None:
    with visited(browser, served) as page:
        page.get_by_role("button", name="Camera").click()
        page.get_by_role("button", name="Take it").click()
        expect(page.get_by_role("button", name="your picture")).to_have_attribute("aria-pressed", "true")
        expect(page.locator("dialog")).to_have_count(0)
        expect(page.locator(".answers button")).to_have_count(3)
        expect(page.get_by_role("img", name="your picture")).to_be_visible()


def test_a_file_that_is_no_picture_is_refused_in_a_line_and_changes_nothing(
    browser: Browser, served: str, tmp_path: Path
) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture")
    page = browser.new_page()
    page.goto(served)
    page.wait_for_selector("body[data-ready]")
    before = page.locator(".answers").inner_text()
    page.locator("input[type=file]").set_input_files(text)
    expect(page.get_by_role("alert")).to_contain_text("not a picture")
    assert page.locator(".answers").inner_text() == before
    page.get_by_role("button", name="two.png").click()
    expect(page.locator(".complaint")).to_be_empty()
    page.close()


def test_keys_reach_every_layer_map_and_value(browser: Browser, served: str) -> None:
    with visited(browser, served) as page:
        page.locator(".strip [data-layer=pool1]").focus()
        expect(page.locator(".sentence")).to_contain_text("pool1: Keeps the largest value")
        page.keyboard.press("Enter")
        page.wait_for_selector(".view[data-ready='layer pool1 picture-1']")
        page.locator("[data-channel='0']").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        expect(page.locator("figcaption[role=status]")).to_contain_text("map 1,")
        page.locator("[data-focus=board]").focus()
        before = page.locator("figcaption[role=status]").inner_text()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowDown")
        expect(page.locator("[data-focus=board]")).to_be_focused()
        assert before.startswith("map 1")
        assert_sum_is_the_networks(page)


def test_the_keyboard_stays_where_it_was(browser: Browser, served: str) -> None:
    with visited(browser, served) as page:
        look_at(page, "conv1")
        page.locator("[data-channel='5']").focus()
        page.keyboard.press("Enter")
        expect(page.locator("figcaption[role=status]")).to_contain_text("map 5,")
        expect(page.locator("[data-channel='5']")).to_be_focused()
        page.keyboard.press("ArrowRight")
        expect(page.locator("[data-channel='6']")).to_be_focused()
        answer = page.locator(".answers button").nth(1)
        answer.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("img", name="Grad-CAM")).to_be_visible()
        expect(answer).to_be_focused()
        page.get_by_role("button", name="two.png").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(".view[data-ready='layer conv1 picture-2']")
        expect(page.get_by_role("button", name="two.png")).to_be_focused()
        page.get_by_role("link", name="What if").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name="What if")).to_be_focused()
        change(page, "conv1.stride", "4")
        change(page, "conv2.kernel", "1")
        expect(page.get_by_role("button", name="Undo")).to_have_count(2)
        page.get_by_role("button", name="Undo").first.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Undo")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#value")).to_be_focused()


def test_what_is_refused_is_no_setting_and_what_is_set_stays_while_a_layer_is_looked_at(
    browser: Browser, served: str
) -> None:
    page = browser.new_page()  # not `visited`: a refusal is an error on its console
    page.goto(served)
    page.wait_for_selector("body[data-ready]")
    page.get_by_role("link", name="What if").click()
    change(page, "conv1.stride", "4")
    expect(page.get_by_role("button", name="Undo")).to_have_count(1)
    with page.expect_response(lambda answer: answer.status == 422):
        change(page, "conv2.kernel", "0")
    expect(page.get_by_role("alert").filter(has_text="kernel=0")).to_be_visible()
    expect(page.get_by_role("button", name="Undo")).to_have_count(1)
    expect(page.locator("tr.changed").first).to_contain_text("14x14x8")
    change(page, "conv2.kernel", "1")
    expect(page.get_by_role("button", name="Undo")).to_have_count(2)
    look_at(page, "pool1")
    page.get_by_role("link", name="What if").click()
    expect(page.get_by_role("button", name="Undo")).to_have_count(2)
    page.close()


def test_the_strongest_maps_are_shown_and_arrows_go_by_rows(browser: Browser, wide_site: str) -> None:
    with visited(browser, wide_site) as page:
        expect(page.locator(".tiles .strong")).to_have_count(12)
        expect(page.locator("[data-channel][aria-pressed=true]")).to_have_count(1)
        across = page.evaluate(
            "(() => { const all = [...document.querySelectorAll('[data-channel]')];"
            " return all.findIndex((each) => each.offsetTop > all[0].offsetTop); })()"
        )
        assert across > 1
        page.locator("[data-channel='0']").focus()
        page.keyboard.press("ArrowDown")
        expect(page.locator(f"[data-channel='{across}']")).to_be_focused()
        page.keyboard.press("ArrowUp")
        expect(page.locator("[data-channel='0']")).to_be_focused()


def test_a_vector_has_no_more_cells_than_values(browser: Browser, served: str) -> None:
    """3 classes in a square of 4."""
    with visited(browser, served) as page:
        look_at(page, "fc2")
        seen = page.evaluate(
            "[...document.querySelector('canvas.large').getContext('2d').getImageData(0, 0, 2, 2).data]"
        )
        assert [seen[each] for each in (3, 7, 11, 15)] == [255, 255, 255, 0]


def test_many_maps_stay_unfolded_and_long_names_within_the_page(browser: Browser, wide_site: str) -> None:
    with visited(browser, wide_site) as page:
        page.get_by_role("button", name="All 100 maps").click()
        expect(page.locator("[data-channel='96']")).to_be_focused()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        expect(page.locator("figcaption[role=status]")).to_contain_text("map 97,")
        expect(page.locator("[data-channel='97']")).to_be_focused()
        assert page.locator("[data-channel][tabindex='0']").count() == 1
        look_at(page, "fc1")
        whole = page.locator("rect.square")  # a unit sees all of the picture
        expect(whole).to_have_attribute("width", "40")
        expect(whole).to_have_attribute("height", "20")
        for width in (1400, 390):
            page.set_viewport_size({"width": width, "height": 900})
            for view in ("Layer", "What if", "Tour"):
                page.get_by_role("link", name=view, exact=True).click()
                page.wait_for_timeout(100)
                assert page.evaluate("document.documentElement.scrollWidth") <= width, view
                keep(page, f"wide-{view}-{width}".replace(" ", "-"))


def test_where_the_network_looked_can_be_asked_for_again(browser: Browser, served: str) -> None:
    page = browser.new_page()
    page.goto(served)
    page.wait_for_selector("body[data-ready]")
    page.route("**/cam/**", lambda route: route.abort())
    answer = page.locator(".answers button").first
    answer.click()
    expect(page.locator(".complaint")).not_to_be_empty()
    expect(answer).to_have_attribute("aria-pressed", "true")
    page.unroute("**/cam/**")
    answer.click()
    expect(answer).to_have_attribute("aria-pressed", "false")
    answer.click()
    expect(page.get_by_role("img", name="Grad-CAM")).to_be_visible()
    page.close()


def test_where_the_network_looked_is_not_complained_of_once_another_answer_is_chosen(
    browser: Browser, served: str
) -> None:
    page = browser.new_page()
    page.goto(served)
    page.wait_for_selector("body[data-ready]")
    asked: list[Route] = []

    def wait(route: Route) -> None:  # a function of its own: Playwright looks at its signature
        asked.append(route)

    page.route("**/cam/**", wait, times=1)
    first, second = (page.locator(".answers button").nth(place) for place in (0, 1))
    with page.expect_request("**/cam/**"):
        first.click()
    second.click()
    expect(page.get_by_role("img", name="Grad-CAM")).to_be_visible()
    with page.expect_event("requestfailed"):
        asked[0].abort()
    page.wait_for_timeout(100)
    expect(page.locator(".complaint")).to_be_empty()
    page.close()


def test_of_two_pictures_the_last_that_was_given_is_looked_at(
    browser: Browser, served: str, photographs: list[Path]
) -> None:
    with visited(browser, served) as page:
        held: list[Route] = []
        page.route("**/pictures", lambda route: held.append(route) if not held else route.continue_())
        for name in ("first.png", "second.png"):
            page.locator("input[type=file]").set_input_files(
                {"name": name, "mimeType": "image/png", "buffer": photographs[0].read_bytes()}
            )
        second = page.get_by_role("button", name="second.png")
        expect(second).to_have_attribute("aria-pressed", "true")
        held[0].continue_()
        expect(page.get_by_role("button", name="first.png")).to_have_attribute("aria-pressed", "false")
        expect(second).to_have_attribute("aria-pressed", "true")


def test_the_tour_goes_from_the_picture_to_the_end(browser: Browser, served: str) -> None:
    with visited(browser, served) as page:
        page.get_by_role("link", name="Tour").click()
        heads = [page.locator(".tour h2").inner_text()]
        while page.get_by_role("button", name="Next").is_enabled():
            page.get_by_role("button", name="Next").click()
            heads.append(page.locator(".tour h2").inner_text())
        assert heads[0] == f"1 of {len(heads)}: The picture"
        assert heads[-1] == f"{len(heads)} of {len(heads)}: All together"
        keep(page, "tour")
        assert_accessible(page)


def test_a_place_chosen_in_a_layer_is_none_of_the_layer_that_the_tour_leads_to(
    browser: Browser, gallery: Gallery, served: str
) -> None:
    with visited(browser, served) as page:
        look_at(page, "conv1")
        board = page.locator("[data-focus=board] canvas")
        box = board.bounding_box()
        assert box is not None
        board.click(position={"x": box["width"] - 2, "y": box["height"] - 2})
        page.get_by_role("link", name="Tour").click()
        to = page.get_by_role("link", name=re.compile("Look at (?!conv1)"))
        while not to.count():
            page.get_by_role("button", name="Next").click()
        layer = to.inner_text().removeprefix("Look at ")
        to.click()
        page.wait_for_selector(f".view[data-ready='layer {layer} picture-1']")
        assert_sum_is_the_networks(page)
        largest = float(gallery.studies[0].maps("picture-1", layer).max())
        network = float(page.locator("[data-network]").get_attribute("data-network") or "nan")
        assert network == pytest.approx(largest, rel=1e-5)


def test_an_answer_that_comes_after_the_next_change_is_not_shown(browser: Browser, served: str) -> None:
    with visited(browser, served) as page:
        page.get_by_role("link", name="What if").click()
        held: list[Route] = []
        page.route("**/what-if?*", lambda route: held.append(route))  # noqa: PLW0108  # Playwright marks it
        change(page, "conv1.stride", "4")
        page.get_by_role("button", name="Undo").click()
        with page.expect_response("**/what-if?*"):
            held[0].continue_()
        page.wait_for_timeout(300)
        expect(page.locator("tr.changed")).to_have_count(0)


def test_two_models_stand_side_by_side(browser: Browser, served: str) -> None:
    with visited(browser, served) as page:
        page.get_by_role("link", name="Compare").click()
        expect(page.locator(".columns .answers")).to_have_count(2)
        keep(page, "compare")
        assert_accessible(page)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 390)])
def test_no_serious_violation_of_accessibility(
    browser: Browser, served: str, scheme: str, width: int
) -> None:
    with visited(browser, served) as page:
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 900})
        for layer in ("conv1", "fc1"):
            look_at(page, layer)
            assert_accessible(page)
        look_at(page, "conv1")
        keep(page, f"page-{scheme}-{width}")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_guard_of_accessibility_can_fail(browser: Browser, served: str) -> None:
    with visited(browser, served) as page:
        page.evaluate("document.querySelector('input[type=file]').labels[0].remove()")
        with pytest.raises(AssertionError):
            assert_accessible(page)
